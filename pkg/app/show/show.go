// Package show is how a record looks to people and to programs: decoded, personal
// data masked.
package show

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/wire"
)

// Decoder reads records of any type.
type Decoder struct {
	Codec  *wire.Codec
	Unmask bool // show personal data
}

// Event is what a record says. Its JSON is a contract.
type Event struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp string            `json:"timestamp"`
	Key       string            `json:"key"`
	Event     *Envelope         `json:"event,omitempty"`
	Headers   map[string]string `json:"headers"`
	Data      json.RawMessage   `json:"data,omitempty"`
	Error     *Error            `json:"error,omitempty"`
	Value     []byte            `json:"value_base64,omitempty"`
}

// Envelope is what its headers and its meta say.
type Envelope struct {
	ID            string `json:"id"`
	Type          string `json:"type"`
	Source        string `json:"source"`
	Subject       string `json:"subject"`
	Time          string `json:"time"`
	CorrelationID string `json:"correlation_id"`
	CausationID   string `json:"causation_id"`
	Sequence      string `json:"sequence"`
}

// Error says why a record cannot be decoded.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Head is what a record says without its payload; the error says why its headers cannot
// be read.
func Head(r *kgo.Record) (Event, error) {
	s := Event{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UTC().Format(cli.MicroTime), Key: Printable(r.Key),
		Headers: map[string]string{},
	}
	for _, h := range r.Headers {
		s.Headers[h.Key] = Printable(h.Value)
	}
	e, err := wire.Head(r)
	if err != nil {
		return s, err
	}
	s.Event = &Envelope{
		ID: e.ID, Type: e.Type, Source: e.Source, Subject: s.Headers["ce_subject"], Time: e.OccurredAt.UTC().Format(cli.MicroTime),
		CorrelationID: e.CorrelationID, CausationID: e.CausationID, Sequence: e.Sequence,
	}
	return s, nil
}

// Decode makes the event of a record; one that cannot be decoded shows why, and its
// bytes. Only a registry that is away is an error.
func (d Decoder) Decode(ctx context.Context, r *kgo.Record) (Event, error) {
	s, err := Head(r)
	if err == nil {
		if s.Event.Type == wire.DeliveryType {
			s.Data = d.delivery(r.Value)
			return s, nil
		}
		var payload wire.Payload
		if payload, err = d.Codec.Generic(ctx, r, d.Unmask); err == nil {
			s.Data = payload.Data
			return s, nil
		}
	}
	bad, ok := cli.As[*wire.BadRecordError](err)
	if !ok {
		return s, err
	}
	s.Error = &Error{Code: bad.Code, Message: err.Error()}
	s.Value = r.Value
	if s.Value == nil {
		s.Value = []byte{}
	}
	return s, nil
}

// delivery shows a delivery's body. It is personal data as a whole: no schema says
// which part is not.
func (d Decoder) delivery(body []byte) json.RawMessage {
	if !d.Unmask {
		return json.RawMessage(`"***"`)
	}
	if json.Valid(body) {
		var compact bytes.Buffer
		if json.Compact(&compact, body) == nil {
			return compact.Bytes()
		}
	}
	text, err := json.Marshal(Printable(body))
	if err != nil {
		return json.RawMessage(`null`)
	}
	return text
}

// Printable is text as it is, and other bytes in quotes.
func Printable(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return fmt.Sprintf("%q", b)
}

// Pretty writes the event for people.
func (s Event) Pretty(w io.Writer) error {
	var b strings.Builder
	kind := "?"
	if s.Event != nil {
		kind = s.Event.Type
	}
	fmt.Fprintf(&b, "%s  %s  %s/%d@%d  %s\n", s.Timestamp, kind, s.Topic, s.Partition, s.Offset, s.Key)
	if s.Event != nil {
		fmt.Fprintf(&b, "  id %s  at %s  %s\n", s.Event.ID, s.Event.Time, s.Event.CorrelationID)
	}
	if s.Error != nil {
		fmt.Fprintf(&b, "  cannot be decoded: %s\n", s.Error.Message)
	}
	if s.Data != nil {
		var data bytes.Buffer
		if err := json.Indent(&data, s.Data, "  ", "  "); err != nil {
			return errors.Join(errors.New("indenting the payload"), err)
		}
		b.WriteString("  ")
		b.Write(data.Bytes())
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}
