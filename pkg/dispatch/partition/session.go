// Package partition is the heart of dispatch: what a group does with the records of
// one partition, from its assignment to its end.
//
//	Open     take the partition with a fresh epoch, load what stands
//	feed     a poll brought records: each goes to the lane of its key
//	step     a worker takes ready lanes and does the first task of each
//	prepare  decode; or: append, retry, dead letter
//	handle   handlers in a transaction
//	settle   acknowledge, next task of the lanes
//	Advance  store next_offset
//	Drain    finish, store, let go
//
// A Session is the memory of one ownership. It is never repaired: when it is fenced
// or doesn't know the outcome of a commit, it ends, and a new one starts from what
// the store says.
package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch/again"
	"github.com/eventspine/spine/pkg/dispatch/alarm"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/dispatch/measure"
	"github.com/eventspine/spine/pkg/dispatch/offsets"
	"github.com/eventspine/spine/pkg/dispatch/plan"
	"github.com/eventspine/spine/pkg/dispatch/room"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
)

// Limits of what one partition may have in memory; beyond them it is paused.
const (
	maxQueued      = 4096     // records that wait for their lane
	maxQueuedBytes = 32 << 20 // of them
	maxOpen        = 1 << 17  // offsets above the lowest one that is not done
	commitGrace    = 2 * time.Second
	bareTime       = 2 * time.Millisecond // handlers that share no transaction are called in a row for so long
)

// The ends of a session and of its tasks.
var (
	errRevoked = errors.New("the partition was handed back")
	errLost    = errors.New("the partition was lost")
)

type phase int

const (
	active   phase = iota
	draining       // finishes what is in flight, begins nothing
	over           // nothing of it is acknowledged, committed or written any more
)

// Engine is what the sessions of a group share.
type Engine struct {
	Group    consumer.Group
	Unheld   bool
	Release  bool
	Plan     *plan.Plan
	Store    *once.Store
	Members  *bus.Group
	Kafka    bus.Config
	Replays  again.Slots
	Gate     *leaving.Gate
	Ready    *Ready
	Look     time.Duration
	Retry    fault.Retry
	Deadline time.Duration // of one call of a handler
	Park     time.Duration // how long a failing record is tried in memory
	Meters   *measure.Meters
	Outages  *fault.Outages
	Breakers *fault.Breakers
	Room     *room.Room
	Alarms   *alarm.Alarms
	Log      *slog.Logger

	AtLeastOnce bool // without the inbox
	Bare        bool // and nothing to commit: without a transaction
}

// Session is the memory of one ownership of a partition: between taking it with a
// fresh epoch and losing it. What it may write stands behind that epoch.
type Session struct {
	g     *Engine
	lease bus.Lease
	log   *slog.Logger
	owner *once.Owner

	mu      sync.Mutex
	phase   phase
	track   offsets.Tracker
	stored  int64     // next_offset as this session stored it
	passed  time.Time // time of the last record below stored
	high    int64     // watermark of the partition
	lanes   map[string]*lane
	turns   laneTurns // of the lanes that are ready; the queue's own
	held    map[string]struct{}
	running map[*share]struct{}
	rows    map[int64]struct{} // waiting rows that stand in a lane
	settled map[int64]struct{} // rows that left a lane while a look is on
	more    bool               // the last look found more rows than there was room for
	due     time.Time          // when the next waiting row is to be looked for; zero = not known
	queued  int
	bytes   int
	paused  bool
	stuck   bool  // the relay can't get rid of what is outgoing
	broken  error // the partition can't be read

	advancing chan struct{} // full during an Advance: one at a time

	quiet    chan struct{} // closed when draining and nothing is in flight
	ended    chan struct{}
	cause    error // of the end; nil = handed back in peace
	wakeLook chan struct{}
	relay    *leaving.Relay
	effects  *leaving.Effects
}

// Open takes a partition: fresh epoch first, then everything that stands in the
// store is loaded behind it (promise: the store's offset stands).
func (g *Engine) Open(ctx context.Context, l bus.Lease) (*Session, error) {
	start, found, err := g.Store.NextOffset(ctx, l.Topic, l.ID)
	if err != nil {
		return nil, err
	}
	if !found {
		begin, end, err := g.Members.Range(ctx, l.Partition)
		if err != nil {
			return nil, err
		}
		start = end
		if g.Group.Start == consumer.FromBeginning {
			start = begin
		}
	}
	owner, err := g.Store.Own(ctx, l.Topic, l.ID, start) // stores start, if there is no offset yet
	if err != nil {
		return nil, err
	}
	s := &Session{
		g: g, lease: l, owner: owner, stored: owner.NextOffset(), held: owner.Held(),
		log:   g.Log.With("topic", l.Topic, "partition", l.ID),
		lanes: map[string]*lane{}, running: map[*share]struct{}{}, rows: map[int64]struct{}{},
		advancing: make(chan struct{}, 1), quiet: make(chan struct{}), ended: make(chan struct{}), wakeLook: make(chan struct{}, 1),
	}
	out := leaving.Session{Owner: owner, End: s.End, Jam: s.jam, Log: s.log}
	s.relay = g.Gate.NewRelay(out)
	s.effects = g.Gate.NewEffects(out, s.relay)
	s.track.Next = s.stored
	if found {
		s.compare(ctx)
	}
	return s, nil
}

// compare tells people where the store and Kafka differ. Kafka's offset follows the
// store's: behind it, by no more than what a crash leaves untold, is nothing to worry
// about; ahead of it, or far behind, somebody restored or reset one of the two.
func (s *Session) compare(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	kafka, ok, err := s.g.Members.AskCommitted(ctx, s.lease.Partition)
	if err != nil || !ok || kafka == s.stored {
		return // it decides nothing: who can't tell it can't read either, and says so
	}
	level := slog.LevelInfo
	if kafka > s.stored || kafka < s.stored-maxOpen {
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, "the offsets of the store and of Kafka differ: the store's stands", "store", s.stored, "kafka", kafka)
}

// Serve fetches and runs until the session ends, and answers why it ended: nil =
// handed back.
func (s *Session) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, part := range []func(context.Context){s.relay.Run, s.effects.Run, s.watch, s.feeder().Run} {
		wg.Go(func() { part(ctx) })
	}
	s.measure(ctx)
	s.g.Members.Start(s.lease, s.stored, s.feed)
	s.measure(ctx) // pauses it, where there is no room
	select {
	case <-s.ended:
	case <-ctx.Done():
		s.End(errLost)
	}
	s.g.Members.Stop(s.lease)
	cancel()
	wg.Wait()
	return s.cause
}

// Lose ends the session because the partition went to somebody else: nothing is
// stored any more.
func (s *Session) Lose() { s.End(errLost) }

// End ends the session: what is in flight is cancelled, and nothing of it is
// acknowledged from here on (promise: fenced).
func (s *Session) End(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(cause)
}

// end is End while s.mu is held.
func (s *Session) end(cause error) {
	if s.phase == over {
		return
	}
	s.phase, s.cause = over, cause
	for of := range s.running {
		of.cancel(errLost)
	}
	s.ifQuiet()
	close(s.ended)
}

// Drain hands the partition back: it finishes what is in flight, forgets what is
// queued, lets out what is outgoing, stores next_offset and lets go. What isn't done
// when ctx ends is cancelled, and repeated by the next owner.
func (s *Session) Drain(ctx context.Context) {
	s.mu.Lock()
	if s.phase != active {
		s.mu.Unlock()
		return
	}
	s.phase = draining
	s.ifQuiet()
	s.mu.Unlock()
	if !await(ctx, s.quiet) {
		s.cancelRunning()
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), commitGrace)
		await(grace, s.quiet)
		done()
	}
	s.effects.Close()
	await(ctx, s.effects.Done())
	s.relay.Close() // after the effects, whose Done may publish
	await(ctx, s.relay.Done())
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), commitGrace)
	defer done()
	if err := s.Advance(grace); err != nil {
		s.End(err)
		return
	}
	s.End(nil)
}

func (s *Session) cancelRunning() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for of := range s.running {
		of.cancel(errRevoked)
	}
}

// ifQuiet tells drain that nothing is in flight any more. s.mu is held.
func (s *Session) ifQuiet() {
	if s.phase != active && len(s.running) == 0 {
		select {
		case <-s.quiet:
		default:
			close(s.quiet)
		}
	}
}

func await(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// Advance stores next_offset, if it moved.
func (s *Session) Advance(ctx context.Context) error {
	select {
	case s.advancing <- struct{}{}:
		defer func() { <-s.advancing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	low, at := s.track.Low()
	moved := low > s.stored && s.phase != over
	s.mu.Unlock()
	if !moved {
		return nil
	}
	if err := s.owner.Advance(ctx, low); err != nil { // promise: not lost; behind lock and epoch
		if fault.Ends(err) {
			s.End(err)
		}
		return err
	}
	s.mu.Lock()
	s.stored, s.passed = low, at
	s.mu.Unlock()
	return nil
}

// Commit is what Kafka may be told: what the store has, never more; false = nothing. A
// session that has done nothing yet doesn't know the time of the record before it, and
// leaves the commit as it is that carries it.
func (s *Session) Commit() (bus.Commit, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := bus.Commit{Lease: s.lease, Offset: s.stored, Time: s.passed}
	kafka, told := s.g.Members.Committed(s.lease.Partition)
	return c, s.cause == nil && (!told || kafka != c.Offset || !c.Time.IsZero())
}

// feed takes what a poll brought. It never blocks: it queues, and pauses the
// partition where there is too much.
func (s *Session) feed(ctx context.Context, b bus.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != active {
		return
	}
	if b.Err != nil {
		s.complain(b.Err)
		return
	}
	s.g.Outages.Over(fault.Broker)
	s.high = max(s.high, b.End)
	for _, rec := range b.Records {
		if rec.Offset < s.track.Next {
			continue // an aborted fetch may come again
		}
		s.track.Deliver(rec.Offset, rec.Timestamp)
		if rec.Attrs.IsControl() {
			s.track.Ack(rec.Offset)
			continue
		}
		s.accept(ctx, rec)
	}
	s.throttle()
}

// complain remembers why the partition can't be read. An offset out of range, or a
// batch that unpacks to too much, stops it until a person decides: nothing is skipped
// silently (promise: not lost).
func (s *Session) complain(err error) {
	log := s.log.With("error", err)
	var gone *bus.RangeError
	var huge *kgo.ErrDecompressTooLarge // the client says it once and never reads on
	switch {
	case errors.As(err, &gone):
		if gone.Want < 0 {
			gone.Want = s.track.Next
		}
		s.broken = err
		log.Error("the partition stands still: offsets are gone", "way_on", s.wayOn("earliest"))
	case errors.As(err, &huge):
		s.broken = err
		log.Error("the partition stands still: a batch unpacks to too much", "way_on", s.wayOn(strconv.FormatInt(huge.NextOffset, 10)))
	default:
		s.g.Outages.Begin(fault.Broker, err)
		log.Warn("reading the partition")
	}
}

// wayOn is what a person may do about a partition that stands still.
func (s *Session) wayOn(to string) string {
	return fmt.Sprintf("spine groups reset %s --topic %s --partition %d --to %s", s.g.Group.Name, s.lease.Topic, s.lease.ID, to)
}

// accept finds the lane of a record. s.mu is held.
func (s *Session) accept(ctx context.Context, rec *kgo.Record) {
	t := &task{mode: once.Live, rec: rec, size: leaving.Size(rec)}
	t.event, t.bad = s.g.Plan.Head(rec) // with an error, it has a type if ce_type is usable
	k, handled := s.g.Plan.Kind(t.event.Type)
	switch {
	case t.event.Type == "":
		s.enqueue(&lane{s: s}, t) // promise: bad input; each group that reads the topic dead-letters it, and no key is held
		return
	case !handled:
		s.skip(ctx, rec, "")
		return
	case t.bad == nil && t.event.Origin == event.OriginBackfill && !s.g.Group.Backfill:
		s.skip(ctx, rec, t.event.Type)
		return
	}
	t.kind = k
	s.enqueue(s.lane(rec.Key), t)
}

// skip acknowledges what the group doesn't handle, without a transaction.
func (s *Session) skip(ctx context.Context, rec *kgo.Record, name string) {
	s.track.Ack(rec.Offset)
	s.g.Meters.Record(ctx, name, measure.Skipped)
}

func (s *Session) enqueue(l *lane, t *task) {
	t.number = s.g.Ready.Next()
	if l.queue = append(l.queue, t); l.taken {
		s.g.Ready.hurry(l, t.number)
	}
	s.queued++
	s.bytes += t.size
	s.schedule(l)
}

// throttle pauses a partition that has too much in memory and resumes it at half.
// s.mu is held, so that a pause can't outlive the session that asked for it.
func (s *Session) throttle() {
	if s.phase != active {
		return
	}
	spare := !s.g.Room.Full() // promise: not lost; nothing more comes in, and nothing is dropped
	full := s.stuck || !spare || s.queued >= maxQueued || s.bytes >= maxQueuedBytes || s.track.Open() >= maxOpen
	low := !s.stuck && spare && s.queued <= maxQueued/2 && s.bytes <= maxQueuedBytes/2 && s.track.Open() <= maxOpen/2
	switch {
	case full && !s.paused:
		s.paused = true
		s.g.Members.Pause(s.lease.Partition)
		if spare {
			s.spillFailing()
		}
	case low && s.paused:
		s.paused = false
		s.g.Members.Resume(s.lease.Partition)
	}
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// Broken says why the partition can't be read; nil = it can.
func (s *Session) Broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Lag is how many records are not done yet.
func (s *Session) Lag() measure.Lag {
	s.mu.Lock()
	defer s.mu.Unlock()
	low, _ := s.track.Low()
	return measure.Lag{Topic: s.lease.Topic, Partition: s.lease.ID, Records: max(s.high-low, 0)}
}
