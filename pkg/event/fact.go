// Package event holds what every part of Spine agrees on: the names of facts,
// the envelope of an event, keys and deterministic identity. It depends on the
// standard library alone, so that adapters and groups compile and test without
// Kafka, Avro or SQL.
package event

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Fact is a payload: one kind of thing that happened, in one version. The types
// are generated beside their schema (schemas/<noun>), and each names itself.
type Fact interface {
	// EventType is the full fact name, such as "order.placed.v2".
	EventType() string
}

// Stamped is what generated fact types add to Fact, so that the engine can set
// the identity inside the payload without reflection.
type Stamped interface {
	Fact
	// WithMeta returns a copy of the fact that carries m.
	WithMeta(m Meta) Fact
	// GetMeta returns the identity that the payload carries.
	GetMeta() Meta
}

// Type is a parsed fact name: noun.past-participle.vN.
type Type struct {
	Noun  string // "order"
	Verb  string // "placed"
	Major int    // 2
}

var typeLaw = regexp.MustCompile(`^([a-z][a-z0-9-]*)\.([a-z][a-z0-9-]*)\.v([1-9][0-9]{0,3})$`)

// ParseType parses a full fact name. The error says what the law of names is.
func ParseType(s string) (Type, error) {
	m := typeLaw.FindStringSubmatch(s)
	if m == nil {
		return Type{}, fmt.Errorf("fact name %q: want noun.past-participle.vN in lower case, such as order.placed.v2", s)
	}
	major, err := strconv.Atoi(m[3])
	if err != nil {
		return Type{}, fmt.Errorf("fact name %q: version: %w", s, err)
	}
	return Type{Noun: m[1], Verb: m[2], Major: major}, nil
}

// String is the full name, "order.placed.v2".
func (t Type) String() string { return t.Name() + ".v" + strconv.Itoa(t.Major) }

// Name is the name without its version, "order.placed": what identity is made
// of, so that an upcast event keeps its id.
func (t Type) Name() string { return t.Noun + "." + t.Verb }

// NameOf is Type.Name for a full fact name that is known to be well formed; an
// ill-formed name is returned as it stands.
func NameOf(factType string) string {
	if i := strings.LastIndex(factType, ".v"); i > 0 {
		return factType[:i]
	}
	return factType
}
