package partition

import (
	"context"
	"errors"
	"time"

	"github.com/eventspine/spine/pkg/dispatch/again"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/dispatch/measure"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/wire"
)

// perform does a task and answers what became of it. What it answers as done is
// durable: committed, skipped as a duplicate, or standing in the store.
func (s *Session) perform(ctx context.Context, l *lane, t *task) outcome {
	if t.decided {
		return s.move(ctx, l, t)
	}
	if t.mode == once.Live && s.holds(l) {
		held, err := s.owner.KeyHeld(ctx, t.rec.Key)
		if err != nil {
			return s.storeError(ctx, t, err)
		}
		if held { // promise: in order; later events of a failing key wait behind it
			if err := s.owner.Append(ctx, leaving.Kept(t.rec), t.id()); err != nil {
				return s.storeError(ctx, t, err)
			}
			s.g.Room.Grow(t.size)
			s.g.Meters.Record(ctx, t.event.Type, measure.Waiting)
			return outcome{done: 1}
		}
		s.release(l)
	}
	if t.bad != nil {
		return s.judge(ctx, l, t, t.bad)
	}
	var wait time.Duration
	if t.pass, wait = s.g.Breakers.Enter(t.kind.handler.Type); wait > 0 {
		return outcome{again: wait} // what it needs is away: nothing is asked, nothing counts
	}
	defer t.pass.Drop() // says nothing, where nobody has said more
	var fact any
	err := fault.Recovered(func() (err error) {
		fact, t.event, err = s.g.decode(ctx, t.kind, t.rec, t.event)
		return err
	})
	if err != nil {
		return s.judge(ctx, l, t, err)
	}
	s.g.Outages.Over(fault.Registry)
	return s.handle(ctx, l, t, fact)
}

// handle runs the handler in the store's transaction.
func (s *Session) handle(ctx context.Context, l *lane, t *task, fact any) outcome {
	var left leaving.Left
	begun := time.Now()
	item := once.Item{Mode: t.mode, EventID: t.id(), Record: leaving.Kept(t.rec), Silent: t.event.Replay}
	if t.replay != nil {
		item.Replay, item.Reached = t.replay.Replay(), t.replay.Reached
	}
	result, err := s.owner.Do(ctx, item, func(ctx context.Context, tx once.Tx) error {
		left = leaving.Left{} // the store may run it again
		htx := s.g.Gate.Tx(ctx, tx, s.g.Gate.Cause(t.event, t.rec), &left, t.event.Replay)
		e, call := t.event, t.kind.handler.Call // of its own: a handler that is left behind may read on
		return fault.Timed(ctx, s.g.Deadline, func(ctx context.Context) error { return call(ctx, htx, e, fact) })
	})
	if err != nil {
		return s.judge(ctx, l, t, err)
	}
	t.pass.Leave(nil)
	s.g.Outages.Over(fault.Database)
	switch {
	case result == once.Handled && t.mode == once.Replay:
		s.g.Meters.Record(ctx, t.event.Type, measure.Replayed) // how long ago it happened says nothing
	case result == once.DuplicateDelivery:
		s.g.Meters.Record(ctx, t.event.Type, measure.DuplicateDelivery)
	case result == once.DuplicateEvent:
		s.g.Meters.Record(ctx, t.event.Type, measure.DuplicateEvent)
	default:
		s.g.Meters.Handled(ctx, t.event, begun)
	}
	if left.Facts > 0 {
		s.relay.Wake()
	}
	if left.Effects > 0 {
		s.effects.Wake()
	}
	switch {
	case t.mode == once.Waiting:
		s.relieve(ctx, l, t)
		return outcome{}
	case t.mode == once.Replay && result == once.Handled:
		return outcome{what: again.Handled}
	case t.mode == once.Replay:
		return outcome{what: again.Duplicate}
	}
	return outcome{done: 1}
}

// holds says whether the lane's key waits in the store.
func (s *Session) holds(l *lane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, held := s.held[l.id]
	return held && l.keyed
}

func (s *Session) release(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, l.id)
}

// relieve looks whether the key of a row that is done is free again. Where it
// can't know, the key stays held: the next live record looks again.
func (s *Session) relieve(ctx context.Context, l *lane, t *task) {
	if !s.holds(l) {
		return
	}
	head, held, err := s.owner.Head(ctx, t.rec.Key)
	switch {
	case err != nil:
		s.lookAt(time.Now())
	case !held:
		s.release(l)
	case head.State == once.Wait: // a dead one stays where it is
		s.succeed(head)
	}
}

// storeError is a failure of the engine's own writing: never the record's fault.
func (s *Session) storeError(ctx context.Context, t *task, err error) outcome {
	switch {
	case fault.Ends(err):
		return outcome{lost: err}
	case ctx.Err() != nil:
		return outcome{idle: true}
	}
	t.tries++
	s.g.Outages.Begin(fault.Database, err)
	s.g.Log.Warn("writing to the store", s.attrs(t, "error", err)...)
	return outcome{again: s.g.Retry.Pause(t.tries)}
}

// judge decides what a failure means for the record.
func (s *Session) judge(ctx context.Context, l *lane, t *task, err error) outcome {
	f := fault.Classify(err)
	var left *fault.LeftError
	if errors.As(err, &left) {
		s.g.Meters.Left(ctx, t.event.Type)
		s.g.Log.Error("a handler ignores the end of its context and was left behind", s.attrs(t, "error", err)...)
	}
	switch {
	case f.Class == fault.Fenced:
		return outcome{lost: err}
	case errors.Is(err, replay.ErrDropped):
		return outcome{what: again.Duplicate} // nothing happened, and nobody counts it any more
	case ctx.Err() != nil: // cancelled with the session: nothing happened, nothing counts
		return outcome{idle: true}
	}
	t.pass.Leave(&f)
	if f.Away != "" { // promise: a dependency that is away makes no dead letter
		t.tries++
		s.g.Outages.Begin(f.Away, err)
		s.g.Meters.Record(ctx, t.event.Type, measure.Retried)
		s.g.Log.Warn("a dependency is away, trying again", s.attrs(t, "dependency", f.Away, "error", err)...)
		return outcome{again: s.g.Retry.Pause(t.tries)}
	}
	f.Reason = s.g.Gate.Redacted(ctx, t.rec, f.Reason)
	t.blame(f)
	var thrown *fault.PanicError
	if errors.As(err, &thrown) {
		s.g.Log.Error("the handler panicked", s.attrs(t, "panic", f.Reason, "stack", string(thrown.Stack))...)
	}
	switch {
	case f.Class == fault.Later:
		t.row.State, t.row.NextAt = once.Wait, f.At
		if soonest := time.Now().Add(s.g.Retry.Pause(1)); t.row.NextAt.Before(soonest) {
			t.row.NextAt = soonest // a time that has passed would go in circles
		}
	case f.Permanent || t.row.Attempts >= s.g.Retry.Attempts:
		t.row.State, t.row.NextAt = once.Dead, time.Time{}
	default:
		pause := s.g.Retry.Pause(t.row.Attempts)
		s.g.Meters.Record(ctx, t.event.Type, measure.Retried)
		s.g.Log.Warn("handling failed, trying again", s.attrs(t, "attempt", t.row.Attempts, "class", f.Class, "error", f.Reason)...)
		if t.mode == once.Replay { // below next_offset already: it keeps nothing back
			return outcome{again: pause}
		}
		if t.mode == once.Live && !s.crowded(t, pause) {
			t.failing = true
			return outcome{again: pause}
		}
		t.row.State, t.row.NextAt = once.Wait, time.Now().Add(pause)
	}
	t.decided = true
	return s.move(ctx, l, t)
}

// crowded says whether a failing record is to wait in the store rather than in memory:
// it has been failing for long, or what stands behind it fills the partition's memory.
func (s *Session) crowded(t *task, pause time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused && !s.g.Room.Full() || time.Since(t.row.FirstFailed)+pause > s.g.Park
}

// spillFailing moves the failing heads that sleep in memory to the store at once, their
// successors with them, so that next_offset passes them. s.mu is held.
func (s *Session) spillFailing() {
	for _, l := range s.lanes {
		if l.taken || len(l.queue) == 0 || !l.queue[0].failing {
			continue
		}
		t := l.queue[0]
		t.row.State, t.row.NextAt = once.Wait, t.notBefore
		t.decided, t.notBefore = true, time.Time{}
		s.schedule(l)
	}
}

// blame adds a failure to the account of the record.
func (t *task) blame(f fault.Failure) {
	now := time.Now()
	if t.row.FirstFailed.IsZero() {
		t.row.FirstFailed = now
	}
	t.row.LastFailed, t.row.Class, t.row.Reason = now, f.Class, leaving.Bounded(f.Reason)
	if f.Class != fault.Later {
		t.row.Attempts++
	}
}

// move writes what was decided: the failed head, and, where it holds its key, all
// queued successors behind it, in one transaction with the dead-letter copy.
func (s *Session) move(ctx context.Context, l *lane, t *task) outcome {
	if t.mode == once.Replay {
		return s.bury(ctx, l, t)
	}
	row := t.row
	if t.mode == once.Live {
		row.EventID, row.Record = t.id(), leaving.Kept(t.rec)
		row.Holds = !s.g.Unheld && l.keyed // never held: a null key, no usable ce_type, deliveries
	}
	if row.State == once.Dead && s.g.Release {
		row.Holds = false // its successors go on; redriven, it comes after them
	}
	var successors []once.Row
	if t.mode == once.Live && row.Holds {
		successors = s.successors(l)
	}
	var copies []once.Outgoing
	if row.State == once.Dead {
		copies = append(copies, s.g.Gate.DeadCopy(row)) // promise: bad input; the copy leaves with this transaction
	}
	if err := s.owner.Spill(ctx, row, successors, copies); err != nil {
		return s.storeError(ctx, t, err)
	}
	s.moved(ctx, l, t, row, len(successors))
	if t.mode == once.Live {
		s.g.Room.Grow(l.size(1 + len(successors)))
		return outcome{done: 1 + len(successors)}
	}
	if row.State == once.Dead && !row.Holds {
		s.relieve(ctx, l, t)
	}
	return outcome{}
}

func (s *Session) successors(l *lane) []once.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := make([]once.Row, 0, len(l.queue)-1)
	for _, t := range l.queue[1:] {
		rows = append(rows, once.Row{State: once.Wait, Holds: true, EventID: t.id(), Record: leaving.Kept(t.rec)})
	}
	return rows
}

func (s *Session) moved(ctx context.Context, l *lane, t *task, row once.Row, successors int) {
	if row.Holds && l.keyed {
		s.mu.Lock()
		s.held[l.id] = struct{}{}
		s.mu.Unlock()
	}
	for range successors {
		s.g.Meters.Record(ctx, "", measure.Waiting)
	}
	if row.State == once.Dead {
		s.g.Meters.Record(ctx, t.event.Type, measure.Dead)
		s.g.Log.Error("dead letter", s.attrs(t, "class", row.Class, "reason", row.Reason, "attempts", row.Attempts, "key_held", row.Holds)...)
		s.g.Alarms.DeadLetter(s.g.Group.Name, s.g.Store, row)
		s.relay.Wake()
		return
	}
	s.g.Meters.Record(ctx, t.event.Type, measure.Waiting)
	s.g.Log.Info("the key waits", s.attrs(t, "until", row.NextAt, "reason", row.Reason, "waiting_behind", successors)...)
	s.lookAt(row.NextAt)
}

func (s *Session) attrs(t *task, more ...any) []any {
	return append([]any{
		"topic", t.rec.Topic, "partition", t.rec.Partition, "offset", t.rec.Offset, "event_id", t.event.ID, "event_type", t.event.Type,
		"correlation_id", t.event.CorrelationID, "request", wire.TraceOf(t.rec).Request,
	}, more...)
}
