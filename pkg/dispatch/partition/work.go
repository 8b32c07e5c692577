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

// prepare does what comes before the handler. It answers whether the handler is to be
// called, or what became of the task. What it answers as done is durable: it stands in
// the store.
func (s *Session) prepare(ctx context.Context, w *work) (o outcome, ready bool) {
	l, t := w.l, w.t
	if t.decided {
		return s.move(ctx, l, t), false
	}
	if t.mode == once.Live && w.held {
		held, err := s.owner.KeyHeld(ctx, t.rec.Key)
		if err != nil {
			return s.storeError(ctx, t, err), false
		}
		if held { // promise: in order; later events of a failing key wait behind it
			if err := s.owner.Append(ctx, leaving.Kept(t.rec), t.id()); err != nil {
				return s.storeError(ctx, t, err), false
			}
			s.g.Room.Grow(t.size)
			s.g.Meters.Record(ctx, t.event.Type, measure.Waiting)
			return outcome{done: 1}, false
		}
		s.release(l)
	}
	if t.bad != nil {
		return s.judge(ctx, l, t, t.bad), false
	}
	var wait time.Duration
	if t.pass, wait = s.g.Breakers.Enter(t.kind.Type); wait > 0 {
		return outcome{again: wait}, false // what it needs is away: nothing is asked, nothing counts
	}
	err := fault.Recovered(func() (err error) {
		w.fact, err = s.g.Plan.Decode(ctx, t.kind, t.rec, &t.event)
		return err
	})
	if err != nil {
		o = s.judge(ctx, l, t, err)
		t.pass.Drop()
		return o, false
	}
	s.g.Outages.Over(fault.Registry)
	return outcome{}, true
}

// handle runs the handlers of several lanes and settles their tasks: each in the
// store's transaction. It answers how long that took beside them, however many they are.
func (s *Session) handle(ctx context.Context, works []*work) (beside time.Duration) {
	if len(works) == 0 {
		return 0
	}
	if s.g.Bare && works[0].t.mode == once.Live {
		s.call(ctx, works)
		return 0
	}
	items := make([]once.Item, len(works))
	for i, w := range works {
		items[i] = once.Item{Mode: w.t.mode, EventID: w.t.id(), Record: leaving.Kept(w.t.rec), Silent: w.t.event.Replay, Unmarked: s.g.AtLeastOnce}
		if w.t.replay != nil {
			items[i].Replay, items[i].Reached = w.t.replay.Replay(), w.t.replay.Reached
		}
	}
	began := time.Now()
	done := s.owner.DoAll(ctx, items, func(ctx context.Context, i int, tx once.Tx) error {
		w := works[i]
		if err := w.t.pass.Held(); err != nil {
			return err
		}
		w.left, w.begun = leaving.Left{}, time.Now() // the store may run it again
		htx := s.g.Gate.Tx(ctx, tx, s.g.Gate.Cause(w.t.event, w.t.rec), &w.left, w.t.event.Replay)
		e, call, fact := w.t.event, w.t.kind.Call, w.fact // of its own: a handler that is left behind may read on
		err := fault.Timed(ctx, s.g.Deadline, func(ctx context.Context) error { return call(ctx, htx, e, fact) })
		beside -= time.Since(w.begun)
		w.t.tell(err)
		return err
	})
	beside += time.Since(began)
	for i, w := range works {
		w.o = s.handled(ctx, w, done[i])
		w.t.pass.Drop() // says nothing, where nobody has said more
	}
	s.settle(works...)
	return beside
}

// tell lets the others of a batch know at once that a dependency is away.
func (t *task) tell(err error) {
	if err == nil {
		return
	}
	if f := fault.Classify(err); f.Away != "" {
		t.pass.Leave(&f)
		t.pass = fault.Pass{} // it has said all
	}
}

// handled says what became of a task whose handler was to be called.
func (s *Session) handled(ctx context.Context, w *work, d once.Done) outcome {
	switch {
	case d.Err != nil:
		return s.judge(ctx, w.l, w.t, d.Err)
	case d.Result == 0: // not begun: the batch took its time
		return outcome{idle: true}
	}
	w.t.pass.Leave(nil)
	s.g.Outages.Over(fault.Database)
	switch {
	case d.Result == once.Handled && w.t.mode == once.Replay:
		s.g.Meters.Record(ctx, w.t.event.Type, measure.Replayed) // how long ago it happened says nothing
	case d.Result == once.DuplicateDelivery:
		s.g.Meters.Record(ctx, w.t.event.Type, measure.DuplicateDelivery)
	case d.Result == once.DuplicateEvent:
		s.g.Meters.Record(ctx, w.t.event.Type, measure.DuplicateEvent)
	default:
		s.g.Meters.Handled(ctx, &w.t.event, w.begun)
	}
	if w.left.Facts > 0 {
		s.relay.Wake()
	}
	if w.left.Effects > 0 {
		s.effects.Wake()
	}
	switch w.t.mode {
	case once.Waiting:
		s.relieve(ctx, w.l, w.t)
		return outcome{}
	case once.Replay:
		return outcome{what: again.Of(d.Result)}
	}
	return outcome{done: 1}
}

// call runs handlers that have nothing to commit, without a transaction: at least
// once. What they did is kept by next_offset alone.
func (s *Session) call(ctx context.Context, works []*work) {
	errs := fault.TimedEach(ctx, fault.Limits{Call: s.g.Deadline, All: bareTime}, len(works), func(ctx context.Context, i int) error {
		w := works[i]
		if err := w.t.pass.Held(); err != nil {
			return err
		}
		w.begun = time.Now()
		err := w.t.kind.Call(ctx, leaving.NoTx(), w.t.event, w.fact)
		if ctx.Err() == nil { // else it may have been left behind
			w.t.tell(err)
		}
		return err
	})
	for i, w := range works {
		switch {
		case i >= len(errs):
			w.o = outcome{idle: true}
		case errs[i] != nil:
			w.o = s.judge(ctx, w.l, w.t, errs[i])
		default:
			w.t.pass.Leave(nil)
			s.g.Meters.Handled(ctx, &w.t.event, w.begun)
			w.o = outcome{done: 1}
		}
		w.t.pass.Drop()
	}
	s.settle(works...)
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
	var held *fault.HeldError
	if errors.As(err, &held) {
		return outcome{again: held.Wait}
	}
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
	if t.row == nil {
		t.row = &once.Row{}
	}
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
	row := *t.row
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
