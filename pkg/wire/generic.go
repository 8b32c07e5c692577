package wire

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/wire/avrojson"
)

// Payload is what a record holds, for tools that have no Go type for it.
type Payload struct {
	SchemaID int             // id in the registry
	Subject  string          // full name of the record
	Data     json.RawMessage // fields in the order of the writer's schema
}

// Generic decodes a record by its writer's schema alone, within the bounds of Decode. In the
// JSON, decimals and longs are strings, times RFC 3339 UTC with microseconds, dates
// ISO 8601, bytes base64. Fields whose schema says pii other than none show as "***"
// unless unmask is set. Errors are those of Decode.
func (c *Codec) Generic(ctx context.Context, rec *kgo.Record, unmask bool) (Payload, error) {
	writer, id, payload, err := c.revisionOf(ctx, rec)
	if err != nil {
		return Payload{}, err
	}
	data, err := avrojson.Record(writer.schema, payload, unmask)
	if err != nil {
		return Payload{}, fmt.Errorf("decoding %s: %w", writer.name, bad(BadPayload, "%w", err))
	}
	return Payload{SchemaID: id, Subject: writer.name, Data: data}, nil
}

// Personal lists the values of a record's fields whose schema says pii other than
// none, in the form of Generic: what must not stand in a text about the record.
func (c *Codec) Personal(ctx context.Context, rec *kgo.Record) ([]string, error) {
	writer, _, payload, err := c.revisionOf(ctx, rec)
	if err != nil {
		return nil, err
	}
	values, err := avrojson.Personal(writer.schema, payload)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", writer.name, bad(BadPayload, "%w", err))
	}
	return values, nil
}

// revisionOf is what a record was written with, and its payload.
func (c *Codec) revisionOf(ctx context.Context, rec *kgo.Record) (w *revision, id int, payload []byte, err error) {
	if id, payload, err = unframe(rec.Value); err == nil {
		w, err = c.registry.revision(ctx, id)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("decoding: %w", err)
	}
	return w, id, payload, nil
}
