// Package room watches the waiting room of a group: the records that wait or are dead
// in its store are limited in bytes. A full room pauses the partitions, so that
// nothing more comes in, and drops nothing; what waits goes on being tried.
package room

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/room"
)

// DefaultLimit is how many bytes may wait, where nothing else is said.
const DefaultLimit = 256 << 20

// Options describe a waiting room.
type Options struct {
	Store *once.Store
	Group string
	Limit int64         // bytes; 0 = DefaultLimit
	Every time.Duration // it is measured so often
	Meter metric.Meter  // nil = none
	// Overflow is called when the room becomes full; nil = nobody asks.
	Overflow func(bytes, limit int64)
}

// Room is the waiting room of a group as this process sees it: the sum in the store,
// which all processes of the group add to, and what this one has added since.
type Room struct {
	o Options

	mu        sync.Mutex
	size      room.Size // as measured
	grown     int64     // bytes that this process has added since
	measured  time.Time
	measuring bool
	full      atomic.Bool // asked for with each record
}

// New makes a room that is not measured yet.
func New(o Options) (*Room, error) {
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider().Meter("")
	}
	r := &Room{o: o}
	of := metric.WithAttributes(attribute.String("group", o.Group))
	for name, gauge := range map[string]struct {
		says  string
		value func() int64
	}{
		"spine_waiting_room_bytes":       {"Bytes of the records that wait or are dead.", func() int64 { return r.bytes() }},
		"spine_waiting_room_rows":        {"Records that wait or are dead.", func() int64 { return r.rows() }},
		"spine_waiting_room_limit_bytes": {"Bytes at which the partitions of the group are paused.", func() int64 { return o.Limit }},
	} {
		_, err := o.Meter.Int64ObservableGauge(name, metric.WithDescription(gauge.says),
			metric.WithInt64Callback(func(_ context.Context, observer metric.Int64Observer) error {
				observer.Observe(gauge.value(), of)
				return nil
			}))
		if err != nil {
			return nil, fmt.Errorf("instruments of the waiting room of %s: %w", o.Group, err)
		}
	}
	return r, nil
}

// Full says whether the partitions have to pause. A nil room is never full.
func (r *Room) Full() bool { return r != nil && r.full.Load() }

// Reason says that the room is full; "" = it is not.
func (r *Room) Reason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.full.Load() {
		return ""
	}
	return fmt.Sprintf("the waiting room is full: %d of %d bytes", r.size.Bytes+r.grown, r.o.Limit)
}

func (r *Room) bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size.Bytes + r.grown
}

func (r *Room) rows() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size.Rows
}

// Grow notes bytes that this process put into the room.
func (r *Room) Grow(bytes int) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.grown += int64(bytes)
	r.settle()
}

// Measure reads the sum from the store, unless that was done a short while ago or
// is being done. A failure leaves the room as it was.
func (r *Room) Measure(ctx context.Context) error {
	r.mu.Lock()
	if r.measuring || time.Since(r.measured) < r.o.Every {
		r.mu.Unlock()
		return nil
	}
	r.measuring = true
	before := r.grown // is in the sum; what comes meanwhile may be counted twice, until the next look
	r.mu.Unlock()
	size, err := r.o.Store.Room(ctx)
	r.mu.Lock()
	r.measuring = false
	if err != nil {
		r.mu.Unlock()
		return err
	}
	r.size, r.measured = size, time.Now()
	r.grown -= before
	r.settle()
	return nil
}

// settle decides whether the room is full. It stays so until a tenth is free, so that
// the partitions don't stutter. r.mu is held, and is not any more afterwards.
func (r *Room) settle() {
	bytes, was := r.size.Bytes+r.grown, r.full.Load()
	switch {
	case bytes >= r.o.Limit:
		r.full.Store(true)
	case bytes <= r.o.Limit/10*9:
		r.full.Store(false)
	}
	overflow := r.full.Load() && !was && r.o.Overflow != nil
	r.mu.Unlock()
	if overflow {
		r.o.Overflow(bytes, r.o.Limit)
	}
}
