package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

// overhead is what a record batch adds to one record, at most.
const overhead = 1 << 10

// left counts what leaves with a transaction.
type left struct{ facts, effects int }

// out is what a handler sees as consumer.Out, and translate as wire.Publisher too.
// It lives as long as the transaction.
type out struct {
	r       *Runner
	send    func(once.Outgoing) error
	journal func(once.Effect) error
	encode  func(topic string, e event.Event, f event.Stamped) (*kgo.Record, error)
	cause   wire.Cause
	leaves  *left
	silent  bool // a replay touches nothing outside
}

func (r *Runner) out(ctx context.Context, tx once.Tx, c wire.Cause, leaves *left) *out {
	return &out{
		r: r, cause: c, leaves: leaves,
		send:    func(o once.Outgoing) error { return tx.Send(ctx, o) },
		journal: func(e once.Effect) error { return tx.Effect(ctx, e) },
		encode: func(topic string, e event.Event, f event.Stamped) (*kgo.Record, error) {
			return r.o.Codec.Encode(ctx, topic, e, f)
		},
	}
}

// causeOf is what follows from a record carries on.
func (r *Runner) causeOf(t *task) wire.Cause {
	at, err := wire.IDTimeOf(t.event.ID)
	if err != nil {
		at = t.event.OccurredAt // a foreign id carries no time
	}
	trace := wire.TraceOf(t.rec)
	return wire.Cause{
		Source: "spine/" + r.o.Group.Name, Origin: event.OriginProcess, IDAt: at, RecordedAt: t.event.RecordedAt,
		Correlation: t.event.CorrelationID, Causation: t.event.ID,
		Request: trace.Request, Traceparent: trace.Traceparent, Test: t.event.Test,
	}
}

// Publish is part of consumer.Out.
func (o *out) Publish(n event.New) error { return o.PublishAs(o.cause, n) }

// PublishAs is part of wire.Publisher. The fact is validated, encoded and measured
// now, so that nothing in the outgoing table can block the relay.
func (o *out) PublishAs(c wire.Cause, n event.New) error {
	if n.Fact == nil {
		return errors.New("publishing: no fact")
	}
	name := n.Fact.EventType()
	target, ok := o.r.o.Route(name)
	if !ok {
		return fmt.Errorf("publishing %s: no topic takes this fact", name)
	}
	if c.Correlation == "" {
		c.Correlation = target.Aggregate + ":" + keyOf(c, n)
	}
	e, fact, err := wire.Stamp(n, c)
	if err != nil {
		return err
	}
	rec, err := o.encode(target.Topic, e, fact)
	if err != nil {
		return err
	}
	wire.Trace{Request: c.Request, Traceparent: c.Traceparent}.AddTo(rec)
	return o.leave(target.Topic, rec)
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

func (o *out) leave(topic string, rec *kgo.Record) error {
	if size, limit := sizeOf(rec)+overhead, int(bus.BatchBytes(topic)); size > limit {
		return fmt.Errorf("publishing to %s: the record has %d bytes, the topic takes %d", topic, size, limit)
	}
	k := kept(rec)
	k.Topic, k.Partition = topic, -1
	if err := o.send(once.Outgoing{Kind: once.OutFact, Record: k}); err != nil {
		return err
	}
	o.leaves.facts++
	return nil
}

// Effect is part of consumer.Out.
func (o *out) Effect(name, key string, args any) error {
	if _, ok := o.r.effects[name]; !ok {
		return fmt.Errorf("effect %q: the group %s declares no such effect", name, o.r.o.Group.Name)
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
	o.leaves.effects++
	return nil
}
