package room_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/dispatch/room"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
	"github.com/eventspine/spine/pkg/once/request"
)

// parked is a store with rows of 100 bytes.
type parked struct {
	*testing.T
	db    *once.DB
	store *once.Store
	owner *once.Owner
	next  int64
}

func newParked(t *testing.T) *parked {
	t.Helper()
	db := oncetest.Open(t, databasetest.URL(t))
	p := &parked{T: t, db: db, store: db.Store("g")}
	var err error
	if p.owner, err = p.store.Own(t.Context(), "in", 0, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *parked) add(n int) {
	p.Helper()
	for range n {
		key := fmt.Appendf(nil, "%010d", p.next)
		row := once.Row{State: once.Dead, Holds: true, EventID: string(key), Record: once.Record{Topic: "in", Offset: p.next, Key: key, Value: make([]byte, 90)}}
		if err := p.owner.Spill(p.Context(), row, nil, nil); err != nil {
			p.Fatal(err)
		}
		p.next++
	}
}

// drop gives up the oldest rows.
func (p *parked) drop(n int) {
	p.Helper()
	rows, err := p.store.Rows(p.Context(), once.RowFilter{Limit: n})
	if err != nil {
		p.Fatal(err)
	}
	for _, row := range rows {
		if _, err := request.Ask(p.Context(), p.db.DB, "g", request.Drop, row.ID); err != nil {
			p.Fatal(err)
		}
	}
	if served, err := p.owner.Serve(p.Context(), func(int64) bool { return false }); err != nil || len(served) != n {
		p.Fatalf("%d served, %v", len(served), err)
	}
}

func (p *parked) room(overflows *int) *room.Room {
	p.Helper()
	r, err := room.New(room.Options{Store: p.store, Group: "g", Limit: 1000, Every: time.Nanosecond, Overflow: func(int64, int64) { *overflows++ }})
	if err != nil {
		p.Fatal(err)
	}
	return r
}

func (p *parked) full(r *room.Room, want bool, when string) {
	p.Helper()
	if err := r.Measure(p.Context()); err != nil {
		p.Fatal(err)
	}
	if r.Full() != want || (r.Reason() != "") != want {
		p.Errorf("%s: full is %t, %q; want %t", when, r.Full(), r.Reason(), want)
	}
}

// A room is full at its limit and until a tenth is free, for each of the processes
// that share it; nothing of another group counts.
func TestRoom(t *testing.T) {
	t.Parallel()
	p := newParked(t)
	var overflows, others int
	here, there := p.room(&overflows), p.room(&others)
	if other, err := p.db.Store("other").Own(t.Context(), "in", 0, 0); err != nil {
		t.Fatal(err)
	} else if err := other.Spill(t.Context(), once.Row{State: once.Wait, EventID: "x", Record: once.Record{Value: make([]byte, 5000)}}, nil, nil); err != nil {
		t.Fatal(err)
	}
	p.add(9)
	p.full(here, false, "below the limit")
	p.add(1)
	p.full(here, true, "at the limit")
	p.full(there, true, "at the limit, in another process")
	p.add(1)
	p.full(here, true, "above it")
	p.drop(1)
	p.full(here, true, "just at it")
	p.drop(1)
	p.full(here, false, "a tenth is free")
	p.full(there, false, "a tenth is free, in another process")
	p.add(1)
	p.full(here, true, "again")
	if overflows != 2 || others != 1 {
		t.Errorf("%d and %d overflows, want 2 and 1", overflows, others)
	}
}

// What this process adds counts at once, and once.
func TestRoom_grows(t *testing.T) {
	t.Parallel()
	p := newParked(t)
	var overflows int
	r := p.room(&overflows)
	p.full(r, false, "empty")
	p.add(10)
	r.Grow(600)
	if r.Full() {
		t.Error("full before its limit")
	}
	r.Grow(400)
	if !r.Full() || overflows != 1 {
		t.Errorf("full: %t, after %d overflows", r.Full(), overflows)
	}
	p.drop(5)
	p.full(r, false, "measured after it grew")
}
