// Package leaving is what the transactions of a group want done outside: facts and
// dead letters are relayed to Kafka in order, effects are called after the commit.
package leaving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/measure"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

// overhead is what a record batch adds to one record, at most.
const overhead = 1 << 10

// Gate is the way out of a group, shared by its partitions.
type Gate struct {
	Group    string
	Version  string // of the build
	Effects  map[string]consumer.Effect
	Codec    *wire.Codec
	Route    wire.Route
	Producer *bus.Producer
	Aside    bool // nothing leaves: what the transactions left stays in the store
	Retry    fault.Retry
	Meters   *measure.Meters
	Outages  *fault.Outages
	Log      *slog.Logger
}

// Left counts what leaves with a transaction.
type Left struct{ Facts, Effects int }

// out is what a handler sees as consumer.Out, and translate as wire.Publisher too.
// It lives as long as the transaction.
type out struct {
	gate    *Gate
	send    func(once.Outgoing) error
	journal func(once.Effect) error
	encode  func(topic string, e event.Event, f event.Stamped) (*kgo.Record, error)
	cause   wire.Cause
	left    *Left
	silent  bool
}

// Tx is the transaction as a handler sees it. What leaves with it is counted in left
// and carries the cause on; silent = a replay, which touches nothing outside.
func (g *Gate) Tx(ctx context.Context, tx once.Tx, c wire.Cause, left *Left, silent bool) consumer.Tx {
	return consumer.Tx{DB: tx, Out: &out{
		gate: g, cause: c, left: left, silent: silent,
		send:    func(o once.Outgoing) error { return tx.Send(ctx, o) },
		journal: func(e once.Effect) error { return tx.Effect(ctx, e) },
		encode: func(topic string, e event.Event, f event.Stamped) (*kgo.Record, error) {
			return g.Codec.Encode(ctx, topic, e, f)
		},
	}}
}

// Cause is what follows from an event carries on. rec is its record.
func (g *Gate) Cause(e event.Event, rec *kgo.Record) wire.Cause {
	at, err := wire.IDTimeOf(e.ID)
	if err != nil {
		at = e.OccurredAt // a foreign id carries no time
	}
	trace := wire.TraceOf(rec)
	return wire.Cause{
		Source: "spine/" + g.Group, Origin: event.OriginProcess, IDAt: at, RecordedAt: e.RecordedAt,
		Correlation: e.CorrelationID, Causation: e.ID, Request: trace.Request, Traceparent: trace.Traceparent, Test: e.Test,
	}
}

// Resolve asks for the registry id of a fact that the group publishes, so that later
// a handler's transaction waits for no network.
func (g *Gate) Resolve(ctx context.Context, fact event.Fact) error {
	e, stamped, err := wire.Stamp(event.New{Fact: fact, Entity: "0", At: time.Unix(0, 0)}, wire.Cause{
		Source: "spine/" + g.Group, Origin: event.OriginProcess, RecordedAt: time.Unix(0, 0),
	})
	if err != nil {
		return nil //nolint:nilerr // no generated fact: Publish will say so
	}
	// A zero fact may be invalid, which is found out after the id was.
	if _, err = g.Codec.Encode(ctx, "", e, stamped); errors.Is(err, wire.ErrRegistryUnavailable) {
		return err
	}
	return nil
}

// Publish is part of consumer.Out.
func (o *out) Publish(n event.New) error {
	_, err := o.PublishAs(o.cause, n)
	return err
}

// PublishAs is part of wire.Publisher. The fact is validated, encoded and measured
// now, so that nothing in the outgoing table can block the relay.
func (o *out) PublishAs(c wire.Cause, n event.New) (string, error) {
	if n.Fact == nil {
		return "", errors.New("publishing: no fact")
	}
	name := n.Fact.EventType()
	target, ok := o.gate.Route(name)
	if !ok {
		return "", fmt.Errorf("publishing %s: no topic takes this fact", name)
	}
	if c.Correlation == "" {
		c.Correlation = target.Aggregate + ":" + keyOf(c, n)
	}
	e, fact, err := wire.Stamp(n, c)
	if err != nil {
		return "", err
	}
	rec, err := o.encode(target.Topic, e, fact)
	if err != nil {
		return "", err
	}
	wire.Trace{Request: c.Request, Traceparent: c.Traceparent}.AddTo(rec)
	return e.ID, o.leave(target.Topic, rec)
}

func keyOf(c wire.Cause, n event.New) string {
	if n.Key != "" {
		return n.Key
	}
	return event.Key(c.Source, n.Entity)
}

// Forward is part of wire.Publisher.
func (o *out) Forward(d wire.Delivery) error {
	system, err := event.ParseInstance(d.Source)
	if err != nil {
		return fmt.Errorf("forwarding a delivery: %w", err)
	}
	return o.leave("raw."+system.System, wire.EncodeDelivery(d))
}

// Fits is the error of a record that is larger than what its topic takes.
func Fits(topic string, rec *kgo.Record) error {
	if size, limit := Size(rec)+overhead, int(bus.BatchBytes(topic)); size > limit {
		return fmt.Errorf("publishing to %s: the record has %d bytes, the topic takes %d", topic, size, limit)
	}
	return nil
}

func (o *out) leave(topic string, rec *kgo.Record) error {
	if err := Fits(topic, rec); err != nil {
		return err
	}
	k := Kept(rec)
	k.Topic, k.Partition = topic, -1
	if err := o.send(once.Outgoing{Kind: once.OutFact, Record: k}); err != nil {
		return err
	}
	o.left.Facts++
	return nil
}

// Effect is part of consumer.Out.
func (o *out) Effect(name, key string, args any) error {
	if _, ok := o.gate.Effects[name]; !ok {
		return fmt.Errorf("effect %q: the group %s declares no such effect", name, o.gate.Group)
	}
	if key == "" {
		return fmt.Errorf("effect %s: an idempotency key is required", name)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("effect %s: writing its arguments: %w", name, err)
	}
	if o.silent {
		return nil // promise: outside effects; suppressed in replay
	}
	cause, err := json.Marshal(o.cause)
	if err != nil {
		return fmt.Errorf("effect %s: writing its cause: %w", name, err)
	}
	err = o.journal(once.Effect{Name: name, Key: key, Args: raw, Cause: cause, State: once.EffectPending})
	if err != nil {
		return err
	}
	o.left.Effects++
	return nil
}
