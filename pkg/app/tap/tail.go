package tap

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const fetchWait = 250 * time.Millisecond

// Tail hands the last n matching records of all partitions to emit, oldest first.
// It looks back in growing steps, so that a long topic is not read for a short tail.
func Tail(ctx context.Context, o Options, n int, emit func(*kgo.Record) error) error {
	for step := int64(max(n, 100)); ; step *= 8 {
		o.Window, o.Follow = Last(step), false
		var found []*kgo.Record
		read := map[string]int64{}
		match := o.Match
		counting := o
		counting.Match = func(r *kgo.Record) bool {
			read[r.Topic+pad(r.Partition)]++
			return match == nil || match(r)
		}
		err := Read(ctx, counting, func(r *kgo.Record) error {
			found = append(found, r)
			return nil
		})
		if err != nil {
			return err
		}
		if len(found) < n && reached(read, step) {
			continue
		}
		slices.SortStableFunc(found, func(a, b *kgo.Record) int { return a.Timestamp.Compare(b.Timestamp) })
		for _, r := range found[max(0, len(found)-n):] {
			if err := emit(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// reached says that a partition held at least a whole step: there may be more before.
func reached(read map[string]int64, step int64) bool {
	for _, n := range read {
		if n >= step {
			return true
		}
	}
	return false
}
