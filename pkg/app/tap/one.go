package tap

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Place is an offset of a partition.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// First is the first record at or after a place, control records among them; nil = none
// came within the time that ctx allows, or the place is out of range.
func First(ctx context.Context, client []kgo.Opt, at Place) (*kgo.Record, error) {
	cl, err := kgo.NewClient(append(slices.Clone(client), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(fetchWait), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{at.Topic: {at.Partition: kgo.NewOffset().At(at.Offset)}}))...)
	if err != nil {
		return nil, fmt.Errorf("connecting to Kafka: %w", err)
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollRecords(ctx, 1)
		if records := fetches.Records(); len(records) > 0 {
			return records[0], nil
		}
		if len(fetches.Errors()) > 0 {
			return nil, nil //nolint:nilnil // out of range, or out of time
		}
	}
	return nil, nil //nolint:nilnil // no record
}

// Times are the times of the first records at or after the places: those that are known
// when ctx ends at the latest.
func Times(ctx context.Context, client []kgo.Opt, places []Place) (map[Place]time.Time, error) {
	open := map[string]map[int32]Place{}
	from := map[string]map[int32]kgo.Offset{}
	for _, at := range places {
		if open[at.Topic] == nil {
			open[at.Topic], from[at.Topic] = map[int32]Place{}, map[int32]kgo.Offset{}
		}
		open[at.Topic][at.Partition], from[at.Topic][at.Partition] = at, kgo.NewOffset().At(at.Offset)
	}
	cl, err := kgo.NewClient(append(slices.Clone(client), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(fetchWait), kgo.FetchMaxPartitionBytes(1), kgo.ConsumePartitions(from))...)
	if err != nil {
		return nil, fmt.Errorf("connecting to Kafka: %w", err)
	}
	defer cl.Close()
	times, left := map[Place]time.Time{}, len(places)
	for left > 0 && ctx.Err() == nil {
		cl.PollFetches(ctx).EachPartition(func(p kgo.FetchTopicPartition) {
			at, ok := open[p.Topic][p.Partition]
			if !ok || len(p.Records) == 0 && p.Err == nil {
				return
			}
			if len(p.Records) > 0 {
				times[at] = p.Records[0].Timestamp
			}
			delete(open[p.Topic], p.Partition)
			left--
			cl.PauseFetchPartitions(map[string][]int32{p.Topic: {p.Partition}})
		})
	}
	return times, nil
}

// TimeBefore is the time of the last record before a place; zero = not known.
func TimeBefore(ctx context.Context, client []kgo.Opt, at Place) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	before := at
	before.Offset--
	if before.Offset < 0 {
		return time.Time{}, nil
	}
	r, err := First(ctx, client, before)
	if err != nil || r == nil || r.Offset >= at.Offset {
		return time.Time{}, err
	}
	return r.Timestamp, nil
}
