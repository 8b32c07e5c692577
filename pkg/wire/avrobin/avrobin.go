// Package avrobin reads and writes Avro's binary encoding strictly and within
// bounds. Generated code stands on it; it stands on the Reader and Writer of
// hamba/avro, whose struct codec is not used: that one takes a truncated record for
// a complete one, ignores what is left over, rounds decimals and may allocate without
// limit (GO-2026-5046, GO-2026-5047, GO-2026-5048).
//
// What a Reader accepts has exactly one meaning: lengths, counts, union and enum
// indexes are in range, numbers are in their shortest form and don't overflow, strings
// are UTF-8, nothing is missing and nothing is left over. All else is an error that
// names the field. A Writer refuses what a Reader would refuse, and writes one
// encoding for one value.
//
// The functions Get… and Put… have one shape, so that they serve as the element of
// arrays, maps and nullable fields too. After the first error they do nothing.
package avrobin

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The bounds of one record. They hold for reading and for writing, so that whatever
// can be written can be read.
const (
	MaxDepth    = 64     // nesting of records, arrays and maps
	MaxElements = 20_000 // elements of all arrays and maps together
	MaxMemory   = 5_632 << 10
	maxDecimal  = 16 // bytes of a decimal: 38 digits
)

// ErrMalformed is the class of what is no valid encoding of the schema.
var ErrMalformed = errors.New("malformed")

// ErrLimit is the class of what passes a bound.
var ErrLimit = errors.New("limit")

// ErrValue is the class of a Go value that the schema cannot hold.
var ErrValue = errors.New("value")

// Error is what is wrong, and where: "lines[3].unit_price: …".
type Error struct {
	Path  string // field names and indexes from the record down
	Class error  // ErrMalformed, ErrLimit or ErrValue
	Msg   string
}

// Error is "path: message".
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Msg
	}
	return e.Path + ": " + e.Msg
}

// Unwrap is the class.
func (e *Error) Unwrap() error { return e.Class }

// trail knows where in a record we are, and what the record has used up.
type trail struct {
	err      error
	elements int
	memory   int
	depth    int
	steps    [MaxDepth + 1]step
}

// step is a field of a record or an element of an array.
type step struct {
	field string
	index int
}

func (t *trail) reset() {
	t.err, t.elements, t.memory, t.depth = nil, 0, 0, 0
	t.steps[0] = step{}
}

// fail keeps the first error.
func (t *trail) fail(class error, form string, args ...any) {
	if t.err == nil {
		t.err = &Error{Path: t.path(), Class: class, Msg: fmt.Sprintf(form, args...)}
	}
}

func (t *trail) path() string {
	var b strings.Builder
	for _, s := range t.steps[:t.depth+1] {
		switch {
		case s.field == "" && s.index > 0:
			b.WriteString("[" + strconv.Itoa(s.index-1) + "]")
		case s.field != "":
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.field)
		}
	}
	return b.String()
}

// enter goes one level down. False means that it went no further.
func (t *trail) enter() bool {
	if t.err != nil {
		return false
	}
	if t.depth == MaxDepth {
		t.fail(ErrLimit, "nested deeper than %d", MaxDepth)
		return false
	}
	t.depth++
	t.steps[t.depth] = step{}
	return true
}

func (t *trail) leave() { t.depth-- }

// charge accounts for n more elements.
func (t *trail) charge(n int) bool {
	if t.elements += n; t.elements > MaxElements {
		t.fail(ErrLimit, "more than %d elements in one record", MaxElements)
		return false
	}
	return true
}

// reserve accounts for memory that a decoded record holds beside its text.
func (t *trail) reserve(bytes int) bool {
	if t.memory += bytes; t.memory > MaxMemory {
		t.fail(ErrLimit, "record takes more than %d bytes of memory", MaxMemory)
		return false
	}
	return true
}
