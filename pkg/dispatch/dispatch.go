// Package dispatch runs a group: it reads records, decodes them, skips what was
// handled, runs the handler inside a SQL transaction and acknowledges what that
// made durable.
//
// Runner joins the group and takes what it is assigned; partition does the work of
// one partition, from record to handler; leaving relays what the transactions left
// behind; fault says what an error means, and holds back what needs a dependency that
// is away. plan, offsets, turns, room and measure are what they stand on. again feeds
// replays through the lanes, shadow tries one on a copy, alarm tells people.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch/again"
	"github.com/eventspine/spine/pkg/dispatch/alarm"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/dispatch/measure"
	"github.com/eventspine/spine/pkg/dispatch/partition"
	"github.com/eventspine/spine/pkg/dispatch/plan"
	"github.com/eventspine/spine/pkg/dispatch/room"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/wire"
)

// Retry says how often and how fast a failing record is tried again.
type Retry = fault.Retry

// Options describe the run of one group.
type Options struct {
	Group     consumer.Group
	Unheld    bool     // a failing record holds no key: translate
	Release   bool     // a dead record holds its key no longer; else it holds it until it is redriven or dropped
	Version   string   // of the build, which a dead letter names
	Topics    []string // input topics: those of Types(Group)
	DB        *once.DB
	Kafka     bus.Config
	Codec     *wire.Codec
	Route     wire.Route
	Instances map[string]event.Instance // by "<system>/<name>"
	Consent   replay.Consent            // to what is published on request; nil = always

	// Aside is for a run beside the live group, on a store of its own: the name of the
	// Kafka group that it joins. What its transactions leave behind stays in the store:
	// nothing is published, no effect is called. "" = this is the live group.
	Aside string

	Concurrency     int           // workers; 0 = 64
	Batch           int           // records of different keys that a worker handles in one transaction; 0 = 32, 1 = each in its own
	AtLeastOnce     bool          // without the inbox; a group with nothing to commit then has no transactions either
	Retry           Retry         // of failing records and of dependencies that are away
	Deadline        time.Duration // of one call of a handler; 0 = 1 min
	Park            time.Duration // a failing record is tried in memory so long, then it waits in the store; 0 = 30 s
	CommitInterval  time.Duration // next_offset is stored so often; 0 = 1 s
	Look            time.Duration // the epoch and the waiting rows are looked at so often; 0 = 2 s
	ShutdownTimeout time.Duration // to finish what is in flight, at the end and when a partition goes away; 0 = 20 s
	Protocol        string        // of group membership: bus.Classic or bus.Consumer; "" = classic
	Session         time.Duration // the broker drops a silent member after it; 0 = 10 s
	WaitingRoom     int64         // bytes that may wait or be dead, in the whole group; 0 = 256 MiB

	Alarms *alarm.Alarms // nil = none
	Meter  metric.Meter  // nil = none
	Log    *slog.Logger  // nil = silent
}

// Runner runs one group. Make it with New, use it for one Run.
type Runner struct {
	o      Options
	plan   *plan.Plan
	engine *partition.Engine // set by Run before anything is assigned
	log    *slog.Logger

	meters   *measure.Meters
	outages  *fault.Outages
	breakers *fault.Breakers
	room     *room.Room

	mu       sync.Mutex
	members  *bus.Group
	starting string // what Run waits for before it joins; "" = it has joined
	closing  bool
	holding  map[bus.Partition]*assignment
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
	for _, e := range o.Group.Effects {
		if e.Unknown == consumer.LookUp && e.Look == nil {
			return nil, fmt.Errorf("group %s: effect %s looks up first, and doesn't say how: consumer.LookingUp", o.Group.Name, e.Name)
		}
	}
	o.Retry = o.Retry.WithDefaults()
	o.Concurrency = orElse(o.Concurrency, 64)
	o.Batch = orElse(o.Batch, 32)
	o.Deadline = orElse(o.Deadline, time.Minute)
	o.Park = orElse(o.Park, 30*time.Second)
	o.CommitInterval = orElse(o.CommitInterval, time.Second)
	o.Look = orElse(o.Look, 2*time.Second)
	o.ShutdownTimeout = orElse(o.ShutdownTimeout, 20*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	reads, err := plan.New(o.Group, o.Codec, o.Instances)
	if err != nil {
		return nil, err
	}
	r := &Runner{
		o: o, plan: reads, log: o.Log.With("group", o.Group.Name), starting: "not started",
		outages: fault.NewOutages(2*o.Retry.Max + 30*time.Second), holding: map[bus.Partition]*assignment{},
	}
	if r.meters, err = measure.New(o.Meter, o.Group.Name, r.lags); err != nil {
		return nil, err
	}
	r.breakers = fault.NewBreakers(o.Retry, r.awayOrBack)
	r.room, err = room.New(room.Options{
		Store: o.DB.Store(o.Group.Name), Group: o.Group.Name, Limit: o.WaitingRoom, Every: o.Look / 2, Meter: o.Meter,
		Overflow: func(bytes, limit int64) { o.Alarms.Overflow(o.Group.Name, bytes, limit) },
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// awayOrBack tells people of a dependency that went away, or came back.
func (r *Runner) awayOrBack(c fault.Change) {
	r.meters.Dependency(context.Background(), c.Dependency, c.Open) //nolint:forbidigo // a gauge; nobody waits for it
	switch {
	case !c.Open:
		r.log.Info("a dependency answers again: what was held goes on", "dependency", c.Dependency)
	case c.Failures == 1:
		r.log.Warn("a dependency is away: what needs it is held", "dependency", c.Dependency, "error", c.Cause, "next_probe", c.Probe)
	default:
		r.log.Info("a dependency is still away", "dependency", c.Dependency, "error", c.Cause, "next_probe", c.Probe)
	}
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
	producer, err := bus.NewProducer(r.o.Kafka)
	if err != nil {
		return err
	}
	defer producer.Close()
	gate := r.gate(producer)
	if err := r.prepare(ctx, gate); err != nil || ctx.Err() != nil {
		return err
	}
	// What is in flight outlives ctx: it is finished, not cut off.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	members, err := bus.NewGroup(r.o.Kafka, bus.GroupOptions{
		Name: cmp.Or(r.o.Aside, r.o.Group.Name), Topics: r.o.Topics, Protocol: r.o.Protocol, Session: r.o.Session,
		Assigned:  func(leases []bus.Lease) { r.assigned(work, leases) },
		Revoked:   r.revoked,
		Lost:      r.lost,
		Rebalance: r.o.ShutdownTimeout + 40*time.Second,
	})
	if err != nil {
		return err
	}
	bare := r.o.AtLeastOnce && r.o.Group.Tables == nil && len(r.o.Group.Effects) == 0 && len(r.o.Group.Emits) == 0
	ready := partition.NewReady(r.o.Batch, bare)
	r.use(members, &partition.Engine{
		Group: r.o.Group, Unheld: r.o.Unheld, Release: r.o.Release, Plan: r.plan,
		Store: r.o.DB.Store(r.o.Group.Name).WithConsent(r.o.Consent), Members: members, Kafka: r.o.Kafka, Replays: again.NewSlots(), Gate: gate, Ready: ready, Look: r.o.Look, Retry: r.o.Retry,
		AtLeastOnce: r.o.AtLeastOnce, Bare: bare, Deadline: r.o.Deadline, Park: r.o.Park, Meters: r.meters, Outages: r.outages, Breakers: r.breakers,
		Room: r.room, Alarms: r.o.Alarms, Log: r.log,
	})
	if err := r.join(ctx); err != nil || ctx.Err() != nil {
		members.Close(work)
		return err
	}
	var wg sync.WaitGroup
	for range r.o.Concurrency {
		wg.Go(func() { ready.Work(work) })
	}
	wg.Go(func() { r.commitLoop(work) })
	wg.Go(func() { members.Run(work) })
	<-ctx.Done()
	r.leave(work)
	stop()
	ready.Close()
	r.end(&wg)
	return nil
}

func (r *Runner) gate(producer *bus.Producer) *leaving.Gate {
	effects := map[string]consumer.Effect{}
	for _, e := range r.o.Group.Effects {
		effects[e.Name] = e
	}
	return &leaving.Gate{
		Group: r.o.Group.Name, Version: r.o.Version, Effects: effects, Codec: r.o.Codec, Route: r.o.Route, Producer: producer,
		Aside: r.o.Aside != "", Retry: r.o.Retry, Meters: r.meters, Outages: r.outages, Log: r.log,
	}
}

// end waits for the workers, as long as a handler may take to notice that its
// context has ended.
func (r *Runner) end(wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	late := time.NewTimer(2 * time.Second)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		r.log.Error("a handler doesn't end with its context; what it was doing is not committed")
	}
}

// prepare does what must be done before the first record: the group's tables, the
// registry ids of what its handlers publish, the topics. It waits for what is away.
func (r *Runner) prepare(ctx context.Context, gate *leaving.Gate) error {
	if r.o.Group.Tables != nil {
		err := r.patiently(ctx, fault.Database, func(ctx context.Context) error {
			return r.o.DB.Migrate(ctx, r.o.Group.Name, r.o.Group.Tables)
		}, func(err error) bool { return !errors.Is(err, once.ErrUnavailable) })
		if err != nil {
			return fmt.Errorf("migrating the tables of group %s: %w", r.o.Group.Name, err)
		}
	}
	for _, fact := range r.o.Group.Emits {
		err := r.patiently(ctx, fault.Registry, func(ctx context.Context) error { return gate.Resolve(ctx, fact) }, never)
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
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return nil //nolint:nilerr // told to stop: that is no failure
		case final(err):
			return err
		}
		r.wait(fmt.Sprintf("%s: %v", part, err))
		r.log.Warn("not started yet", "part", part, "error", err)
		fault.Sleep(ctx, r.o.Retry.Pause(failures))
	}
}

func (r *Runner) wait(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting = reason
}

func (r *Runner) use(members *bus.Group, engine *partition.Engine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members, r.engine = members, engine
}

// join waits for the topics, so that none of them begins later than the others.
func (r *Runner) join(ctx context.Context) error {
	err := r.patiently(ctx, fault.Broker, func(ctx context.Context) error {
		missing, err := r.members.Missing(ctx, r.o.Topics)
		if err == nil && len(missing) > 0 {
			err = fmt.Errorf("no such topic: %s", strings.Join(missing, ", "))
		}
		return err
	}, never)
	if err != nil || ctx.Err() != nil {
		return err
	}
	err = r.patiently(ctx, fault.Broker, r.members.Supported, func(err error) bool {
		var refused *bus.ProtocolError
		return errors.As(err, &refused)
	})
	if err != nil || ctx.Err() != nil {
		return err
	}
	r.wait("")
	return r.members.Join()
}

// Types lists the fact types that a group reads, older majors that are upcast among
// them: the topics of these are its input.
func Types(g consumer.Group) []string {
	var types []string
	for _, h := range g.On {
		types = append(types, h.Type)
		for _, up := range h.Upcasts {
			types = append(types, up.From)
		}
	}
	return types
}

// Topics are those that hold the facts a group reads, by name.
func Topics(g consumer.Group, route wire.Route) []string {
	var names []string
	for _, fact := range Types(g) {
		if target, ok := route(fact); ok && !slices.Contains(names, target.Topic) {
			names = append(names, target.Topic)
		}
	}
	slices.Sort(names)
	return names
}
