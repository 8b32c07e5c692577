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
	l        *config.Loaded
	live     *once.DB
	run      *shadow.Shadow
	codec    *wire.Codec
	tables   []difference.Table // as they were
	released bool               // a record that fails holds no key
	found    shadowed
	progress *cli.Progress
	n, total int64 // records that were tried, offsets of all
}

// inShadow handles the range on a copy of the store, which is removed again, and shows
// what differs.
func (j *job) inShadow(ctx context.Context, l *config.Loaded) error {
	ranges, err := j.read(ctx, nil)
	if err != nil {
		return err
	}
	return j.aside(ctx, l, func(ctx context.Context, s *shadowing, mirror *scratch.Store) (err error) {
		if err := mirror.Fill(ctx); err != nil {
			return err
		}
		if s.tables, err = difference.Keep(ctx, mirror.DB.DB); err != nil {
			return err
		}
		if err := s.begin(ctx); err != nil {
			return err
		}
		return s.handle(ctx, ranges)
	})
}

// aside gives fn a store beside the live one, empty, which is removed again, and shows
// what differs in the end from the tables that fn has kept.
func (j *job) aside(ctx context.Context, l *config.Loaded, fn func(context.Context, *shadowing, *scratch.Store) error) (err error) {
	url, err := l.ResolveText(l.DatabaseOf(j.group).URL)
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
	s := &shadowing{job: j, l: l, live: j.db, found: newShadowed(j.limit)}
	s.found.Rebuild = j.rebuild
	j.db = mirror.DB // from here on the copy is what the group has done
	if err := fn(ctx, s, mirror); err != nil {
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

// begin makes what handles records.
func (s *shadowing) begin(ctx context.Context) (err error) {
	if s.owned, err = replay.Ownerships(ctx, s.db.DB, s.group); err != nil {
		return err
	}
	if s.codec, err = cli.Codec(s.l); err != nil {
		return err
	}
	_, topics, err := s.Fleet.Contracts()
	if err != nil {
		return err
	}
	set := cli.RunOptions(s.l.Config, s.of)
	s.released = set.Release
	s.run, err = shadow.New(ctx, shadow.Options{
		Group: set.Group, DB: s.db, Codec: s.codec, Route: topics.Route, Instances: set.Instances,
		Effects:     s.effects || s.rebuild, // a rebuild is no replay to its handlers
		AtLeastOnce: set.AtLeastOnce, Deadline: set.Deadline,
	})
	return err
}

// handle has the copy handle what the group has not.
func (s *shadowing) handle(ctx context.Context, ranges []replay.Range) (err error) {
	for _, r := range ranges {
		s.total += r.Until - r.From
	}
	s.progress = cli.NewProgress(s.Stderr, !s.People())
	defer s.progress.End()
	s.found.plan, err = s.survey(ctx, func(c candidate) error {
		_, err := s.try(ctx, c)
		return err
	})
	if err != nil {
		return err
	}
	return s.published(ctx)
}

// try has the copy handle a record, and says whether it fails. What leaves is taken out
// now and then, so that it doesn't pile up.
func (s *shadowing) try(ctx context.Context, c candidate) (failed bool, err error) {
	why, err := s.run.Handle(ctx, c.record, c.id)
	if err != nil {
		return false, err
	}
	if why != nil {
		s.found.Failures.Add(failure(c, why))
	} else {
		s.found.Handled++
	}
	if s.n++; s.n%previewBatch == 0 {
		err = s.published(ctx)
	}
	s.progress.At("records", s.n, s.total)
	return why != nil, err
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
