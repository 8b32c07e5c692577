package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Reader reads one partition from an offset on, beside the group's own fetching: what
// a replay feeds. It commits nothing.
type Reader struct {
	p      Partition
	next   int64
	client *kgo.Client
}

// NewReader reads from an offset. Close it after use.
func NewReader(c Config, p Partition, from int64) (*Reader, error) {
	opts, err := c.Options()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts, fetching()...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka reader of %s: %w", p, err)
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.Topic: {p.ID: kgo.NewOffset().At(from).WithEpoch(-1)}})
	return &Reader{p: p, next: from, client: client}, nil
}

// fetching are the options of clients that read: nothing is skipped silently.
func fetching() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // promise: not lost; out of range is never skipped silently
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // else the position never passes a trailing commit marker
		kgo.MaxDecompressBatchBytes(64 << 20),
		kgo.FetchMaxBytes(16 << 20),
		kgo.FetchMaxWait(time.Second),
	}
}

// Read answers the next records, at most most, control records among them. It waits
// until there are some.
func (r *Reader) Read(ctx context.Context, most int) ([]*kgo.Record, error) {
	fetches := r.client.PollRecords(ctx, most)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if failed := fetches.Errors(); len(failed) > 0 {
		e := failed[0]
		var loss *kgo.ErrDataLoss
		if errors.Is(e.Err, kerr.OffsetOutOfRange) || errors.As(e.Err, &loss) {
			return nil, fmt.Errorf("reading %s from offset %d: %w", r.p, r.next, kerr.OffsetOutOfRange)
		}
		return nil, fmt.Errorf("reading %s from offset %d: %w", r.p, r.next, e.Err)
	}
	records := fetches.Records()
	if n := len(records); n > 0 {
		r.next = records[n-1].Offset + 1
	}
	return records, nil
}

// Close ends the connections.
func (r *Reader) Close() { r.client.Close() }
