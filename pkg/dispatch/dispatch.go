// Package dispatch runs a group: it reads records, decodes them, skips what was
// handled, runs the handler inside a SQL transaction and acknowledges what that
// made durable.
//
// From record to handler, in the order of the straight path:
//
//	hold     a partition is assigned: take it with a fresh epoch and serve it
//	feed     a poll brought records: each goes to the lane of its key
//	step     a worker takes a ready lane and does its first task
//	perform  decode, transaction, handler; or: append, retry, dead letter
//	settle   acknowledge, next task of the lane
//	relay    publish what the transactions left behind
//	commit   store next_offset, then tell Kafka
//
// A session is the memory of one ownership. It is never repaired: when it is fenced
// or doesn't know the outcome of a commit, it is dropped, and a new one starts from
// what the store says.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

// Options describe the run of one group.
type Options struct {
	Group     consumer.Group
	Unheld    bool     // a failing record holds no key: translate
	Topics    []string // input topics: those of Types(Group)
	DB        *once.DB
	Kafka     bus.Config
	Codec     *wire.Codec
	Route     wire.Route
	Instances map[string]event.Instance // by "<system>/<name>"

	Concurrency     int           // lanes at work at the same time; 0 = 64
	Retry           Retry         // of failing records and of dependencies that are away
	CommitInterval  time.Duration // next_offset is stored so often; 0 = 1 s
	Look            time.Duration // the epoch and the waiting rows are looked at so often; 0 = 2 s
	ShutdownTimeout time.Duration // to finish what is in flight, at the end and when a partition goes away; 0 = 20 s
	Session         time.Duration // the broker drops a silent member after it; 0 = 10 s

	Meter metric.Meter // nil = none
	Log   *slog.Logger // nil = silent
}

// Runner runs one group. Make it with New, use it for one Run.
type Runner struct {
	o       Options
	plan    map[string]kind
	effects map[string]consumer.Effect
	store   *once.Store
	m       *meters
	log     *slog.Logger
	ready   *ready
	outages *outages

	producer *bus.Producer // set by Run before anything is assigned
	group    *bus.Group

	mu       sync.Mutex
	starting string // what Run waits for before it joins; "" = it has joined
	closing  bool
	holding  map[bus.Partition]*assignment
}

// assignment is a lease with whatever session serves it at the moment.
type assignment struct {
	lease  bus.Lease
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	session *session
	leaving bool
	trouble error // why there is no session
}

// New checks the options and makes a runner.
func New(o Options) (*Runner, error) {
	switch {
	case o.Group.Name == "":
		return nil, errors.New("dispatch: the group has no name")
	case len(o.Topics) == 0:
		return nil, fmt.Errorf("group %s: no topic carries the facts that it handles", o.Group.Name)
	case o.DB == nil || o.Codec == nil || o.Route == nil:
		return nil, fmt.Errorf("group %s: DB, Codec and Route are required", o.Group.Name)
	}
	o.Retry = o.Retry.withDefaults()
	o.Concurrency = orElse(o.Concurrency, 64)
	o.CommitInterval = orElse(o.CommitInterval, time.Second)
	o.Look = orElse(o.Look, 2*time.Second)
	o.ShutdownTimeout = orElse(o.ShutdownTimeout, 20*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	plan, err := planOf(o.Group)
	if err != nil {
		return nil, err
	}
	r := &Runner{
		o: o, plan: plan, effects: map[string]consumer.Effect{}, store: o.DB.Store(o.Group.Name), ready: newReady(),
		log: o.Log.With("group", o.Group.Name), holding: map[bus.Partition]*assignment{}, starting: "not started",
		outages: &outages{known: map[string]outage{}, keep: 2*o.Retry.Max + 30*time.Second},
	}
	for _, e := range o.Group.Effects {
		r.effects[e.Name] = e
	}
	if r.m, err = newMeters(o.Meter, r); err != nil {
		return nil, err
	}
	return r, nil
}

func orElse[T int | time.Duration](v, other T) T {
	if v <= 0 {
		return other
	}
	return v
}

// Run runs the group until ctx is done. Then it finishes what is in flight within
// ShutdownTimeout, stores and commits where it stands, and leaves. The error is one
// that no waiting heals: of the group's migrations, of the configuration.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	var err error
	if r.producer, err = bus.NewProducer(r.o.Kafka); err != nil {
		return err
	}
	defer r.producer.Close()
	// What is in flight outlives ctx: it is finished, not cut off.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, err := bus.NewGroup(r.o.Kafka, bus.GroupOptions{
		Name: r.o.Group.Name, Topics: r.o.Topics, Session: r.o.Session,
		Assigned:  func(leases []bus.Lease) { r.assigned(work, leases) },
		Revoked:   func(ctx context.Context, leases []bus.Lease) { r.revoked(ctx, leases) },
		Lost:      r.lost,
		Rebalance: r.o.ShutdownTimeout + 40*time.Second,
	})
	if err != nil {
		return err
	}
	r.use(group)
	if err := r.join(ctx); err != nil || ctx.Err() != nil {
		group.Close(work)
		return err
	}
	var wg sync.WaitGroup
	for range r.o.Concurrency {
		wg.Go(func() { r.worker(work) })
	}
	wg.Go(func() { r.commitLoop(work) })
	wg.Go(func() { group.Run(work) })
	<-ctx.Done()
	r.leave(work)
	closing, cancel := context.WithTimeout(work, r.o.ShutdownTimeout)
	group.Close(closing)
	cancel()
	stop()
	r.ready.close()
	wg.Wait()
	return nil
}

// prepare does what must be done before the first record: the group's tables, the
// registry ids of what its handlers publish, the topics. It waits for what is away.
func (r *Runner) prepare(ctx context.Context) error {
	if r.o.Group.Tables != nil {
		err := r.patiently(ctx, database, func(ctx context.Context) error {
			return r.o.DB.Migrate(ctx, r.o.Group.Name, r.o.Group.Tables)
		}, func(err error) bool { return !errors.Is(err, once.ErrUnavailable) })
		if err != nil {
			return fmt.Errorf("migrating the tables of group %s: %w", r.o.Group.Name, err)
		}
	}
	for _, fact := range r.o.Group.Emits {
		err := r.patiently(ctx, registry, func(ctx context.Context) error { return r.resolve(ctx, fact) }, never)
		if err != nil {
			return err
		}
	}
	return nil
}

func never(error) bool { return false }

// patiently tries until it succeeds, ctx ends, or the error is final.
func (r *Runner) patiently(ctx context.Context, part string, try func(context.Context) error, final func(error) bool) error {
	for failures := 1; ; failures++ {
		err := try(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if final(err) {
			return err
		}
		r.wait(fmt.Sprintf("%s: %v", part, err))
		r.log.Warn("not started yet", "part", part, "error", err)
		sleep(ctx, r.o.Retry.pause(failures))
	}
}

func (r *Runner) wait(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting = reason
}

func (r *Runner) use(g *bus.Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.group = g
}

// join waits for the topics, so that none of them begins later than the others.
func (r *Runner) join(ctx context.Context) error {
	err := r.patiently(ctx, broker, func(ctx context.Context) error {
		missing, err := r.group.Missing(ctx, r.o.Topics)
		if err == nil && len(missing) > 0 {
			err = fmt.Errorf("no such topic: %s", strings.Join(missing, ", "))
		}
		return err
	}, never)
	if err != nil || ctx.Err() != nil {
		return err
	}
	r.wait("")
	return r.group.Join()
}

func (r *Runner) head(rec *kgo.Record) (event.Event, error) {
	e, err := wire.Head(rec)
	if err == nil {
		e.Instance = r.instance(e)
	}
	return e, err
}

func (r *Runner) first(begin, end int64) int64 {
	if r.o.Group.Start == consumer.FromBeginning {
		return begin
	}
	return end
}

func (r *Runner) worker(ctx context.Context) {
	for l := r.ready.pop(); l != nil; l = r.ready.pop() {
		l.s.step(ctx, l)
	}
}

// assigned takes partitions, each on its own: one that has to wait for its former
// owner keeps none of the others waiting.
func (r *Runner) assigned(ctx context.Context, leases []bus.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return
	}
	for _, l := range leases {
		ctx, cancel := context.WithCancel(ctx)
		a := &assignment{lease: l, cancel: cancel, done: make(chan struct{})}
		r.holding[l.Partition] = a
		go r.hold(ctx, a)
	}
}

// hold serves a lease, one session after the other: an owner that was fenced, or
// didn't learn the outcome of a commit, starts over while Kafka still means it.
func (r *Runner) hold(ctx context.Context, a *assignment) {
	defer close(a.done)
	for failures := 1; ; failures++ {
		begun := time.Now()
		s, err := r.open(ctx, a.lease)
		if err == nil {
			if !a.begin(s) {
				return
			}
			err = s.serve(ctx)
		}
		if ctx.Err() != nil || err == nil || !r.group.Holds(a.lease) {
			return
		}
		if time.Since(begun) > time.Minute {
			failures = 1
		}
		a.fail(err)
		r.log.Warn("the session of the partition ended, starting over", "topic", a.lease.Topic, "partition", a.lease.ID, "error", err)
		sleep(ctx, r.o.Retry.pause(failures))
	}
}

func (a *assignment) begin(s *session) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session, a.trouble = s, nil
	return !a.leaving
}

func (a *assignment) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session, a.trouble = nil, err
}

// depart lets the assignment begin nothing more and answers what it is serving.
func (a *assignment) depart() *session {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leaving = true
	return a.session
}

// revoked hands partitions back: drained, stored, told to Kafka, in this order.
func (r *Runner) revoked(ctx context.Context, leases []bus.Lease) {
	drain, cancel := context.WithTimeout(ctx, r.o.ShutdownTimeout)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var commits []bus.Commit
	for _, a := range r.take(leases) {
		wg.Go(func() {
			s := a.depart()
			if s != nil {
				s.drain(drain)
				if c, ok := s.commit(); ok {
					mu.Lock()
					commits = append(commits, c)
					mu.Unlock()
				}
			}
			a.cancel()
			await(drain, a.done)
		})
	}
	wg.Wait()
	r.tell(context.WithoutCancel(ctx), commits)
}

// lost drops partitions: nothing of them is acknowledged, stored or committed.
func (r *Runner) lost(leases []bus.Lease) {
	for _, a := range r.take(leases) {
		if s := a.depart(); s != nil {
			s.finish(errLost)
		}
		a.cancel()
	}
}

func (r *Runner) take(leases []bus.Lease) []*assignment {
	r.mu.Lock()
	defer r.mu.Unlock()
	var taken []*assignment
	for _, l := range leases {
		if a := r.holding[l.Partition]; a != nil && a.lease == l {
			delete(r.holding, l.Partition)
			taken = append(taken, a)
		}
	}
	return taken
}

func (r *Runner) leave(ctx context.Context) {
	r.mu.Lock()
	r.closing = true
	leases := make([]bus.Lease, 0, len(r.holding))
	for _, a := range r.holding {
		leases = append(leases, a.lease)
	}
	r.mu.Unlock()
	r.revoked(ctx, leases)
}

func (r *Runner) sessions() []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*session
	for _, a := range r.holding {
		a.mu.Lock()
		if a.session != nil {
			all = append(all, a.session)
		}
		a.mu.Unlock()
	}
	return all
}

// commitLoop stores next_offset of each partition and then tells Kafka, whose
// offset follows the store's and starts nothing.
func (r *Runner) commitLoop(ctx context.Context) {
	told := map[bus.Lease]int64{}
	tick := time.NewTicker(r.o.CommitInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var commits []bus.Commit
		now := map[bus.Lease]int64{}
		for _, s := range r.sessions() {
			if err := s.advance(ctx); err != nil && ctx.Err() == nil {
				r.outages.begin(database, err)
				r.log.Warn("storing next_offset", "topic", s.lease.Topic, "partition", s.lease.ID, "error", err)
			}
			c, ok := s.commit()
			if last, before := told[s.lease]; ok && (!before || last != c.Offset) {
				commits = append(commits, c)
			}
			now[s.lease] = c.Offset
		}
		if r.tell(ctx, commits) {
			told = now
		}
	}
}

func (r *Runner) tell(ctx context.Context, commits []bus.Commit) bool {
	if len(commits) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := r.group.Commit(ctx, commits); err != nil {
		if ctx.Err() == nil {
			r.log.Warn("telling Kafka the offsets", "error", err)
		}
		return false
	}
	return true
}

// Ready says whether the group owns its partitions and has their start offsets
// stored, and if not, why.
func (r *Runner) Ready() (ok bool, reason string) {
	r.mu.Lock()
	starting, closing, group := r.starting, r.closing, r.group
	holding := make([]*assignment, 0, len(r.holding))
	for _, a := range r.holding {
		holding = append(holding, a)
	}
	r.mu.Unlock()
	switch {
	case starting != "":
		return false, starting
	case closing:
		return false, "shutting down"
	case !group.Joined():
		return false, "kafka: joining the group"
	}
	var reasons []string
	if away := r.outages.reason(); away != "" {
		reasons = append(reasons, away)
	}
	for _, a := range holding {
		if why := a.reason(); why != "" {
			reasons = append(reasons, why)
		}
	}
	sort.Strings(reasons)
	return len(reasons) == 0, strings.Join(reasons, "; ")
}

func (a *assignment) reason() string {
	a.mu.Lock()
	s, trouble := a.session, a.trouble
	a.mu.Unlock()
	switch {
	case trouble != nil:
		return fmt.Sprintf("taking %s: %v", a.lease.Partition, trouble)
	case s == nil:
		return fmt.Sprintf("taking %s", a.lease.Partition)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken.Error()
	}
	return ""
}

func (r *Runner) observeLag(o metric.Int64Observer) {
	for _, s := range r.sessions() { // only what is owned: a series of a former owner would stand still
		s.mu.Lock()
		low, _ := s.track.low()
		lag := max(s.high-low, 0)
		s.mu.Unlock()
		o.Observe(lag, r.m.of(attribute.String("topic", s.lease.Topic), attribute.Int("partition", int(s.lease.ID))))
	}
}
