package offsets

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// low is the lowest offset that was delivered and not acknowledged, whatever the
// gaps and the order of the acknowledgements.
func TestTracker(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var tr Tracker
		tr.Next = rapid.Int64Range(0, 1000).Draw(t, "start")
		begin, open, next, last := tr.Next, map[int64]bool{}, tr.Next, time.Time{}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if len(open) == 0 || rapid.Bool().Draw(t, "deliver") {
				next += rapid.Int64Range(0, 3).Draw(t, "gap")
				tr.Deliver(next, time.UnixMilli(next))
				open[next] = true
				next++
			} else {
				offsets := make([]int64, 0, len(open))
				for o := begin; o < next; o++ {
					if open[o] {
						offsets = append(offsets, o)
					}
				}
				o := rapid.SampledFrom(offsets).Draw(t, "ack")
				delete(open, o)
				tr.Ack(o)
				tr.Ack(o) // again: no effect
			}
			want := next
			for o := range open {
				want = min(want, o)
			}
			got, at := tr.Low()
			if got != want {
				t.Fatalf("low is %d, want %d", got, want)
			}
			if at.Before(last) || !at.IsZero() && at.UnixMilli() >= got {
				t.Fatalf("the time of the last record below %d is that of %d", got, at.UnixMilli())
			}
			last = at
		}
	})
}
