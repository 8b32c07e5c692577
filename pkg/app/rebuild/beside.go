package rebuild

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/scratch"
)

const (
	look     = 250 * time.Millisecond
	patience = 10 * time.Second // without a step further
	near     = 1000             // records behind the live group: it does them itself, after the swap
	attempts = 10               // of the swap, while others write to the live database
)

// beside makes the scratch store, and removes it at the end. A preview only looks
// whether it can be made, and what is in it.
func (r *rebuilding) beside(ctx context.Context) (err error) {
	database := r.Loaded.DatabaseOf(r.group)
	url, err := r.Loaded.ResolveText(database.URL)
	if err != nil {
		return err
	}
	store, err := scratch.Open(ctx, scratch.Options{
		Live: r.DB, URL: url, Group: r.group, Purpose: purpose, Tables: r.Group.Tables, MaxConnections: database.MaxConnections,
	})
	if errors.Is(err, scratch.ErrBusy) {
		return cli.Refused("%s is being rebuilt already: %w", r.group, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Remove(context.WithoutCancel(ctx))) }()
	tables, err := store.Tables(ctx)
	if err != nil {
		return err
	}
	if err := r.count(ctx, r.DB, tables, func(t *rebuiltTable, n int64) { t.Live = n }); err != nil || !r.Execute {
		return err
	}
	return r.carryOut(ctx, store, tables)
}

// carryOut builds the tables and swaps them in.
func (r *rebuilding) carryOut(ctx context.Context, store *scratch.Store, tables []scratch.Table) error {
	for _, p := range r.parts {
		if _, err := store.Store(r.group).Own(ctx, p.Topic, p.Partition, p.From); err != nil {
			return err
		}
	}
	if err := r.build(ctx, store); err != nil {
		return err
	}
	if err := r.measure(ctx, store); err != nil {
		return err
	}
	if err := r.count(ctx, store.DB, tables, func(t *rebuiltTable, n int64) { t.Built = n }); err != nil {
		return err
	}
	return r.swap(ctx, store)
}

// build runs the group on the scratch store until it has come to where the live one is.
func (r *rebuilding) build(ctx context.Context, store *scratch.Store) error {
	runner, err := r.runner(store.DB)
	if err != nil {
		return err
	}
	defer r.forget(context.WithoutCancel(ctx))
	running, stop := context.WithCancel(ctx)
	defer stop()
	var ended error
	var wg sync.WaitGroup
	over := make(chan struct{})
	wg.Go(func() { defer close(over); ended = runner.Run(running) })
	err = r.await(ctx, store, runner, over)
	stop()
	wg.Wait()
	if err = errors.Join(ended, err); err != nil {
		return fmt.Errorf("rebuilding %s, whose live tables stand as they were: %w", r.group, err)
	}
	return nil
}

func (r *rebuilding) runner(db *once.DB) (*dispatch.Runner, error) {
	_, topics, err := r.Fleet.Contracts()
	if err != nil {
		return nil, err
	}
	of := r.Group
	of.Start, of.Backfill = consumer.FromBeginning, of.Backfill || r.Backfill // a partition that the live group doesn't know yet is done from its beginning
	o := cli.RunOptions(r.Loaded.Config, of)
	o.Aside, o.Topics, o.DB, o.Route = r.group+"-"+purpose, dispatch.Topics(of, topics.Route), db, topics.Route
	o.CommitInterval, o.Version = look, cli.BuildVersion().Version
	if o.Kafka, err = cli.Kafka(r.Loaded); err != nil {
		return nil, err
	}
	if o.Codec, err = cli.Codec(r.Loaded); err != nil {
		return nil, err
	}
	return dispatch.New(o)
}

// await says how far it is, until what the live group has done is done here, too. The
// live one goes on meanwhile: its offsets are looked at again, until few are left.
func (r *rebuilding) await(ctx context.Context, store *scratch.Store, runner *dispatch.Runner, over <-chan struct{}) error {
	p := cli.NewProgress(r.Stderr, !r.People())
	defer p.End()
	tick := time.NewTicker(look)
	defer tick.Stop()
	want, moved, done, said := r.parts, time.Now(), int64(-1), false
	for {
		built, err := scratch.Parts(ctx, store.DB, r.group)
		if err != nil {
			return err
		}
		n, of, reached := progressOf(want, built)
		if reached {
			if want, err = scratch.Parts(ctx, r.DB, r.group); err != nil {
				return err
			}
			if n, of, _ = progressOf(want, built); of-n <= near {
				return nil
			}
		}
		p.At("", n, of)
		if n != done {
			moved, done, said = time.Now(), n, false
		}
		if !said && time.Since(moved) > patience {
			said = true
			p.End()
			_, why := runner.Ready()
			fmt.Fprintf(r.Stderr, "spine: the rebuild stands still: %s %s\n", why, runner.Away())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return errors.New("it ended by itself")
		case <-tick.C:
		}
	}
}

// measure notes what was built.
func (r *rebuilding) measure(ctx context.Context, store *scratch.Store) error {
	built, err := scratch.Parts(ctx, store.DB, r.group)
	if err != nil {
		return err
	}
	live := r.done.Partitions
	r.done.Partitions = []rebuiltPart{}
	for _, p := range built {
		part := rebuiltPart{p.Topic, p.Partition, p.From, p.From, p.Next}
		for _, x := range live {
			if x.Topic == p.Topic && x.Partition == p.Partition {
				part.From, part.Live = x.From, x.Live
			}
		}
		r.done.Partitions = append(r.done.Partitions, part)
	}
	counts, err := store.Store(r.group).Counts(ctx)
	if err != nil {
		return err
	}
	r.done.Handled, r.done.Waiting, r.done.Dead = counts.Handled, counts.Waiting, counts.Dead
	return nil
}

// swap waits its turn, where others write to the live database all the time.
func (r *rebuilding) swap(ctx context.Context, store *scratch.Store) error {
	for n := 1; ; n++ {
		err := store.Swap(ctx)
		if err == nil || n == attempts || !errors.Is(err, once.ErrUnavailable) || errors.Is(err, once.ErrOutcomeUnknown) || ctx.Err() != nil {
			return err
		}
	}
}

// forget removes the Kafka group of the rebuild: nobody goes on with it.
func (r *rebuilding) forget(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	name := r.group + "-" + purpose
	gone, err := r.admin.DeleteGroup(ctx, name)
	if err == nil {
		err = gone.Err
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		fmt.Fprintf(r.Stderr, "spine: the group %s stays at the broker: %v\n", name, err)
	}
}
