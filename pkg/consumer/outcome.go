package consumer

import (
	"fmt"
	"time"
)

// RejectError sends the event to the dead letters at once: trying again cannot
// help. Reject makes it.
type RejectError struct{ Reason string }

// Error is the reason.
func (e *RejectError) Error() string { return "rejected: " + e.Reason }

// Reject is the outcome "never": the event becomes a dead letter now, with reason.
// The reason must not quote personal data.
func Reject(reason string) error { return &RejectError{Reason: reason} }

// LaterError makes the key wait until a time. Later makes it.
type LaterError struct {
	At     time.Time
	Reason string
}

// Error says until when and why.
func (e *LaterError) Error() string {
	return fmt.Sprintf("later, at %s: %s", e.At.UTC().Format(time.RFC3339), e.Reason)
}

// Later is the outcome "not yet": the key waits until at, its later events behind
// it. It does not count as an attempt. Never wait for another fact of the same
// key: it would queue behind the wait.
func Later(at time.Time, reason string) error { return &LaterError{At: at, Reason: reason} }

// UnavailableError says that a dependency is away. Unavailable makes it.
type UnavailableError struct {
	Dependency string
	Err        error
}

// Error names the dependency.
func (e *UnavailableError) Error() string { return e.Dependency + " is unavailable: " + e.Err.Error() }

// Unwrap is the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Unavailable is the outcome "not my fault": the event is tried again until the
// dependency is back, and never becomes a dead letter because of it.
func Unavailable(dependency string, err error) error {
	return &UnavailableError{Dependency: dependency, Err: err}
}
