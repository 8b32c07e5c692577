package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

// run says how a group handles a feed.
type run struct {
	feed   *feed
	types  int
	loose  bool   // at least once, no transaction
	handle handle // nil = count
	lanes  int    // 0 = 64
	batch  int    // 0 = the default
	commit time.Duration
	base   string // of the database; "" = SQLite
	// prepare sets the database up; check looks into it at the end.
	prepare, check func(context.Context, *once.DB) error
}

// group runs a group from the beginning of a feed until all of it is handled.
func (p *parts) group(ctx context.Context, r run) (took spent, err error) {
	url, remove, err := p.database(ctx, r.base)
	if err != nil {
		return spent{}, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	db, err := once.Open(ctx, once.Options{URL: url})
	if err != nil {
		return spent{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if r.prepare != nil {
		if err := r.prepare(ctx, db); err != nil {
			return spent{}, err
		}
	}
	if took, err = p.handleAll(ctx, r, db); err != nil || r.check == nil {
		return took, err
	}
	return took, r.check(ctx, db)
}

func (p *parts) handleAll(ctx context.Context, r run, db *once.DB) (spent, error) {
	sink := newSink(r.feed.n)
	runner, err := dispatch.New(dispatch.Options{
		Group: groupOf(r, sink), Topics: []string{r.feed.topic}, DB: db, Kafka: p.kafka, Codec: p.codec(),
		Route:       func(string) (wire.Target, bool) { return wire.Target{}, false },
		Concurrency: r.lanes, CommitInterval: r.commit, Batch: r.batch, AtLeastOnce: r.loose,
		Retry: dispatch.Retry{Attempts: 1 << 20, Base: 50 * time.Millisecond, Max: 200 * time.Millisecond},
	})
	if err != nil {
		return spent{}, err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- runner.Run(running) }()
	select {
	case <-sink.full:
	case err := <-done:
		return spent{}, fmt.Errorf("the group ended early: %w", errors.Join(err, ctx.Err()))
	}
	stop()
	if err := <-done; err != nil {
		return spent{}, err
	}
	return sink.end(r.feed)
}

func groupOf(r run, sink *sink) consumer.Group {
	g := consumer.Group{Name: unique("group"), Start: consumer.FromBeginning}
	for _, k := range orders(max(r.types, 1)) {
		g.On = append(g.On, k.handler(func(ctx context.Context, tx consumer.Tx, e event.Event, number int64) error {
			sink.begin()
			if r.handle != nil {
				if err := r.handle(ctx, tx, e, number); err != nil {
					return err
				}
			}
			sink.take(number)
			return nil
		}))
	}
	return g
}
