package producer

import (
	"reflect"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/event"
)

// Version orders the snapshots of one object: first Source, then Terminal, then Clock,
// then the offset of the delivery in raw.<system>.
type Version struct {
	Source   time.Time // the vendor's updated_at
	Clock    time.Time // a finer clock of the vendor, if any; zero = none
	Terminal bool      // the object is in a state that is never left at an equal Source, whichever arrives first: cancelled
}

// Object is what deliveries of some kinds are about. Snapshot and Report make it.
type Object struct {
	Name     string // the state rows' object type; "" for reports
	Kinds    []string
	Emits    []string // fact types; one kind of delivery emits each fact
	Snapshot bool
	// Decode reads the body strictly; errors name the field and what was expected.
	Decode func(body []byte) (any, error)
	// DecodeStored reads a body that was accepted before, perhaps when the struct had
	// fewer fields: nothing is required of it.
	DecodeStored func(body []byte) (any, error)

	ID      func(native any) string
	Version func(d Delivery, native any) Version
	Facts   func(d Delivery, before, after any) ([]event.New, error) // before is nil for the first snapshot and for reports
}

// Snapshot declares deliveries that carry an object's whole state. kinds is a list
// separated by spaces. facts is pure: what changed from before (nil: never seen)
// to after. Facts that are named in emits come from nowhere else.
func Snapshot[N any](name, kinds string, id func(N) string, version func(Delivery, N) Version,
	facts func(d Delivery, before *N, after N) ([]event.New, error), emits ...event.Fact,
) Object {
	return Object{
		Name: name, Kinds: strings.Fields(kinds), Emits: types(emits), Snapshot: true,
		Decode: decode[N](true), DecodeStored: decode[N](false),
		ID:      func(native any) string { return id(*native.(*N)) },
		Version: func(d Delivery, native any) Version { return version(d, *native.(*N)) },
		Facts: func(d Delivery, before, after any) ([]event.New, error) {
			old, _ := before.(*N) // nil stays nil
			return facts(d, old, *after.(*N))
		},
	}
}

// Report declares deliveries that are one thing that happened: a refund, a
// transaction. They are stateless.
func Report[N any](kinds string, facts func(Delivery, N) ([]event.New, error), emits ...event.Fact) Object {
	return Object{
		Kinds: strings.Fields(kinds), Emits: types(emits),
		Decode: decode[N](true), DecodeStored: decode[N](false),
		Facts: func(d Delivery, _, native any) ([]event.New, error) {
			return facts(d, *native.(*N))
		},
	}
}

func types(facts []event.Fact) []string {
	names := make([]string, len(facts))
	for i, f := range facts {
		names[i] = f.EventType()
	}
	return names
}

// decode makes the reader of a native type once; its error, that of a type which
// cannot be decoded into, is found by Adapter.Check.
func decode[N any](strict bool) func(body []byte) (any, error) {
	read, err := reading{strict: strict}.of(reflect.TypeFor[N]())
	return func(body []byte) (any, error) {
		if err != nil {
			return nil, err
		}
		n := new(N)
		if err := document(body, reflect.ValueOf(n).Elem(), read); err != nil {
			return nil, err
		}
		return n, nil
	}
}
