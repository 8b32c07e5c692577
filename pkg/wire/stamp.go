// Package wire is the form of an event on Kafka: Avro in a registry frame, with
// CloudEvents headers (binary mode). It stamps new facts with their identity,
// encodes them, and decodes records strictly: malformed input is always an error,
// never a wrong value.
package wire

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/event"
)

// Cause is what the engine knows when a fact is published: whose word it is, and
// what it follows from.
type Cause struct {
	Source           string        // "shopify/uk", or "spine/<group>"
	Origin           event.Origin  // how the fact reached Spine; PROCESS for a group
	IDTime           time.Duration // adapter's precision: floors the id time; 0 = as it is
	IDAt             time.Time     // a group: its cause's id time; zero = Born, else At, of the fact itself
	RecordedAt       time.Time     // the delivery's receipt; a group: its cause's
	Correlation      string        // "order:shopify/uk:5001"
	Causation        string        // id of the causing event; "" = none
	Sequence         string        // orders the snapshot facts of one object; "" = none
	Request          string        // the caller's request id (spine_request)
	Traceparent      string
	SourceVersion    *int64
	SourceAPIVersion *string
	Test             bool // the cause is a test: what follows is one too
}

// Target is where facts of a type live.
type Target struct {
	Topic     string // "commerce.order.events"
	Aggregate string // "order": names the root in correlation ids
}

// Route finds the topic of a fact type.
type Route func(factType string) (Target, bool)

// Publisher is the engine's own way out, beside consumer.Out: translate speaks for
// the sources, not for itself. The Out of dispatch implements it.
type Publisher interface {
	// PublishAs is consumer.Out.Publish with a cause of the caller's own. It answers the
	// event id, so that the books can follow a delivery to its facts.
	PublishAs(c Cause, n event.New) (id string, err error)
	// Forward sends a delivery to raw.<system> under d.Key: an object of a batch, or a
	// delivery that came under another key than its object's.
	Forward(d Delivery) error
}

// Stamp gives a new fact its identity: id, meta and envelope. It does no I/O.
func Stamp(n event.New, c Cause) (event.Event, event.Stamped, error) {
	fact, ok := n.Fact.(event.Stamped)
	if !ok {
		return event.Event{}, nil, fmt.Errorf("publishing %T: not a generated fact type", n.Fact)
	}
	typ, err := event.ParseType(fact.EventType())
	if err != nil {
		return event.Event{}, nil, fmt.Errorf("publishing: %w", err)
	}
	if n.Entity == "" || n.At.IsZero() {
		return event.Event{}, nil, fmt.Errorf("publishing %s: entity and time are required", typ)
	}
	system, instance, _ := strings.Cut(c.Source, "/")
	at := n.At.UTC().Truncate(time.Microsecond)
	key := n.Key
	if key == "" {
		key = event.Key(c.Source, n.Entity)
	}
	e := event.Event{
		ID: event.NewID(idTime(n, c), c.Source, typ.Name(), n.Entity, n.Discriminator), Type: typ.String(), Source: c.Source,
		Entity: n.Entity, Key: key, Origin: c.Origin, OccurredAt: at, RecordedAt: c.RecordedAt.UTC().Truncate(time.Microsecond),
		Sequence: c.Sequence, CorrelationID: c.Correlation, CausationID: c.Causation, Test: n.Test || c.Test,
	}
	m := event.Meta{
		EventID: e.ID, OccurredAt: e.OccurredAt, RecordedAt: e.RecordedAt, SourceSystem: system, SourceInstance: instance,
		SourceObject: typ.Noun, SourceID: n.Entity, SourceVersion: c.SourceVersion, SourceAPIVersion: c.SourceAPIVersion,
		CorrelationID: c.Correlation, Origin: c.Origin, Test: e.Test,
	}
	if c.Causation != "" {
		m.CausationID = &c.Causation
	}
	stamped, ok := fact.WithMeta(m).(event.Stamped)
	if !ok {
		return event.Event{}, nil, fmt.Errorf("publishing %s: WithMeta answers another type", typ)
	}
	return e, stamped, nil
}

func idTime(n event.New, c Cause) time.Time {
	at := c.IDAt
	if at.IsZero() {
		at = n.Born
	}
	if at.IsZero() {
		at = n.At
	}
	if c.IDTime <= 0 {
		return at
	}
	// Floored since the epoch, so that a coarser path gives the same id.
	return time.UnixMicro(at.UnixMicro() - mod(at.UnixMicro(), c.IDTime.Microseconds())).UTC()
}

func mod(a, b int64) int64 {
	m := a % b
	if m < 0 { // before 1970
		m += b
	}
	return m
}

// IDTimeOf is the id time within an event id: its first 48 bits are milliseconds.
func IDTimeOf(id string) (time.Time, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(raw) != 16 {
		return time.Time{}, fmt.Errorf("event id %q: want a UUID", id)
	}
	ms := binary.BigEndian.Uint64(raw[:8]) >> 16
	return time.UnixMilli(int64(ms)).UTC(), nil
}
