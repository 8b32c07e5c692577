package again

import (
	"context"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/show"
	"github.com/eventspine/spine/pkg/dispatch/shadow"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/difference"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/once/scratch"
	"github.com/eventspine/spine/pkg/wire"
)

// shadowPurpose is part of the name of the copy.
const shadowPurpose = "shadow"

// shadowing is a replay on a copy of the store.
type shadowing struct {
	*job
	live   *once.DB
	run    *shadow.Shadow
	codec  *wire.Codec
	tables []difference.Table // of the copy, as they were
	found  shadowed
}

// inShadow handles the range on a copy of the store, which is removed again, and shows
// what differs.
func (j *job) inShadow(ctx context.Context, l *config.Loaded) (err error) {
	url, err := l.ResolveText(l.DatabaseOf(j.group).URL)
	if err != nil {
		return err
	}
	ranges, err := j.read(ctx, nil)
	if err != nil {
		return err
	}
	mirror, err := scratch.Open(ctx, scratch.Options{Live: j.db, URL: url, Group: j.group, Purpose: shadowPurpose, Tables: j.of.Tables, MaxConnections: 4})
	if errors.Is(err, scratch.ErrBusy) {
		return cli.Refused("a shadow of %s is being made already: %w", j.group, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mirror.Remove(context.WithoutCancel(ctx))) }()
	if err := mirror.Fill(ctx); err != nil {
		return err
	}
	s := &shadowing{job: j, live: j.db, found: newShadowed(j.limit)}
	j.db = mirror.DB // from here on the copy is what the group has done
	if err := s.begin(ctx, l); err != nil {
		return err
	}
	if err := s.handle(ctx, ranges); err != nil {
		return err
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	if err := s.found.show(j); err != nil {
		return err
	}
	if foreign := s.run.Foreign(); len(foreign) > 0 {
		return cli.Refused("no settings of %s in this configuration: what depends on them differs; use that of the process that runs %s",
			strings.Join(foreign, ", "), j.group)
	}
	return nil
}

// begin keeps the tables as they are and makes what handles records.
func (s *shadowing) begin(ctx context.Context, l *config.Loaded) (err error) {
	if s.owned, err = replay.Ownerships(ctx, s.db.DB, s.group); err != nil {
		return err
	}
	if s.tables, err = difference.Keep(ctx, s.db.DB); err != nil {
		return err
	}
	if s.codec, err = cli.Codec(l); err != nil {
		return err
	}
	_, topics, err := s.Fleet.Contracts()
	if err != nil {
		return err
	}
	set := cli.RunOptions(l.Config, s.of)
	s.run, err = shadow.New(ctx, shadow.Options{
		Group: set.Group, DB: s.db, Codec: s.codec, Route: topics.Route, Instances: set.Instances,
		Effects: s.effects, AtLeastOnce: set.AtLeastOnce, Deadline: set.Deadline,
	})
	return err
}

// handle has the copy handle what the group has not. What leaves is taken out now and
// then, so that it doesn't pile up.
func (s *shadowing) handle(ctx context.Context, ranges []replay.Range) (err error) {
	var total, n int64
	for _, r := range ranges {
		total += r.Until - r.From
	}
	p := cli.NewProgress(s.Stderr, !s.People())
	defer p.End()
	s.found.plan, err = s.survey(ctx, func(c candidate) error {
		failed, err := s.run.Handle(ctx, c.record, c.id)
		if err != nil {
			return err
		}
		if failed != nil {
			s.found.Failures.Add(failure(c, failed))
		} else {
			s.found.Handled++
		}
		if n++; n%previewBatch == 0 {
			p.At("", n, total)
			return s.published(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.published(ctx)
}

func failure(c candidate, f *shadow.Failure) failedFact {
	e, _ := wire.Head(c.record) // what can't be read has no type
	return failedFact{
		Topic: c.record.Topic, Partition: c.record.Partition, Offset: c.record.Offset, ID: c.id, Fact: e.Type, Key: show.Printable(c.record.Key),
		Class: f.Class, Reason: f.Reason,
	}
}

// published notes what would be published since.
func (s *shadowing) published(ctx context.Context) error {
	decoder := show.Decoder{Codec: s.codec, Unmask: s.unmask}
	return s.run.Published(ctx, func(r *kgo.Record) error {
		e, err := decoder.Decode(ctx, r)
		if err != nil {
			return err
		}
		p := publishedFact{Topic: r.Topic, Key: e.Key, Data: e.Data}
		if e.Event != nil {
			p.ID, p.Fact, p.Cause = e.Event.ID, e.Event.Type, e.Event.CausationID
		}
		s.found.Published.Add(p)
		return nil
	})
}

// look compares the tables and lists what would be asked of the outside.
func (s *shadowing) look(ctx context.Context) error {
	for _, t := range s.tables {
		found := tableDifference{Table: t.Name, Key: []string{}, Rows: []rowDifference{}}
		for _, c := range t.Key {
			found.Key = append(found.Key, c.Name)
		}
		err := difference.Compare(ctx, s.db.DB, t, func(r difference.Row) error {
			found.add(t, r, s.options)
			return nil
		})
		if err != nil {
			return err
		}
		s.found.Tables = append(s.found.Tables, found)
	}
	return s.run.Effects(ctx, func(e once.Effect) error {
		before, err := s.live.Store(s.group).Effects(ctx, once.EffectFilter{Name: e.Name, Key: e.Key, Limit: 1})
		if err != nil {
			return err
		}
		s.found.Asked.Add(askedEffect{Name: e.Name, Key: e.Key, Suppressed: !s.effects, Before: len(before) > 0})
		return nil
	})
}
