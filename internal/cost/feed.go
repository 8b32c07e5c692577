package main

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/internal/cost/orders"
)

// feed is a topic full of orders.
type feed struct {
	topic      string
	partitions int32
	n          int // orders, numbered from 0
}

// load says what the orders of a feed are like.
type load struct {
	n          int
	partitions int32
	keys       int
	types      int
	even       bool // each partition has as many keys as the others
}

func (p *parts) feed(ctx context.Context, l load) (*feed, error) {
	topic, err := p.topic(ctx, l.partitions)
	if err != nil {
		return nil, err
	}
	kinds := orders.Kinds(max(l.types, 1))
	if err := orders.Register(ctx, p.registry, kinds); err != nil {
		return nil, err
	}
	f := &feed{topic: topic, partitions: l.partitions, n: l.n}
	codec, key := p.codec, l.key()
	var batch []*kgo.Record
	for i := range l.n {
		rec, err := kinds[i%len(kinds)].Record(ctx, codec, topic, i, key(i))
		if err != nil {
			return nil, err
		}
		if batch = append(batch, rec); len(batch) == 5000 || i == l.n-1 {
			if err := p.producer.Publish(ctx, batch...); err != nil {
				return nil, err
			}
			batch = batch[:0]
		}
	}
	return f, nil
}

// key says which key an order has.
func (l load) key() func(i int) int {
	if !l.even {
		return func(i int) int { return i % l.keys }
	}
	partition := kgo.StickyKeyPartitioner(nil).ForTopic("")
	var keys []int
	taken := make([]int, l.partitions)
	for key := 0; len(keys) < l.keys; key++ {
		at := partition.Partition(&kgo.Record{Key: []byte(orders.KeyOf(strconv.Itoa(key)))}, int(l.partitions))
		if taken[at]*int(l.partitions) < l.keys {
			taken[at]++
			keys = append(keys, key)
		}
	}
	return func(i int) int { return keys[i%l.keys] }
}
