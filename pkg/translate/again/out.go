package again

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
)

// out takes what leaves with a delivery. It lives as long as its transaction.
type out struct {
	from   source
	route  wire.Route
	encode func(topic string, e event.Event, f event.Stamped) (*kgo.Record, error)
	fits   func(topic string, rec *kgo.Record) error
	facts  []told
	made   []source
	broken error // the fold can't go on
}

// told is a fact in the form in which it would be published.
type told struct {
	event.Event
	rec *kgo.Record
}

var (
	_ consumer.Out   = (*out)(nil)
	_ wire.Publisher = (*out)(nil)
)

func (f *Fold) out(ctx context.Context, from source) *out {
	return &out{
		from: from, route: f.o.Route, fits: f.o.Fits,
		encode: func(topic string, e event.Event, fact event.Stamped) (*kgo.Record, error) {
			return f.o.Codec.Encode(ctx, topic, e, fact)
		},
	}
}

// Publish is part of consumer.Out.
func (*out) Publish(event.New) error { return errors.New("translate does not speak for itself") }

// Effect is part of consumer.Out.
func (*out) Effect(string, string, any) error { return errors.New("translate has no effects") }

// PublishAs is part of wire.Publisher.
func (o *out) PublishAs(c wire.Cause, n event.New) (string, error) {
	if n.Fact == nil {
		return "", errors.New("publishing: no fact")
	}
	target, ok := o.route(n.Fact.EventType())
	if !ok {
		return "", fmt.Errorf("publishing %s: no topic takes this fact", n.Fact.EventType())
	}
	e, fact, err := wire.Stamp(n, c)
	if err != nil {
		return "", err
	}
	rec, err := o.encode(target.Topic, e, fact)
	if errors.Is(err, wire.ErrRegistryUnavailable) {
		o.broken = err
	}
	if err != nil {
		return "", err
	}
	wire.Trace{Request: c.Request, Traceparent: c.Traceparent}.AddTo(rec)
	if err := o.fits(target.Topic, rec); err != nil {
		return "", err
	}
	o.facts = append(o.facts, told{e, rec})
	return e.ID, nil
}

// Forward is part of wire.Publisher. A delivery that was made of another one arrives by
// itself where translate has made it before.
func (o *out) Forward(d wire.Delivery) error {
	made := o.from
	made.Delivery.Delivery = d
	o.made = append(o.made, made)
	return nil
}

// save stores what left. Of a fact that is told twice the last content counts, as it
// stands last in its topic, and the first place.
func (o *out) save(ctx context.Context, tx *sql.Tx) error {
	for _, t := range o.facts {
		text, err := json.Marshal(kept{t.rec.Topic, t.rec.Key, t.rec.Value, t.rec.Headers})
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO again_facts (id, fact, delivery, kafka_partition, record) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET record = excluded.record`, t.ID, t.Type, o.from.Root, o.from.Partition, text)
		if err != nil {
			return fmt.Errorf("keeping a fact: %w", err)
		}
	}
	for _, d := range o.made {
		text, err := json.Marshal(d)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO again_made (id, delivery) SELECT $1, $2
			WHERE NOT EXISTS (SELECT 1 FROM translate_outcomes WHERE delivery_id = $1) ON CONFLICT DO NOTHING`, d.ID, text)
		if err != nil {
			return fmt.Errorf("keeping a delivery: %w", err)
		}
	}
	return nil
}

// kept is a record in the scratch store.
type kept struct {
	Topic      string
	Key, Value []byte
	Headers    []kgo.RecordHeader
}

func (k kept) record() *kgo.Record {
	return &kgo.Record{Topic: k.Topic, Key: k.Key, Value: k.Value, Headers: k.Headers, Partition: -1}
}
