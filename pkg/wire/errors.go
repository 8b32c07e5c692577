package wire

import (
	"errors"
	"fmt"
)

// ErrRegistryUnavailable is the error of a schema registry that does not answer, or
// does not know a schema that it should know. It heals, so it is retried and never
// makes a dead letter.
var ErrRegistryUnavailable = errors.New("schema registry unavailable")

// ErrNotRegistered is the error of a schema that is not registered. It comes with
// ErrRegistryUnavailable: registering the schema heals what waits.
var ErrNotRegistered = errors.New("schema is not registered")

// ErrTooLarge is the error of a record that is larger than MaxRecord.
var ErrTooLarge = errors.New("record is too large")

// MaxRecord is the most bytes that the value of a record of facts may have.
const MaxRecord = 1 << 20

// The codes of BadRecordError.
const (
	BadHeaders  = "headers_invalid"   // no usable CloudEvents headers
	BadFrame    = "frame_invalid"     // no magic byte and schema id
	BadSchema   = "schema_unknown"    // the registry has no such id, or it is no Avro schema
	BadType     = "type_mismatch"     // the schema, or its revision, is not that of ce_type
	BadPayload  = "payload_invalid"   // the bytes are no valid encoding of their schema
	BadIdentity = "identity_mismatch" // headers and meta do not say the same
)

// BadRecordError is a record that nobody can read, now or later: poison.
type BadRecordError struct {
	Code string // one of the codes above
	Err  error  // which part, what it is and what is expected
}

// Error is the code and what is wrong.
func (e *BadRecordError) Error() string { return e.Code + ": " + e.Err.Error() }

// Unwrap is what is wrong.
func (e *BadRecordError) Unwrap() error { return e.Err }

func bad(code, form string, args ...any) error {
	return &BadRecordError{Code: code, Err: fmt.Errorf(form, args...)}
}
