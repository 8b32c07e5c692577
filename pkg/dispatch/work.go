package dispatch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

// perform does a task and answers what became of it. What it answers as done is
// durable: committed, skipped as a duplicate, or standing in the store.
func (s *session) perform(ctx context.Context, l *lane, t *task) outcome {
	if t.decided {
		return s.move(ctx, l, t)
	}
	if t.mode == once.Live && s.holds(l) {
		held, err := s.owner.KeyHeld(ctx, t.rec.Key)
		if err != nil {
			return s.storeError(ctx, t, err)
		}
		if held { // promise: in order; later events of a failing key wait behind it
			if err := s.owner.Append(ctx, kept(t.rec), t.id()); err != nil {
				return s.storeError(ctx, t, err)
			}
			s.r.m.record(t.event.Type, waiting)
			return outcome{done: 1}
		}
		s.release(l)
	}
	if t.bad != nil {
		return s.judge(ctx, l, t, t.bad)
	}
	var fact any
	err := contained(func() (err error) {
		fact, t.event, err = s.r.decode(ctx, t.kind, t.rec, t.event)
		return err
	})
	if err != nil {
		return s.judge(ctx, l, t, err)
	}
	s.r.outages.over(registry)
	return s.handle(ctx, l, t, fact)
}

// handle runs the handler in the store's transaction.
func (s *session) handle(ctx context.Context, l *lane, t *task, fact any) outcome {
	var leaves left
	begun := time.Now()
	item := once.Item{Mode: t.mode, EventID: t.id(), Record: kept(t.rec)}
	result, err := s.owner.Do(ctx, item, func(ctx context.Context, tx once.Tx) error {
		leaves = left{} // the store may run it again
		out := s.r.out(ctx, tx, s.r.causeOf(t), &leaves)
		out.silent = t.event.Replay
		return contained(func() error {
			return t.kind.handler.Call(ctx, consumer.Tx{DB: tx, Out: out}, t.event, fact)
		})
	})
	if err != nil {
		return s.judge(ctx, l, t, err)
	}
	s.r.outages.over(database)
	switch result {
	case once.DuplicateDelivery:
		s.r.m.record(t.event.Type, duplicateDelivery)
	case once.DuplicateEvent:
		s.r.m.record(t.event.Type, duplicateEvent)
	default:
		s.r.m.handled(t.event, begun)
	}
	if leaves.facts > 0 {
		poke(s.wakeRelay)
	}
	if leaves.effects > 0 {
		poke(s.wakeEffects)
	}
	if t.mode == once.Waiting {
		s.relieve(ctx, l, t)
		return outcome{}
	}
	return outcome{done: 1}
}

// holds says whether the lane's key waits in the store.
func (s *session) holds(l *lane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, held := s.held[l.id]
	return held && l.keyed
}

func (s *session) release(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, l.id)
}

// relieve looks whether the key of a row that is done is free again. Where it
// can't know, the key stays held: the next live record looks again.
func (s *session) relieve(ctx context.Context, l *lane, t *task) {
	if !s.holds(l) {
		return
	}
	if held, err := s.owner.KeyHeld(ctx, t.rec.Key); err == nil && !held {
		s.release(l)
		return
	}
	s.lookAt(time.Now()) // the next row of the key
}

// storeError is a failure of the engine's own writing: never the record's fault.
func (s *session) storeError(ctx context.Context, t *task, err error) outcome {
	switch {
	case fenced(err):
		return outcome{lost: err}
	case ctx.Err() != nil:
		return outcome{idle: true}
	}
	t.tries++
	s.r.outages.begin(database, err)
	s.r.log.Warn("writing to the store", s.attrs(t, "error", err)...)
	return outcome{again: s.r.o.Retry.pause(t.tries)}
}

// judge decides what a failure means for the record.
func (s *session) judge(ctx context.Context, l *lane, t *task, err error) outcome {
	f := classify(err)
	switch {
	case f.class == classFenced:
		return outcome{lost: err}
	case ctx.Err() != nil: // cancelled with the session: nothing happened, nothing counts
		return outcome{idle: true}
	case f.away != "": // promise: a dependency that is away makes no dead letter
		t.tries++
		s.r.outages.begin(f.away, err)
		s.r.m.record(t.event.Type, retried)
		s.r.log.Warn("a dependency is away, trying again", s.attrs(t, "dependency", f.away, "error", err)...)
		return outcome{again: s.r.o.Retry.pause(t.tries)}
	}
	t.blame(f)
	var thrown *panicError
	if errors.As(err, &thrown) {
		s.r.log.Error("the handler panicked", s.attrs(t, "panic", thrown.what, "stack", string(thrown.stack))...)
	}
	switch {
	case f.class == classLater:
		t.row.State, t.row.NextAt = once.Wait, f.at
	case f.permanent || t.row.Attempts >= s.r.o.Retry.Attempts:
		t.row.State, t.row.NextAt = once.Dead, time.Time{}
	default:
		pause := s.r.o.Retry.pause(t.row.Attempts)
		s.r.m.record(t.event.Type, retried)
		s.r.log.Warn("handling failed, trying again", s.attrs(t, "attempt", t.row.Attempts, "class", f.class, "error", err)...)
		if t.mode == once.Live {
			return outcome{again: pause}
		}
		t.row.State, t.row.NextAt = once.Wait, time.Now().Add(pause)
	}
	t.decided = true
	return s.move(ctx, l, t)
}

// blame adds a failure to the account of the record.
func (t *task) blame(f failure) {
	now := time.Now()
	if t.row.FirstFailed.IsZero() {
		t.row.FirstFailed = now
	}
	t.row.LastFailed, t.row.Class, t.row.Reason = now, f.class, bounded(f.reason)
	if f.class != classLater {
		t.row.Attempts++
	}
}

// move writes what was decided: the failed head, and, where it holds its key, all
// queued successors behind it, in one transaction with the dead-letter copy.
func (s *session) move(ctx context.Context, l *lane, t *task) outcome {
	row := t.row
	if t.mode == once.Live {
		row.EventID, row.Record = t.id(), kept(t.rec)
		row.Holds = !s.r.o.Unheld && l.keyed // never held: a null key, no usable ce_type, deliveries
	}
	var successors []once.Row
	if t.mode == once.Live && row.Holds {
		successors = s.successors(l)
	}
	var copies []once.Outgoing
	if row.State == once.Dead {
		copies = append(copies, deadCopy(s.r.o.Group.Name, row)) // promise: bad input; the copy leaves with this transaction
	}
	if err := s.owner.Spill(ctx, row, successors, copies); err != nil {
		return s.storeError(ctx, t, err)
	}
	s.moved(l, t, row, len(successors))
	if t.mode == once.Live {
		return outcome{done: 1 + len(successors)}
	}
	return outcome{}
}

func (s *session) successors(l *lane) []once.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := make([]once.Row, 0, len(l.queue)-1)
	for _, t := range l.queue[1:] {
		rows = append(rows, once.Row{State: once.Wait, Holds: true, EventID: t.id(), Record: kept(t.rec)})
	}
	return rows
}

func (s *session) moved(l *lane, t *task, row once.Row, successors int) {
	if row.Holds && l.keyed {
		s.mu.Lock()
		s.held[l.id] = struct{}{}
		s.mu.Unlock()
	}
	for range successors {
		s.r.m.record("", waiting)
	}
	if row.State == once.Dead {
		s.r.m.record(t.event.Type, dead)
		s.r.log.Error("dead letter", s.attrs(t, "class", row.Class, "reason", row.Reason, "attempts", row.Attempts,
			"key_held", row.Holds, "waiting_behind", successors)...)
		poke(s.wakeRelay)
		return
	}
	s.r.m.record(t.event.Type, waiting)
	s.r.log.Info("the key waits", s.attrs(t, "until", row.NextAt, "reason", row.Reason, "waiting_behind", successors)...)
	s.lookAt(row.NextAt)
}

func (s *session) attrs(t *task, more ...any) []any {
	return append([]any{
		"topic", t.rec.Topic, "partition", t.rec.Partition, "offset", t.rec.Offset, "event_id", t.event.ID, "event_type", t.event.Type,
		"correlation_id", t.event.CorrelationID, "request", wire.TraceOf(t.rec).Request,
	}, more...)
}

// panicError is a handler that panicked or called runtime.Goexit.
type panicError struct {
	what  string
	stack []byte // for the log; a reason must stay short
}

// Error says what was thrown.
func (e *panicError) Error() string { return e.what }

// contained calls fn and turns a panic, and a Goexit, into an error. It costs a
// goroutine because nothing else survives a Goexit.
func contained(fn func() error) (err error) {
	done := make(chan struct{})
	go func() {
		returned := false
		defer close(done)
		defer func() {
			if returned {
				return
			}
			if p := recover(); p != nil {
				err = &panicError{fmt.Sprintf("panic: %v", p), debug.Stack()}
				return
			}
			err = &panicError{what: "the handler ended its goroutine (runtime.Goexit)"}
		}()
		err = fn()
		returned = true
	}()
	<-done
	return err
}

func fenced(err error) bool {
	return errors.Is(err, once.ErrFenced) || errors.Is(err, once.ErrOutcomeUnknown)
}
