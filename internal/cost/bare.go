package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/internal/cost/orders"
	"github.com/eventspine/spine/pkg/wire"
)

// bare is the reference: a group on the bare client that reads headers and payload
// of each record and commits after each poll. It has no lanes, no store, no retries.
func (p *parts) bare(ctx context.Context, f *feed, types int) (spent, error) {
	opts, err := p.kafka.Options()
	if err != nil {
		return spent{}, err
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.ConsumerGroup(unique("bare")), kgo.ConsumeTopics(f.topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(16<<20), kgo.FetchMaxWait(time.Second),
	)...)
	if err != nil {
		return spent{}, err
	}
	defer cl.Close()
	codec, kinds := p.codec, byName(types)
	sink := newSink(f.n)
	for sink.count.Load() < int64(f.n) {
		fetches := cl.PollRecords(ctx, 2000)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return spent{}, err
		}
		for _, rec := range fetches.Records() {
			sink.begin()
			number, err := read(ctx, codec, kinds, rec)
			if err != nil {
				return spent{}, err
			}
			sink.take(number)
		}
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			return spent{}, err
		}
	}
	return sink.end()
}

func byName(types int) map[string]orders.Kind {
	all := map[string]orders.Kind{}
	for _, k := range orders.Kinds(types) {
		all[k.Name] = k
	}
	return all
}

func read(ctx context.Context, codec *wire.Codec, kinds map[string]orders.Kind, rec *kgo.Record) (int64, error) {
	e, err := wire.Head(rec)
	if err != nil {
		return 0, err
	}
	k, ok := kinds[e.Type]
	if !ok {
		return 0, fmt.Errorf("nobody reads %s", e.Type)
	}
	into := k.Decoded()
	if err := codec.Decode(ctx, rec, into); err != nil {
		return 0, err
	}
	return k.Number(into), nil
}

// sequential is the reference for slow handlers: a goroutine per partition, one
// record after the other.
func (p *parts) sequential(ctx context.Context, f *feed, pause time.Duration) (spent, error) {
	opts, err := p.kafka.Options()
	if err != nil {
		return spent{}, err
	}
	cl, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(f.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return spent{}, err
	}
	defer cl.Close()
	codec, kinds := p.codec, byName(1)
	sink := newSink(f.n)
	work := map[int32]chan *kgo.Record{}
	var workers sync.WaitGroup
	for taken := 0; taken < f.n; {
		fetches := cl.PollRecords(ctx, 2000)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return spent{}, err
		}
		for _, rec := range fetches.Records() {
			if work[rec.Partition] == nil {
				records := make(chan *kgo.Record, f.n)
				work[rec.Partition] = records
				workers.Go(func() {
					for rec := range records {
						sink.begin()
						if number, err := read(ctx, codec, kinds, rec); err == nil {
							time.Sleep(pause)
							sink.take(number)
						}
					}
				})
			}
			work[rec.Partition] <- rec
			taken++
		}
	}
	for _, records := range work {
		close(records)
	}
	workers.Wait()
	return sink.end()
}
