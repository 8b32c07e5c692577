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
			return nil, nil //nolint:nilnil,nilerr // out of range, or out of time
		}
	}
	return nil, nil //nolint:nilnil // no record
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
