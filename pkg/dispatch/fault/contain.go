package fault

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
)

// grace is how long a handler has to notice that its context has ended.
const grace = time.Second

// UndecodableError is a record that no retry makes readable.
type UndecodableError struct{ Err error }

// Error says what couldn't be read.
func (e *UndecodableError) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *UndecodableError) Unwrap() error { return e.Err }

// PanicError is a handler that panicked or called runtime.Goexit.
type PanicError struct {
	What  string
	Stack []byte // for the log; a reason must stay short
}

// Error says what was thrown.
func (e *PanicError) Error() string { return e.What }

// Recovered calls fn and turns a panic into an error.
func Recovered(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{fmt.Sprintf("panic: %v", p), debug.Stack()}
		}
	}()
	return fn()
}

// LeftError is a handler that went on after its context had ended, and was left to
// itself: what it still does has no effect.
type LeftError struct{ Err error }

// Error says what it ignored.
func (e *LeftError) Error() string {
	return "the handler ignores that its context has ended: " + e.Err.Error()
}

// Unwrap is why the context ended.
func (e *LeftError) Unwrap() error { return e.Err }

// Timed is Contained with a deadline. fn that doesn't return when its context has
// ended, by the deadline or with ctx, is left behind: the worker is free, and the
// error a *LeftError.
func Timed(ctx context.Context, limit time.Duration, fn func(context.Context) error) error {
	return TimedEach(ctx, Limits{Call: limit}, 1, func(ctx context.Context, _ int) error { return fn(ctx) })[0]
}

// Limits bound calls.
type Limits struct {
	Call time.Duration // one call's deadline
	All  time.Duration // the next one is begun only within it; 0 = all are
}

// TimedEach is Timed for n calls one after the other, in one goroutine, which is what
// a call costs otherwise. It answers the errors of those that were called: after one
// that ran into its deadline, or ended its goroutine, none is.
func TimedEach(ctx context.Context, l Limits, n int, fn func(context.Context, int) error) []error {
	// The last one that is begun begins within l.All.
	ctx, cancel := context.WithTimeoutCause(ctx, l.Call+l.All, fmt.Errorf("%w: it may take %s", context.DeadlineExceeded, l.Call))
	defer cancel()
	r := &row{done: make(chan struct{}), errs: make([]error, n)}
	go r.run(ctx, l, fn)
	select {
	case <-r.done:
		return r.errs[:r.called.Load()]
	case <-ctx.Done():
		return r.leave(ctx)
	}
}

// row is a row of calls.
type row struct {
	called atomic.Int64 // calls that are over
	errs   []error      // of them
	done   chan struct{}
}

func (r *row) run(ctx context.Context, l Limits, fn func(context.Context, int) error) {
	defer close(r.done)
	over := false
	defer func() {
		if !over { // nothing else survives a Goexit
			r.errs[r.called.Load()] = &PanicError{What: "the handler ended its goroutine (runtime.Goexit)"}
			r.called.Add(1)
		}
	}()
	began := time.Now()
	for i := range r.errs {
		r.errs[i] = Recovered(func() error { return fn(ctx, i) })
		r.called.Add(1)
		if ctx.Err() != nil || l.All > 0 && time.Since(began) > l.All {
			break
		}
	}
	over = true
}

// leave waits until the present call has noticed that its context has ended, or
// leaves it behind.
func (r *row) leave(ctx context.Context) []error {
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-r.done:
		return r.errs[:r.called.Load()]
	case <-late.C:
		n := r.called.Load()
		return append(slices.Clone(r.errs[:n]), &LeftError{Err: context.Cause(ctx)})
	}
}

// Contained calls fn and turns a panic, and a Goexit, into an error. It costs a
// goroutine because nothing else survives a Goexit.
func Contained(fn func() error) (err error) {
	done := make(chan struct{})
	go func() {
		returned := false
		defer close(done)
		defer func() {
			if returned {
				return
			}
			if p := recover(); p != nil {
				err = &PanicError{fmt.Sprintf("panic: %v", p), debug.Stack()}
				return
			}
			err = &PanicError{What: "the handler ended its goroutine (runtime.Goexit)"}
		}()
		err = fn()
		returned = true
	}()
	<-done
	return err
}
