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
	if a, b := q.number(), q.number(); a == 0 || b <= a {
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
