package fault

import (
	"context"
	"fmt"
	"runtime/debug"
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
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: it may take %s", context.DeadlineExceeded, limit))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Contained(func() error { return fn(ctx) }) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return &LeftError{Err: context.Cause(ctx)}
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
