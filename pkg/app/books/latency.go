package books

import (
	"slices"
	"time"
)

// Latencies are the times from a delivery's receipt to the handling of its facts by
// each group, in milliseconds, sorted.
func (s Stock) Latencies() []float64 {
	received := map[string]time.Time{}
	for _, d := range s.Deliveries {
		if d.Request != "" && !d.Received.IsZero() {
			received[d.Request] = d.Received
		}
	}
	var all []float64
	for _, g := range s.Groups {
		for id, h := range g.Handled {
			e := s.Events[id]
			if e == nil {
				continue
			}
			if at, ok := received[e.Request]; ok {
				all = append(all, float64(h.At.Sub(at))/float64(time.Millisecond))
			}
		}
	}
	slices.Sort(all)
	return all
}

// Quantile of sorted numbers; 0 of none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// Duplicates counts the records beyond the first of each id that a group reads.
func (s Stock) Duplicates(g Group) (n int) {
	for _, e := range s.Events {
		if g.Reads[e.Type] {
			n += e.Copies - 1
		}
	}
	return n
}
