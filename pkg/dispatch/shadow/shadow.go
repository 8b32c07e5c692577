// Package shadow has a group handle records on a copy of its store, to see what a
// replay would do: the handlers, the transaction and the inbox are the real ones, what
// leaves with a transaction stays in the copy. Nothing is published, nothing outside is
// called, and the live store is not touched.
package shadow

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/dispatch/plan"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/wire"
)

// Options describe a shadow.
type Options struct {
	Group       consumer.Group
	DB          *once.DB // the copy
	Codec       *wire.Codec
	Route       wire.Route
	Instances   map[string]event.Instance // by "<system>/<name>"
	Effects     bool                      // the replay touches the outside: handlers are told so
	AtLeastOnce bool                      // without the inbox
	Deadline    time.Duration             // of one call of a handler; 0 = 1 min
}

// Shadow is a replay on a copy. It is not safe for concurrent use.
type Shadow struct {
	o       Options
	plan    *plan.Plan
	gate    *leaving.Gate
	store   *once.Store
	request int64           // of the replay, in the copy
	parts   []bus.Partition // in order
	owners  map[bus.Partition]*once.Owner
	foreign []string
}

// Failure is why a record would stand as a dead letter, or wait. It was tried once.
type Failure struct{ Class, Reason string }

// New begins a replay in the copy.
func New(ctx context.Context, o Options) (*Shadow, error) {
	if o.Deadline <= 0 {
		o.Deadline = time.Minute
	}
	reads, err := plan.New(o.Group, o.Codec, o.Instances)
	if err != nil {
		return nil, err
	}
	effects := map[string]consumer.Effect{}
	for _, e := range o.Group.Effects {
		effects[e.Name] = e
	}
	s := &Shadow{
		o: o, plan: reads, store: o.DB.Store(o.Group.Name), owners: map[bus.Partition]*once.Owner{},
		gate: &leaving.Gate{Group: o.Group.Name, Effects: effects, Codec: o.Codec, Route: o.Route},
	}
	owned, err := replay.Ownerships(ctx, o.DB.DB, o.Group.Name)
	if err != nil {
		return nil, err
	}
	ranges := make([]replay.Range, len(owned))
	for i, p := range owned {
		ranges[i] = replay.Range{Topic: p.Topic, Partition: p.Partition, Until: max(p.Next, 1)}
		owner, err := s.store.Own(ctx, p.Topic, p.Partition, 0)
		if err != nil {
			return nil, err
		}
		part := bus.Partition{Topic: p.Topic, ID: p.Partition}
		s.parts, s.owners[part] = append(s.parts, part), owner
	}
	if s.request, err = replay.Ask(ctx, o.DB.DB, o.Group.Name, replay.Request{Kind: replay.Facts, Effects: o.Effects}, ranges); err != nil {
		return nil, err
	}
	return s, nil
}

// Handle has the group handle a record under its inbox key, as a replay would, and
// answers why it fails; nil = it doesn't. An error is not the record's fault.
func (s *Shadow) Handle(ctx context.Context, rec *kgo.Record, id string) (*Failure, error) {
	owner := s.owners[bus.Partition{Topic: rec.Topic, ID: rec.Partition}]
	if owner == nil {
		return nil, fmt.Errorf("group %s has never owned %s/%d", s.o.Group.Name, rec.Topic, rec.Partition)
	}
	e, err := s.plan.Head(rec)
	e.Replay = !s.o.Effects
	if name := e.Instance.String(); err == nil && e.Instance.UnknownConfig && !slices.Contains(s.foreign, name) {
		s.foreign = append(s.foreign, name)
	}
	kind, _ := s.plan.Kind(e.Type)
	var fact any
	if err == nil {
		err = fault.Recovered(func() (err error) {
			fact, err = s.plan.Decode(ctx, kind, rec, &e)
			return err
		})
	}
	if err == nil {
		item := once.Item{Mode: once.Replay, EventID: id, Record: leaving.Kept(rec), Replay: s.request, Unmarked: s.o.AtLeastOnce}
		_, err = owner.Do(ctx, item, func(ctx context.Context, tx once.Tx) error {
			var left leaving.Left
			// not silent: what would be suppressed is seen, too
			htx := s.gate.Tx(ctx, tx, s.gate.Cause(e, rec), &left, false)
			return fault.Timed(ctx, s.o.Deadline, func(ctx context.Context) error { return kind.Call(ctx, htx, e, fact) })
		})
	}
	return s.failure(ctx, rec, err)
}

// failure tells the record's fault from that of the parts that this depends on.
func (s *Shadow) failure(ctx context.Context, rec *kgo.Record, err error) (*Failure, error) {
	if err == nil {
		return nil, nil //nolint:nilnil // no failure
	}
	f := fault.Classify(err)
	if ctx.Err() != nil || f.Class == fault.Fenced || f.Away == fault.Database || f.Away == fault.Registry {
		return nil, fmt.Errorf("handling %s/%d, offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	return &Failure{Class: f.Class, Reason: leaving.Bounded(s.gate.Redacted(ctx, rec, f.Reason))}, nil
}

// Foreign are the instances of what was handled that have no settings.
func (s *Shadow) Foreign() []string { return s.foreign }

const page = 200

// Published hands what would be published to each, in the order of a partition, and
// forgets it.
func (s *Shadow) Published(ctx context.Context, each func(*kgo.Record) error) error {
	for _, part := range s.parts {
		owner := s.owners[part]
		for more := true; more; {
			list, err := owner.Outgoing(ctx, page)
			if err != nil {
				return err
			}
			ids := make([]int64, len(list))
			for i, out := range list {
				ids[i] = out.ID
				if err := each(leaving.Kafka(out.Record)); err != nil {
					return err
				}
			}
			if more = len(list) > 0; more {
				if err := owner.Remove(ctx, ids); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Effects hands what would be asked of the outside to each, in order.
func (s *Shadow) Effects(ctx context.Context, each func(once.Effect) error) error {
	filter := once.EffectFilter{Limit: page}
	for more := true; more; {
		list, err := s.store.Effects(ctx, filter)
		if err != nil {
			return err
		}
		for _, e := range list {
			filter.After = e.ID
			if err := each(e); err != nil {
				return err
			}
		}
		more = len(list) == page
	}
	return nil
}
