package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
)

// replays are what it costs to replay a feed, beside reading and decoding it: one
// that the group has handled, and one that it handles now.
func replays(o options) (all []figure) {
	for _, c := range []struct {
		name    string
		handled bool
		n       int
	}{{"replay of handled events", true, o.events / 10}, {"replay that handles", false, o.events / 50}} {
		var f pair
		all = append(all, figure{
			name: c.name + " / bare loop, per core", least: 0.9, unit: "1/s CPU", of: perCPUSecond,
			prepare: f.make(usual(c.n), usual(o.events)),
			subject: func(ctx context.Context, p *parts) (spent, error) {
				return p.again(ctx, run{feed: f.subject, commit: 100 * time.Millisecond, look: 100 * time.Millisecond}, c.handled)
			},
			reference: bareLoop(&f.reference, 1),
		})
	}
	return all
}

// again has a group replay its feed, which it has handled before or not.
func (p *parts) again(ctx context.Context, r run, handled bool) (took spent, err error) {
	db, remove, err := p.open(ctx, r.base)
	if err != nil {
		return spent{}, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	sink := newSink(r.feed.n)
	g := groupOf(r, sink)
	if !handled {
		g.Start = consumer.FromNow
	}
	var counts replay.Counts
	if err := p.while(ctx, r, g, db, func(ctx context.Context, _ *dispatch.Runner) error {
		ends, err := p.owned(ctx, db, g.Name, r.feed, handled)
		if err != nil {
			return err
		}
		took.cpu, took.wall = cpuTime(), time.Duration(time.Now().UnixNano())
		id, err := replay.Ask(ctx, db.DB, g.Name, replay.Request{Kind: replay.Facts}, ends)
		if err != nil {
			return err
		}
		if err := until(ctx, func() (done bool, err error) { counts, done, err = replayed(ctx, db, g.Name, id); return done, err }); err != nil {
			return err
		}
		took = spent{events: r.feed.n, cpu: cpuTime() - took.cpu, wall: time.Duration(time.Now().UnixNano()) - took.wall}
		return nil
	}); err != nil {
		return spent{}, err
	}
	want := replay.Counts{Handled: int64(r.feed.n)}
	if handled {
		want = replay.Counts{Duplicate: int64(r.feed.n)}
	}
	if n := sink.count.Load(); counts != want || n != sink.want {
		return spent{}, fmt.Errorf("replayed %+v, want %+v; the sink has %d of %d", counts, want, n, sink.want)
	}
	return took, nil
}

// owned waits until the group owns all partitions, and with handled, until it is at
// their ends; it answers their whole ranges.
func (p *parts) owned(ctx context.Context, db *once.DB, group string, f *feed, handled bool) (ranges []replay.Range, err error) {
	ends, err := p.admin.ListEndOffsets(ctx, f.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	for partition := range f.partitions {
		end, _ := ends.Lookup(f.topic, partition)
		ranges = append(ranges, replay.Range{Topic: f.topic, Partition: partition, Until: end.Offset})
	}
	return ranges, until(ctx, func() (bool, error) {
		at := 0
		for _, r := range ranges {
			next, found, err := db.Store(group).NextOffset(ctx, r.Topic, r.Partition)
			if err != nil {
				return false, err
			}
			if found && (!handled || next == r.Until) {
				at++
			}
		}
		return at == len(ranges), nil
	})
}

// replayed says what became of the records of a replay, and whether that is all.
func replayed(ctx context.Context, db *once.DB, group string, id int64) (c replay.Counts, done bool, err error) {
	parts, err := replay.List(ctx, db.DB, group, id)
	done = len(parts) > 0
	for _, p := range parts {
		done = done && p.Result == replay.Done
		c.Handled, c.Duplicate, c.Standing = c.Handled+p.Counts.Handled, c.Duplicate+p.Counts.Duplicate, c.Standing+p.Counts.Standing
		c.Backfill, c.Other, c.Failed = c.Backfill+p.Counts.Backfill, c.Other+p.Counts.Other, c.Failed+p.Counts.Failed
	}
	return c, done, err
}
