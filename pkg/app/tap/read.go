package tap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Options say what is read.
type Options struct {
	Client []kgo.Opt // brokers, TLS, SASL
	Topics []string
	Window Window
	Follow bool                   // go on when the window's end is reached, until ctx ends
	Match  func(*kgo.Record) bool // nil = all
	// Resolved is told once per partition which offsets the window means, to excluded;
	// nil = nobody asks. With Follow and no end, to is -1.
	Resolved func(topic string, partition int32, from, to int64)

	begin map[string]map[int32]int64 // where to begin, in place of the window; unset partitions at their start
}

// partition is what is to be read of one partition.
type partition struct {
	topic    string
	id       int32
	next, to int64 // to < 0: no end
}

func (p partition) done() bool { return p.to >= 0 && p.next >= p.to }

// Read hands the records of the window to emit, in order per partition. It returns
// when the window is read, when emit returns an error (ErrEnough is no error), or,
// with Follow, when ctx ends.
func Read(ctx context.Context, o Options, emit func(*kgo.Record) error) error {
	err := read(ctx, o, emit)
	if o.Follow && ctx.Err() != nil {
		return nil //nolint:nilerr // that is how following ends, at whatever moment
	}
	return err
}

func read(ctx context.Context, o Options, emit func(*kgo.Record) error) error {
	cl, err := kgo.NewClient(append(slices.Clone(o.Client),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(fetchWait), kgo.KeepControlRecords())...)
	if err != nil {
		return fmt.Errorf("connecting to Kafka: %w", err)
	}
	defer cl.Close()
	parts, err := resolve(ctx, kadm.NewClient(cl), o)
	if err != nil {
		return err
	}
	assign := map[string]map[int32]kgo.Offset{}
	open := map[string]map[int32]*partition{}
	for _, p := range parts {
		if o.Resolved != nil {
			o.Resolved(p.topic, p.id, p.next, p.to)
		}
		if p.done() {
			continue
		}
		if assign[p.topic] == nil {
			assign[p.topic], open[p.topic] = map[int32]kgo.Offset{}, map[int32]*partition{}
		}
		assign[p.topic][p.id] = kgo.NewOffset().At(p.next)
		open[p.topic][p.id] = &p
	}
	cl.AddConsumePartitions(assign)
	return poll(ctx, cl, o, open, emit)
}

// ErrEnough ends Read without an error: emit has seen what it wanted.
var ErrEnough = errors.New("enough")

func poll(ctx context.Context, cl *kgo.Client, o Options, open map[string]map[int32]*partition, emit func(*kgo.Record) error) error {
	for left(open) > 0 || o.Follow {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading from Kafka: %w", err)
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			p := open[r.Topic][r.Partition]
			if p == nil || r.Attrs.IsControl() || p.to >= 0 && r.Offset >= p.to {
				continue
			}
			if o.Match != nil && !o.Match(r) {
				continue
			}
			if err := emit(r); errors.Is(err, ErrEnough) {
				return nil
			} else if err != nil {
				return err
			}
		}
		advance(fetches, open)
	}
	return nil
}

// advance moves on by what was fetched. A window may end in transaction markers:
// they are fetched, too, and count.
func advance(fetches kgo.Fetches, open map[string]map[int32]*partition) {
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := open[f.Topic][f.Partition]
		if p == nil {
			return
		}
		if n := len(f.Records); n > 0 {
			p.next = f.Records[n-1].Offset + 1
		}
		if p.done() {
			delete(open[f.Topic], p.id)
		}
	})
}

func left(open map[string]map[int32]*partition) (n int) {
	for _, parts := range open {
		n += len(parts)
	}
	return n
}

// resolve turns the window into offsets per partition.
func resolve(ctx context.Context, adm *kadm.Client, o Options) ([]partition, error) {
	starts, err := adm.ListStartOffsets(ctx, o.Topics...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("listing offsets: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, o.Topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("listing offsets: %w", err)
	}
	from := o.begin
	if from == nil {
		if from, err = o.Window.from.offsets(ctx, adm, o.Topics, starts, ends); err != nil {
			return nil, err
		}
	}
	to := map[string]map[int32]int64{}
	if o.Window.bounded {
		if to, err = o.Window.to.offsets(ctx, adm, o.Topics, starts, ends); err != nil {
			return nil, err
		}
	}
	var all []partition
	ends.Each(func(end kadm.ListedOffset) {
		p := partition{topic: end.Topic, id: end.Partition, next: from[end.Topic][end.Partition], to: -1}
		switch {
		case o.Window.bounded:
			p.to = min(to[end.Topic][end.Partition], end.Offset)
		case !o.Follow:
			p.to = end.Offset
		}
		all = append(all, p)
	})
	sort.Slice(all, func(i, j int) bool { return all[i].topic+"/"+pad(all[i].id) < all[j].topic+"/"+pad(all[j].id) })
	return all, nil
}

func pad(n int32) string { return fmt.Sprintf("%010d", n) }

func (p position) offsets(ctx context.Context, adm *kadm.Client, topics []string, starts, ends kadm.ListedOffsets) (map[string]map[int32]int64, error) {
	timed := kadm.ListedOffsets{}
	if p.kind == atTime {
		var err error
		if timed, err = adm.ListOffsetsAfterMilli(ctx, p.time.UnixMilli(), topics...); err == nil {
			err = timed.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("listing offsets by time: %w", err)
		}
	}
	all := map[string]map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		start := int64(0)
		if s, ok := starts.Lookup(end.Topic, end.Partition); ok {
			start = s.Offset
		}
		var at int64
		switch p.kind {
		case atStart:
			at = start
		case atEnd:
			at = end.Offset
		case exact:
			at = p.n
		case fromHead:
			at = start + p.n
		case fromTail:
			at = end.Offset - p.n
		case atTime:
			at = end.Offset // no record that late
			if t, ok := timed.Lookup(end.Topic, end.Partition); ok && t.Offset >= 0 {
				at = t.Offset
			}
		}
		if all[end.Topic] == nil {
			all[end.Topic] = map[int32]int64{}
		}
		all[end.Topic][end.Partition] = min(max(at, start), end.Offset)
	})
	return all, nil
}
