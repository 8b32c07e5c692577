package fault

import (
	"fmt"
	"runtime/debug"
)

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
