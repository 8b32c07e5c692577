package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire/avrobin"
	"github.com/eventspine/spine/schemas/order"
)

// handle is what a figure's handler does with an order.
type handle func(ctx context.Context, tx consumer.Tx, e event.Event, number int64) error

// kind is a fact type: order.placed.v2, or one of up to a hundred of the same form
// under other names, each a Go type and a schema of its own.
type kind struct {
	name    string
	fact    func(order.PlacedV2) fact
	decoded func() any // for the bare loop
	number  func(any) int64
	handler func(handle) consumer.Handler
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

func kindOf[X, Y digit]() kind {
	return kind{
		name:    like[X, Y]{}.EventType(),
		fact:    func(o order.PlacedV2) fact { return like[X, Y]{o} },
		decoded: func() any { return new(like[X, Y]) },
		number:  func(v any) int64 { return numberOf(v.(*like[X, Y]).OrderNumber) }, //nolint:forcetypeassert // what decoded makes
		handler: func(h handle) consumer.Handler {
			return consumer.On(func(ctx context.Context, tx consumer.Tx, e event.Of[like[X, Y]]) error {
				return h(ctx, tx, e.Event, numberOf(e.Data.OrderNumber))
			})
		},
	}
}

func ten[X digit]() []kind {
	return []kind{
		kindOf[X, d0](), kindOf[X, d1](), kindOf[X, d2](), kindOf[X, d3](), kindOf[X, d4](),
		kindOf[X, d5](), kindOf[X, d6](), kindOf[X, d7](), kindOf[X, d8](), kindOf[X, d9](),
	}
}

// orders are the first n kinds.
func orders(n int) []kind {
	var all []kind
	for _, ten := range []func() []kind{ten[d0], ten[d1], ten[d2], ten[d3], ten[d4], ten[d5], ten[d6], ten[d7], ten[d8], ten[d9]} {
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
