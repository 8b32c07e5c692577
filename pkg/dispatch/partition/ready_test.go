package partition

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Lanes come out by the turn of their next record, in whatever order they went in.
func TestReady_firstCome(t *testing.T) {
	t.Parallel()
	q, s := NewReady(1, false), &Session{}
	for _, turn := range []uint64{5, 1, 4, 2} {
		q.push(&lane{s: s, turn: turn})
	}
	got := []uint64{q.pop(nil)[0].turn, q.pop(nil)[0].turn}
	q.push(&lane{s: s, turn: 3})
	for range 3 {
		got = append(got, q.pop(nil)[0].turn)
	}
	if d := cmp.Diff([]uint64{1, 2, 3, 4, 5}, got); d != "" {
		t.Error(d)
	}
	if a, b := q.Next(), q.Next(); a == 0 || b <= a {
		t.Errorf("numbers %d and %d", a, b)
	}
}

// Closing ends who waits, and what is still queued is left.
func TestReady_close(t *testing.T) {
	t.Parallel()
	q, s := NewReady(1, false), &Session{}
	done := make(chan struct{})
	go func() { defer close(done); q.Work(context.WithoutCancel(t.Context())) }()
	q.Close()
	<-done
	q.push(&lane{s: s, turn: 1})
	if l := q.pop(nil); len(l) > 0 {
		t.Error("a closed queue gives a lane out")
	}
}

// A waiting row that is due does not stand behind all that came meanwhile, and a flood
// of them leaves the live records two of three turns.
func TestReady_waitingRowsGoSoon(t *testing.T) {
	t.Parallel()
	s := &Session{}
	q := NewReady(1, false)
	live, waiting := map[*lane]bool{}, 0
	for range 1000 {
		l := &lane{s: s, turn: q.Next()}
		live[l] = true
		q.push(l)
	}
	for range 100 {
		q.push(&lane{s: s, turn: q.Soon()})
	}
	for range 201 {
		if !live[q.pop(nil)[0]] {
			waiting++
		}
	}
	if waiting < 60 || waiting > 70 {
		t.Errorf("of 201 turns, %d went to 100 waiting rows", waiting)
	}
	for range 1000 - (201 - waiting) { // the rest of the live ones
		q.pop(nil)
	}
	for range 100 - waiting {
		q.pop(nil)
	}
	head := q.Soon()
	if next := q.Next(); head >= next {
		t.Errorf("with nothing else to do, a waiting row has turn %d, after what comes next (%d)", head, next)
	}
}
