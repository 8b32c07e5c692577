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
	_, err := tail(ctx, o, n, emit)
	return err
}

// Follow is Tail, and then what comes, until ctx ends.
func Follow(ctx context.Context, o Options, n int, emit func(*kgo.Record) error) error {
	ends, err := tail(ctx, o, n, emit)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to stop
	}
	if err != nil {
		return err
	}
	o.begin, o.Window, o.Follow = ends, New(), true
	return Read(ctx, o, emit)
}

// tail is Tail; it returns where the topics ended.
func tail(ctx context.Context, o Options, n int, emit func(*kgo.Record) error) (map[string]map[int32]int64, error) {
	for step := int64(max(n, 100)); ; step *= 8 {
		o.Window, o.Follow = Last(step), false
		var found []*kgo.Record
		read := map[string]int64{}
		match := o.Match
		counting, ends := o, map[string]map[int32]int64{}
		counting.Resolved = func(topic string, partition int32, _, to int64) {
			if ends[topic] == nil {
				ends[topic] = map[int32]int64{}
			}
			ends[topic][partition] = to
		}
		counting.Match = func(r *kgo.Record) bool {
			read[r.Topic+pad(r.Partition)]++
			return match == nil || match(r)
		}
		err := Read(ctx, counting, func(r *kgo.Record) error {
			found = append(found, r)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(found) < n && reached(read, step) {
			continue
		}
		slices.SortStableFunc(found, func(a, b *kgo.Record) int { return a.Timestamp.Compare(b.Timestamp) })
		for _, r := range found[max(0, len(found)-n):] {
			if err := emit(r); err != nil {
				return nil, err
			}
		}
		return ends, nil
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
