package bus

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const pollRecords = 2000

// Start fetches the partition of a lease from an offset. feed is called by the poll
// loop and returns at once; it is never called again after the Stop or Start that
// follows has been carried out.
func (g *Group) Start(l Lease, offset int64, feed func(context.Context, Batch)) {
	g.ask(change{lease: l, offset: offset, feed: feed})
}

// Stop ends the fetching for a lease; of a later lease of the same partition it
// knows nothing. Feed must refuse what still comes until the poll loop has carried
// it out.
func (g *Group) Stop(l Lease) { g.ask(change{lease: l}) }

// Pause keeps a partition from being fetched until Resume.
func (g *Group) Pause(p Partition) {
	g.fetch.PauseFetchPartitions(map[string][]int32{p.Topic: {p.ID}})
}

// Resume undoes Pause.
func (g *Group) Resume(p Partition) {
	g.fetch.ResumeFetchPartitions(map[string][]int32{p.Topic: {p.ID}})
}

func (g *Group) ask(c change) {
	g.changesMu.Lock()
	defer g.changesMu.Unlock()
	g.changes = append(g.changes, c)
	if g.wake != nil {
		g.wake()
	}
}

// Run polls until ctx ends. Fetching is started and stopped between two polls, by
// this one goroutine: a record that was polled for a former lease is handed over or
// dropped before a later lease begins, never after (promise: in order).
func (g *Group) Run(ctx context.Context) {
	feeds := map[Partition]change{}
	for ctx.Err() == nil {
		poll, cancel := context.WithCancel(ctx)
		g.apply(feeds, cancel)
		fetches := g.fetch.PollRecords(poll, pollRecords)
		cancel()
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			p := Partition{f.Topic, f.Partition}
			if feed := feeds[p].feed; feed != nil {
				feed(ctx, g.batch(ctx, p, f.FetchPartition))
			}
		})
	}
}

// apply carries out what was asked for, and lets what is asked from now on end the
// coming poll.
func (g *Group) apply(feeds map[Partition]change, wake context.CancelFunc) {
	g.changesMu.Lock()
	changes := g.changes
	g.changes, g.wake = nil, wake
	g.changesMu.Unlock()
	for _, c := range changes {
		p := c.lease.Partition
		now, fetching := feeds[p]
		if c.feed == nil && now.lease != c.lease {
			continue
		}
		if fetching {
			g.fetch.RemoveConsumePartitions(map[string][]int32{p.Topic: {p.ID}})
			delete(feeds, p)
		}
		if c.feed != nil {
			g.Resume(p) // a pause belongs to the session before
			g.fetch.AddConsumePartitions(map[string]map[int32]kgo.Offset{p.Topic: {p.ID: kgo.NewOffset().At(c.offset).WithEpoch(-1)}})
			feeds[p] = c
		}
	}
}

func (g *Group) batch(ctx context.Context, p Partition, f kgo.FetchPartition) Batch {
	b := Batch{Records: f.Records, End: f.HighWatermark, Err: f.Err}
	var loss *kgo.ErrDataLoss
	switch {
	case errors.Is(f.Err, kerr.OffsetOutOfRange):
		b.Err = g.outOfRange(ctx, p, -1)
	case errors.As(f.Err, &loss):
		b.Err = g.outOfRange(ctx, p, loss.ConsumedTo)
	}
	return b
}

func (g *Group) outOfRange(ctx context.Context, p Partition, want int64) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	start, end, err := g.Range(ctx, p)
	if err != nil {
		start, end = -1, -1 // the range is for people; the offset is out of it in any case
	}
	return &RangeError{Partition: p, Want: want, Start: start, End: end}
}
