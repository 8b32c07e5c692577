// Package orders makes the events that the costs are measured with: orders of four
// lines, of one fact type or of up to a hundred.
package orders

import (
	"context"
	"strconv"
	"strings"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire/avrobin"
	"github.com/eventspine/spine/schemas/order"
)

// Handle is what a handler does with an order.
type Handle func(ctx context.Context, tx consumer.Tx, e event.Event, number int64) error

// Kind is a fact type: one of up to a hundred of the form of order.placed.v2 under
// other names, each a Go type and a schema of its own.
type Kind struct {
	Name    string
	Schema  string
	Decoded func() any      // pointer to a zero value
	Number  func(any) int64 // of what was decoded
	Handler func(Handle) consumer.Handler
	fact    func(order.PlacedV2) fact
}

type fact interface {
	event.Stamped
	AvroSchema() string
}

type digit interface{ letter() string }

type (
	d0 struct{}
	d1 struct{}
	d2 struct{}
	d3 struct{}
	d4 struct{}
	d5 struct{}
	d6 struct{}
	d7 struct{}
	d8 struct{}
	d9 struct{}
)

func (d0) letter() string { return "a" }
func (d1) letter() string { return "b" }
func (d2) letter() string { return "c" }
func (d3) letter() string { return "d" }
func (d4) letter() string { return "e" }
func (d5) letter() string { return "f" }
func (d6) letter() string { return "g" }
func (d7) letter() string { return "h" }
func (d8) letter() string { return "i" }
func (d9) letter() string { return "j" }

// like is order.placed.v2 under the name order.placed-<x><y>.v2.
type like[X, Y digit] struct{ order.PlacedV2 }

func letters[X, Y digit]() string {
	var x X
	var y Y
	return x.letter() + y.letter()
}

// EventType is the name.
func (like[X, Y]) EventType() string { return "order.placed-" + letters[X, Y]() + ".v2" }

// AvroSchema is that of order.placed.v2 under the name.
func (f like[X, Y]) AvroSchema() string {
	return strings.Replace(f.PlacedV2.AvroSchema(), "OrderPlacedV2", "OrderPlaced"+letters[X, Y]()+"V2", 1)
}

// WithMeta is a copy that carries m.
func (f like[X, Y]) WithMeta(m event.Meta) event.Fact { f.Meta = m; return f }

// DecodeAvro reads what EncodeAvro writes.
func (f *like[X, Y]) DecodeAvro(r *avrobin.Reader) { f.PlacedV2.DecodeAvro(r) }

func kindOf[X, Y digit]() Kind {
	return Kind{
		Name:    like[X, Y]{}.EventType(),
		Schema:  like[X, Y]{}.AvroSchema(),
		fact:    func(o order.PlacedV2) fact { return like[X, Y]{o} },
		Decoded: func() any { return new(like[X, Y]) },
		Number:  func(v any) int64 { return numberOf(v.(*like[X, Y]).OrderNumber) }, //nolint:forcetypeassert // what decoded makes
		Handler: func(h Handle) consumer.Handler {
			return consumer.On(func(ctx context.Context, tx consumer.Tx, e event.Of[like[X, Y]]) error {
				return h(ctx, tx, e.Event, numberOf(e.Data.OrderNumber))
			})
		},
	}
}

func ten[X digit]() []Kind {
	return []Kind{
		kindOf[X, d0](), kindOf[X, d1](), kindOf[X, d2](), kindOf[X, d3](), kindOf[X, d4](),
		kindOf[X, d5](), kindOf[X, d6](), kindOf[X, d7](), kindOf[X, d8](), kindOf[X, d9](),
	}
}

// Kinds are the first n kinds.
func Kinds(n int) []Kind {
	var all []Kind
	for _, ten := range []func() []Kind{ten[d0], ten[d1], ten[d2], ten[d3], ten[d4], ten[d5], ten[d6], ten[d7], ten[d8], ten[d9]} {
		all = append(all, ten()...)
	}
	return all[:min(n, len(all))]
}

func numberOf(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1 // shows in the checksum
	}
	return n
}
