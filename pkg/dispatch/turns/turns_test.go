package turns_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/dispatch/turns"
)

// The queue does what a sorted list does.
func TestQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q turns.Queue[int]
		turn := map[int]uint64{} // of what stands in it
		lowest := func() uint64 {
			all := []uint64{}
			for _, n := range turn {
				all = append(all, n)
			}
			return slices.Min(all)
		}
		for i := range rapid.IntRange(0, 100).Draw(t, "steps") {
			n := rapid.Uint64Range(1, 50).Draw(t, "turn")
			switch {
			case len(turn) == 0 || rapid.Bool().Draw(t, "push"):
				q.Push(i, n)
				turn[i] = n
			case rapid.Bool().Draw(t, "hurry"):
				v := rapid.IntRange(0, i).Draw(t, "whom")
				q.Hurry(v, n)
				if was, in := turn[v]; in {
					turn[v] = min(was, n)
				}
			default:
				want := lowest()
				if got := q.First(); got != want {
					t.Fatalf("the lowest turn is %d, want %d", got, want)
				}
				v := q.Pop()
				if turn[v] != want {
					t.Fatalf("%d came out with turn %d, want turn %d", v, turn[v], want)
				}
				delete(turn, v)
			}
			if q.Len() != len(turn) {
				t.Fatalf("%d in the queue, want %d", q.Len(), len(turn))
			}
		}
	})
}
