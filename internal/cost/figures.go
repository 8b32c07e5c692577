package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// figures are the rows of the table, in its order.
func figures(o options) (all []figure) {
	for _, some := range [][]figure{
		{runtimeCost(o)}, slow(o), {hot(o), failing(o)}, offsetCost(o), inboxCost(o), history(o), flat(o), replays(o),
	} {
		all = append(all, some...)
	}
	return all
}

// pair is the feeds that subject and reference of a figure read.
type pair struct{ subject, reference *feed }

// make fills one feed for both, or two if they are not alike.
func (f *pair) make(subject, reference load) prepare {
	return func(ctx context.Context, p *parts) (func() error, error) {
		var err error
		if f.subject, err = p.feed(ctx, subject); err != nil {
			return nil, err
		}
		if f.reference = f.subject; reference != subject {
			if f.reference, err = p.feed(ctx, reference); err != nil {
				return nil, err
			}
		}
		return func() error {
			ctx := context.WithoutCancel(ctx)
			return errors.Join(p.drop(ctx, f.subject.topic), p.drop(ctx, f.reference.topic))
		}, nil
	}
}

func usual(n int) load { return load{n: n, partitions: 6, keys: 10_000} }

// bareRuntime is the runtime without SQL on a feed.
func bareRuntime(f **feed, types int) side {
	return func(ctx context.Context, p *parts) (spent, error) {
		return p.group(ctx, run{feed: *f, types: types, loose: true})
	}
}

func bareLoop(f **feed, types int) side {
	return func(ctx context.Context, p *parts) (spent, error) { return p.bare(ctx, *f, types) }
}

func runtimeCost(o options) figure {
	var f pair
	return figure{
		name: "runtime without SQL / bare loop", most: 1.10, unit: "µs CPU", of: cpuPerEvent,
		prepare: f.make(usual(o.events), usual(o.events)),
		subject: bareRuntime(&f.subject, 1), reference: bareLoop(&f.reference, 1),
	}
}

// offsetCost is what it costs to store next_offset, which refuses what is delivered
// again below it.
func offsetCost(o options) (all []figure) {
	for _, on := range o.stores() {
		var f pair
		stores := func(every time.Duration) side {
			return func(ctx context.Context, p *parts) (spent, error) {
				return p.group(ctx, run{feed: f.subject, loose: true, base: on.base, commit: every})
			}
		}
		all = append(all, figure{
			name: "next_offset stored every 100 ms / at the end only, " + on.name, least: 0.95, unit: "1/s", of: perSecond,
			prepare: f.make(usual(o.events), usual(o.events)),
			subject: stores(100 * time.Millisecond), reference: stores(time.Hour),
		})
	}
	return all
}

// flat are the figures that are to stay the same when there is more of something.
func flat(o options) (all []figure) {
	add := func(name string, subject, reference load) {
		var f pair
		all = append(all, figure{
			name: name, most: 1.15, unit: "µs CPU", of: cpuPerEvent, prepare: f.make(subject, reference),
			subject: bareRuntime(&f.subject, subject.types), reference: bareRuntime(&f.reference, reference.types),
		})
	}
	one := load{n: o.events, partitions: 6, keys: 10_000, types: 1}
	for _, types := range []int{10, 100} {
		many := one
		many.types = types
		add(fmt.Sprintf("%d event types / 1", types), many, one)
	}
	few := load{n: o.keys, partitions: 6, keys: o.keys / 100, types: 1}
	many := few
	many.keys = o.keys
	add(fmt.Sprintf("%d keys / %d", many.keys, few.keys), many, few)
	wide, narrow := one, one
	wide.partitions, narrow.partitions = 60, 1
	add("60 partitions / 1", wide, narrow)
	return all
}
