package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/eventspine/spine/internal/cost/orders"
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
	loose  bool          // at least once; without tables, without a transaction
	tables fs.FS         // of the group
	handle orders.Handle // nil = count
	lanes  int           // 0 = 64
	batch  int           // 0 = the default
	commit time.Duration // 0 = the default
	look   time.Duration // 0 = the default
	base   string        // of the database; "" = SQLite
	kept   *kept         // a database that runs share; nil = an empty one of its own
	// check looks into the database at the end.
	check func(context.Context, *once.DB) error
}

// group runs a group from the beginning of a feed until all of it is handled.
func (p *parts) group(ctx context.Context, r run) (took spent, err error) {
	if r.kept != nil {
		if took, err = p.handleAll(ctx, r, r.kept.db); err != nil {
			return took, err
		}
		return took, r.kept.clean(ctx)
	}
	db, remove, err := p.open(ctx, r.base)
	if err != nil {
		return spent{}, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if took, err = p.handleAll(ctx, r, db); err != nil || r.check == nil {
		return took, err
	}
	return took, r.check(ctx, db)
}

// open makes an empty store and what removes it.
func (p *parts) open(ctx context.Context, base string) (*once.DB, func() error, error) {
	url, remove, err := p.database(ctx, base)
	if err != nil {
		return nil, nil, err
	}
	db, err := once.Open(ctx, once.Options{URL: url})
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return db, func() error { return errors.Join(db.Close(), remove()) }, nil
}

func (p *parts) handleAll(ctx context.Context, r run, db *once.DB) (spent, error) {
	sink := newSink(r.feed.n)
	g := groupOf(r, sink)
	err := p.while(ctx, r, g, db, func(ctx context.Context, _ *dispatch.Runner) error { return sink.wait(ctx) })
	if err != nil {
		return spent{}, err
	}
	return sink.end()
}

// while runs a group until fn is done and what is in flight is stored.
func (p *parts) while(ctx context.Context, r run, g consumer.Group, db *once.DB, fn func(context.Context, *dispatch.Runner) error) error {
	runner, err := dispatch.New(dispatch.Options{
		Group: g, Topics: []string{r.feed.topic}, DB: db, Kafka: p.kafka, Codec: p.codec,
		Route:       func(string) (wire.Target, bool) { return wire.Target{}, false },
		Concurrency: r.lanes, CommitInterval: r.commit, Batch: r.batch, AtLeastOnce: r.loose, Look: r.look,
		Retry: dispatch.Retry{Attempts: 1000, Base: 50 * time.Millisecond, Max: 200 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	running, stop := context.WithTimeout(ctx, patience)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- runner.Run(running); stop() }()
	if err := fn(running, runner); err != nil {
		stop()
		return fmt.Errorf("the group did not come to its end: %w", errors.Join(err, <-done, ctx.Err()))
	}
	stop()
	return <-done
}

// patience is how long a group may take: one that never ends is an error of this
// program.
const patience = 5 * time.Minute

func groupOf(r run, sink *sink) consumer.Group {
	g := consumer.Group{Name: strings.ReplaceAll(unique("cost"), "-", "_"), Start: consumer.FromBeginning, Tables: r.tables}
	if r.kept != nil {
		g.Name = r.kept.group
	}
	for _, k := range orders.Kinds(max(r.types, 1)) {
		g.On = append(g.On, k.Handler(func(ctx context.Context, tx consumer.Tx, e event.Event, number int64) error {
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
