package books

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/wire"
)

// compare looks at the ids whose records differ in bytes, and marks those that
// differ in content. The content of an event is its payload without meta: who
// reported it, and when, differs where two deliveries report the same fact.
func (o Options) compare(ctx context.Context, s Stock, suspects map[string]bool) error {
	var topics []string
	for id, differs := range suspects {
		switch topic := s.Events[id].First.Topic; {
		case !differs:
			delete(suspects, id)
		case !slices.Contains(topics, topic):
			topics = append(topics, topic)
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	contents := map[string][]byte{}
	window := tap.All()
	if !o.Since.IsZero() {
		window = tap.Since(o.Since)
	}
	return tap.Read(ctx, tap.Options{Client: o.Client, Topics: topics, Window: window}, func(r *kgo.Record) error {
		id := headers(r)["ce_id"]
		if !suspects[id] {
			return nil
		}
		content, err := o.content(ctx, r)
		if err != nil {
			return err
		}
		first, seen := contents[id]
		if seen && headers(r)[wire.HeaderRetold] != "" {
			return nil // a person has named it
		}
		if seen && !bytes.Equal(first, content) {
			s.Events[id].Changed = true
		}
		contents[id] = content
		return nil
	})
}

// content is what an event says, in one form whatever revision wrote it. Bytes that
// cannot be read stand for themselves.
func (o Options) content(ctx context.Context, r *kgo.Record) ([]byte, error) {
	payload, err := o.Codec.Generic(ctx, r, true)
	var bad *wire.BadRecordError
	if errors.As(err, &bad) {
		return r.Value, nil
	}
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(payload.Data))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return nil, err
	}
	delete(fields, "meta")
	return json.Marshal(fields)
}
