package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/internal/cost/orders"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
)

// wait is what a slow handler does: it asks something and waits for the answer.
const wait = 2 * time.Millisecond

func slowly(context.Context, consumer.Tx, event.Event, int64) error {
	time.Sleep(wait)
	return nil
}

// slow are the figures of a handler that waits: lanes against a goroutine per
// partition.
func slow(o options) (all []figure) {
	for lanes, least := range map[int]float64{64: 10, 256: 20} {
		var f pair
		many := load{n: o.events / 4, partitions: 6, keys: 1000, even: true}
		few := many
		few.n = o.events / 40
		all = append(all, figure{
			name: fmt.Sprintf("2 ms handler, %d lanes / sequential per partition", lanes), least: least, unit: "1/s", of: perSecond,
			prepare: f.make(many, few),
			subject: func(ctx context.Context, p *parts) (spent, error) {
				return p.group(ctx, run{feed: f.subject, loose: true, lanes: lanes, handle: slowly})
			},
			reference: func(ctx context.Context, p *parts) (spent, error) { return p.sequential(ctx, f.reference, wait) },
		})
	}
	slices.SortFunc(all, func(a, b figure) int { return int(a.least - b.least) })
	return all
}

// failing is how long the other keys take while one fails for three seconds.
func failing(o options) figure {
	const sick, keys = 3 * time.Second, 1000
	var f pair
	side := func(failing bool) side {
		return func(ctx context.Context, p *parts) (spent, error) {
			var first sync.Once
			var begun time.Time
			var others atomic.Int64
			var took atomic.Int64
			want := int64(f.subject.n - (f.subject.n+keys-1)/keys)
			one := orders.KeyOf("0")
			s, err := p.group(ctx, run{feed: f.subject, loose: true, handle: func(_ context.Context, _ consumer.Tx, e event.Event, _ int64) error {
				first.Do(func() { begun = time.Now() })
				if failing && e.Key == one && time.Since(begun) < sick {
					return errors.New("not yet")
				}
				time.Sleep(wait)
				if e.Key != one && others.Add(1) == want {
					took.Store(int64(time.Since(begun)))
				}
				return nil
			}})
			if s.mark = time.Duration(took.Load()); err == nil && s.mark == 0 {
				err = errors.New("the other keys did not end")
			}
			if err == nil && failing && s.wall < sick {
				err = errors.New("the key did not fail for so long")
			}
			return s, err
		}
	}
	l := load{n: o.events / 5, partitions: 6, keys: keys}
	return figure{
		name: "others' finish, one key failing for 3 s / none failing", most: 1.15, unit: "ms", of: marked,
		prepare: f.make(l, l), subject: side(true), reference: side(false),
	}
}

// hot is how late other keys are while as many records go to one key, which is more
// than its handler can do.
func hot(o options) figure {
	side := func(hot bool) side {
		return func(ctx context.Context, p *parts) (spent, error) { return p.flow(ctx, o.seconds*flowRate, hot) }
	}
	return figure{
		name: "p99 of other keys, half of the records on one key / without them", most: 2, unit: "ms", of: marked,
		subject: side(true), reference: side(false),
	}
}

// flowRate is how many records a second come to the other keys, and as many to the
// hot one.
const flowRate = 1000

// flow sends n records at a constant rate, with hot as many to one key between them,
// and marks the 99th percentile from when a record was due to the end of its handler.
func (p *parts) flow(ctx context.Context, n int, hot bool) (took spent, err error) {
	if hot {
		n *= 2
	}
	other := func(i int) bool { return !hot || i%2 == 0 }
	each := time.Second / flowRate
	records, topic, err := p.records(ctx, n, func(i int) int {
		if other(i) {
			return 1 + i%500
		}
		return 0
	})
	if err != nil {
		return spent{}, err
	}
	defer func() { err = errors.Join(err, p.drop(context.WithoutCancel(ctx), topic)) }()
	due := func(i int) time.Duration {
		if hot {
			i /= 2
		}
		return time.Duration(i) * each
	}
	var begun atomic.Int64
	late := make([]time.Duration, n)
	sink := newSink(n)
	r := run{feed: &feed{topic: topic, n: n}, loose: true}
	r.handle = func(_ context.Context, _ consumer.Tx, _ event.Event, number int64) error {
		time.Sleep(wait)
		if i := int(number); i >= 0 && i < n && other(i) {
			late[i] = time.Since(time.Unix(0, begun.Load())) - due(i)
		}
		return nil
	}
	db, remove, err := p.open(ctx, "")
	if err != nil {
		return spent{}, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	err = p.while(ctx, r, groupOf(r, sink), db, func(ctx context.Context, runner *dispatch.Runner) error {
		if err := until(ctx, func() (bool, error) { ok, _ := runner.Ready(); return ok, nil }); err != nil {
			return err
		}
		if err := p.send(ctx, records, func(begin time.Time) { begun.Store(begin.UnixNano()) }, due); err != nil {
			return err
		}
		return sink.wait(ctx)
	})
	if err == nil {
		took, err = sink.end()
	}
	if err != nil {
		return took, err
	}
	if hot {
		late = slices.DeleteFunc(late, func(d time.Duration) bool { return d == 0 }) // of the one key
	}
	slices.Sort(late)
	took.mark = late[len(late)*99/100]
	return took, nil
}

// records makes a topic and the records that are to be sent to it.
func (p *parts) records(ctx context.Context, n int, key func(int) int) ([]*kgo.Record, string, error) {
	topic, err := p.topic(ctx, 6)
	if err != nil {
		return nil, "", err
	}
	kinds := orders.Kinds(1)
	if err := orders.Register(ctx, p.registry, kinds); err != nil {
		return nil, "", err
	}
	codec := p.codec
	all := make([]*kgo.Record, n)
	for i := range all {
		if all[i], err = kinds[0].Record(ctx, codec, topic, i, key(i)); err != nil {
			return nil, "", err
		}
	}
	return all, topic, nil
}

// send sends each record when it is due, whatever became of those before it.
func (p *parts) send(ctx context.Context, records []*kgo.Record, begin func(time.Time), due func(int) time.Duration) error {
	opts, err := p.kafka.Options()
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts, kgo.ProducerLinger(0))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil {
		return err
	}
	begun := time.Now().Add(50 * time.Millisecond)
	begin(begun)
	var failed atomic.Pointer[error]
	for i, rec := range records {
		time.Sleep(time.Until(begun.Add(due(i))))
		cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("sending: %w", *err)
	}
	return nil
}

// until waits for something to be so.
func until(ctx context.Context, so func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := so(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
