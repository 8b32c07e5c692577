package dispatch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
)

// Limits of what one partition may have in memory; beyond them it is paused.
const (
	maxQueued      = 4096     // records that wait for their lane
	maxQueuedBytes = 32 << 20 // of them
	maxOpen        = 1 << 17  // offsets above the lowest one that is not done
	commitGrace    = 2 * time.Second
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

// session is the memory of one ownership of a partition: between taking it with a
// fresh epoch and losing it. What it may write stands behind that epoch.
type session struct {
	r     *Runner
	lease bus.Lease
	owner *once.Owner

	mu      sync.Mutex
	phase   phase
	track   tracker
	stored  int64 // next_offset as this session stored it
	high    int64 // watermark of the partition
	lanes   map[string]*lane
	held    map[string]struct{}
	running map[*lane]context.CancelCauseFunc
	rows    map[int64]struct{} // waiting rows that stand in a lane
	settled map[int64]struct{} // rows that left a lane while a look is on
	due     time.Time          // when the next waiting row is to be looked for; zero = not known
	queued  int
	bytes   int
	paused  bool
	stuck   bool  // the relay can't get rid of what is outgoing
	broken  error // the partition can't be read

	advancing sync.Mutex // one Advance at a time

	quiet        chan struct{} // closed when draining and nothing is in flight
	closeEffects chan struct{}
	closeRelay   chan struct{}
	effectsDone  chan struct{}
	relayDone    chan struct{}
	ended        chan struct{}
	cause        error // of the end; nil = handed back in peace

	wakeRelay, wakeEffects, wakeLook chan struct{}
}

// open takes a partition: fresh epoch first, then everything that stands in the
// store is loaded behind it (promise: the store's offset stands).
func (r *Runner) open(ctx context.Context, l bus.Lease) (*session, error) {
	start, found, err := r.store.NextOffset(ctx, l.Topic, l.ID)
	if err != nil {
		return nil, err
	}
	if !found {
		begin, end, err := r.group.Range(ctx, l.Partition)
		if err != nil {
			return nil, err
		}
		start = r.first(begin, end)
	}
	owner, err := r.store.Own(ctx, l.Topic, l.ID, start) // stores start, if there is no offset yet
	if err != nil {
		return nil, err
	}
	s := &session{
		r: r, lease: l, owner: owner, stored: owner.NextOffset(), held: owner.Held(),
		lanes: map[string]*lane{}, running: map[*lane]context.CancelCauseFunc{}, rows: map[int64]struct{}{},
		quiet: make(chan struct{}), closeEffects: make(chan struct{}), closeRelay: make(chan struct{}),
		effectsDone: make(chan struct{}), relayDone: make(chan struct{}), ended: make(chan struct{}),
		wakeRelay: make(chan struct{}, 1), wakeEffects: make(chan struct{}, 1), wakeLook: make(chan struct{}, 1),
	}
	s.track.next = s.stored
	if kafka, ok := r.group.Committed(l.Partition); found && ok && (kafka > s.stored || kafka < s.stored-maxOpen) {
		r.log.Warn("the offset of the store and the one of Kafka differ; the store's stands",
			"topic", l.Topic, "partition", l.ID, "store", s.stored, "kafka", kafka)
	}
	return s, nil
}

// serve fetches and runs until the session ends, and answers why it ended: nil =
// handed back.
func (s *session) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, part := range []func(context.Context){s.relay, s.runEffects, s.watch} {
		wg.Go(func() { part(ctx) })
	}
	s.r.group.Start(s.lease, s.stored, s.feed)
	select {
	case <-s.ended:
	case <-ctx.Done():
		s.finish(errLost)
	}
	s.r.group.Stop(s.lease)
	cancel()
	wg.Wait()
	return s.cause
}

// finish ends the session: what is in flight is cancelled, and nothing of it is
// acknowledged from here on (promise: fenced).
func (s *session) finish(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(cause)
}

// end is finish while s.mu is held.
func (s *session) end(cause error) {
	if s.phase == over {
		return
	}
	s.phase, s.cause = over, cause
	for _, cancel := range s.running {
		cancel(errLost)
	}
	s.ifQuiet()
	close(s.ended)
}

// drain hands the partition back: it finishes what is in flight, forgets what is
// queued, lets out what is outgoing, stores next_offset and lets go. What isn't done
// when ctx ends is cancelled, and repeated by the next owner.
func (s *session) drain(ctx context.Context) {
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
	close(s.closeEffects)
	await(ctx, s.effectsDone)
	close(s.closeRelay)
	await(ctx, s.relayDone)
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), commitGrace)
	defer done()
	if err := s.advance(grace); err != nil {
		s.finish(err)
		return
	}
	s.finish(nil)
}

func (s *session) cancelRunning() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.running {
		cancel(errRevoked)
	}
}

// ifQuiet tells drain that nothing is in flight any more. s.mu is held.
func (s *session) ifQuiet() {
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

// advance stores next_offset, if it moved.
func (s *session) advance(ctx context.Context) error {
	s.advancing.Lock()
	defer s.advancing.Unlock()
	s.mu.Lock()
	low, _ := s.track.low()
	moved := low > s.stored && s.phase != over
	s.mu.Unlock()
	if !moved {
		return nil
	}
	if err := s.owner.Advance(ctx, low); err != nil { // promise: not lost; behind lock and epoch
		if fenced(err) {
			s.finish(err)
		}
		return err
	}
	s.mu.Lock()
	s.stored = low
	s.mu.Unlock()
	return nil
}

// commit is what Kafka may be told: what the store has, never more.
func (s *session) commit() (bus.Commit, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	low, at := s.track.low()
	if low != s.stored {
		at = time.Time{} // the time belongs to another offset
	}
	return bus.Commit{Lease: s.lease, Offset: s.stored, Time: at}, s.cause == nil
}

// feed takes what a poll brought. It never blocks: it queues, and pauses the
// partition where there is too much.
func (s *session) feed(b bus.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != active {
		return
	}
	if b.Err != nil {
		s.complain(b.Err)
		return
	}
	s.high = max(s.high, b.End)
	for _, rec := range b.Records {
		if rec.Offset < s.track.next {
			continue // an aborted fetch may come again
		}
		s.track.deliver(rec.Offset, rec.Timestamp)
		if rec.Attrs.IsControl() {
			s.track.ack(rec.Offset)
			continue
		}
		s.accept(rec)
	}
	if len(b.Records) > 0 && s.broken != nil {
		s.broken = nil
	}
	s.throttle()
}

func (s *session) complain(err error) {
	var gone *bus.RangeError
	if errors.As(err, &gone) && gone.Want < 0 {
		gone.Want = s.track.next
	}
	if s.broken == nil {
		s.r.log.Error("the partition can't be read", "topic", s.lease.Topic, "partition", s.lease.ID, "error", err)
	}
	s.broken = err
}

// accept finds the lane of a record. s.mu is held.
func (s *session) accept(rec *kgo.Record) {
	t := &task{mode: once.Live, rec: rec, size: sizeOf(rec)}
	t.event, t.bad = s.r.head(rec) // with an error, it has a type if ce_type is usable
	k, handled := s.r.plan[t.event.Type]
	switch {
	case t.event.Type == "":
		s.enqueue(&lane{s: s}, t) // promise: bad input; each group that reads the topic dead-letters it, and no key is held
		return
	case !handled:
		s.skip(rec, "")
		return
	case t.bad == nil && t.event.Origin == event.OriginBackfill && !s.r.o.Group.Backfill:
		s.skip(rec, t.event.Type)
		return
	}
	t.kind = k
	s.enqueue(s.lane(rec.Key), t)
}

// skip acknowledges what the group doesn't handle, without a transaction.
func (s *session) skip(rec *kgo.Record, name string) {
	s.track.ack(rec.Offset)
	s.r.m.record(name, skipped)
}

func (s *session) enqueue(l *lane, t *task) {
	l.queue = append(l.queue, t)
	s.queued++
	s.bytes += t.size
	s.schedule(l)
}

// throttle pauses a partition that has too much in memory and resumes it at half.
// s.mu is held, so that a pause can't outlive the session that asked for it.
func (s *session) throttle() {
	if s.phase != active {
		return
	}
	full := s.stuck || s.queued >= maxQueued || s.bytes >= maxQueuedBytes || len(s.track.open) >= maxOpen
	low := !s.stuck && s.queued <= maxQueued/2 && s.bytes <= maxQueuedBytes/2 && len(s.track.open) <= maxOpen/2
	switch {
	case full && !s.paused:
		s.paused = true
		s.r.group.Pause(s.lease.Partition)
	case low && s.paused:
		s.paused = false
		s.r.group.Resume(s.lease.Partition)
	}
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
