package dispatch_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

// newFaultyWorld is newWorld on an embedded broker whose answers the test may change.
func newFaultyWorld(t *testing.T, partitions int32) (*world, *kfake.Cluster) {
	t.Helper()
	set := devtest.Parts(t)
	if set.Real {
		t.Skip("only the embedded broker gives false answers on demand")
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	set.Brokers = cluster.ListenAddrs()
	return newWorldOn(t, set, partitions), cluster
}

// Pitfall: what a member has in memory counts without bound, or a pause outlives the
// session that asked for it. The partition is stolen while it is full.
func TestBackpressure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	const entities, each = 500, 12 // more than a partition may have in memory
	begun, free := make(chan struct{}), make(chan struct{})
	release, first := sync.OnceFunc(func() { close(free) }), sync.OnceFunc(func() { close(begun) })
	t.Cleanup(release)
	w.script.set(func(context.Context, string, int) error {
		first()
		<-free
		return nil
	})
	sent := map[string][]string{}
	var records []*kgo.Record
	for i := range each {
		for e := range entities {
			entity, label := fmt.Sprint(e), fmt.Sprintf("a%d", i)
			sent[entity] = append(sent[entity], label)
			records = append(records, w.record(entity, label))
		}
	}
	w.publish(records...)
	w.run()
	<-begun
	thief := make(chan error, 1)
	go func() {
		_, err := w.db.Store(w.group).Own(context.WithoutCancel(t.Context()), w.in, 0, 0)
		thief <- err
	}()
	release()
	if err := <-thief; err != nil {
		t.Fatal(err)
	}
	w.until("all are handled", func() bool {
		var n int // what a fenced session cut off leaves broken connections in the pool: asked again
		err := w.db.SQL().QueryRowContext(t.Context(), `SELECT COUNT(*) FROM ledger`).Scan(&n)
		return err == nil && n >= entities*each
	})
	w.check(sent)
}

// Pitfall: a commit for every record.
func TestCommits_areFew(t *testing.T) {
	t.Parallel()
	w, cluster := newFaultyWorld(t, 3)
	var commits atomic.Int64
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		commits.Add(1)
		return nil, nil, false
	})
	const interval = 100 * time.Millisecond
	begun := time.Now()
	r := w.run(func(o *dispatch.Options) { o.CommitInterval = interval })
	for i := range 20 {
		w.send(words(fmt.Sprint(i), 0, 20, "a")...)
	}
	w.until("all are handled", func() bool { return len(w.ledger()) == 400 })
	r.stop()
	if n, most := commits.Load(), int64(time.Since(begun)/interval)+3; n == 0 || n > most {
		t.Errorf("%d commits of 400 records, at most %d expected", n, most)
	}
}

// Pitfall: the broker refuses one record of a batch, and those behind it overtake.
func TestRelay_refusedRecord(t *testing.T) {
	t.Parallel()
	w, cluster := newFaultyWorld(t, 1)
	var refuse atomic.Bool
	refused := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(raw kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !refuse.CompareAndSwap(true, false) {
			return nil, nil, false
		}
		defer close(refused)
		req, ok := raw.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		resp, ok := req.ResponseKind().(*kmsg.ProduceResponse)
		if !ok {
			return nil, nil, false
		}
		for _, rt := range req.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.InvalidRecord.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	const n = 400
	leaveFacts(t, w, n)
	refuse.Store(true)
	w.run()
	<-refused
	w.until("all are out", func() bool { return w.counts().Outgoing == 0 })
	next := 0
	for _, rec := range w.read(w.out) {
		if strings.TrimSpace(string(rec.Value)) == fmt.Sprint(next) { // what was published again is not a first occurrence
			next++
		}
	}
	if next != n {
		t.Errorf("%d of %d in order: fact %d came after one behind it", next, n, next)
	}
}

// leaveFacts is an owner that ended with facts of one key on their way out.
func leaveFacts(t *testing.T, w *world, n int) {
	t.Helper()
	owner, err := w.db.Store(w.group).Own(t.Context(), w.in, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.send("k:old")
	item := once.Item{Mode: once.Live, EventID: "left-over", Record: once.Record{Topic: w.in, Key: []byte("k")}}
	_, err = owner.Do(t.Context(), item, func(ctx context.Context, tx once.Tx) error {
		for i := range n {
			rec := once.Record{Topic: w.out, Partition: -1, Key: []byte("k"), Value: fmt.Appendf(nil, "%-10000d", i)} // several batches
			if err := tx.Send(ctx, once.Outgoing{Kind: once.OutFact, Record: rec}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Advance(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// Pitfall: a small batch that unpacks to a huge one exhausts memory, or the records
// behind it are skipped in silence.
func TestDecompressionBomb(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.send("k:a")
	bomb, err := kgo.NewClient(kgo.SeedBrokers(w.set.Brokers...), kgo.ProducerBatchCompression(kgo.GzipCompression()),
		kgo.ProducerBatchMaxBytes(90<<20), kgo.BrokerMaxWriteBytes(100<<20), kgo.MaxBufferedBytes(200<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bomb.Close)
	if err := bomb.ProduceSync(t.Context(), &kgo.Record{Topic: w.in, Key: []byte("shopify/uk:k"), Value: bytes.Repeat([]byte{0}, 70<<20)}).FirstErr(); err != nil {
		t.Skipf("the broker refuses it: %v", err)
	}
	w.send("k:b")
	r := w.run()
	w.until("what is before it is handled", func() bool { return len(w.ledger()) >= 1 })
	w.until("readiness names it", func() bool {
		ok, reason := r.Ready()
		return !ok && strings.Contains(reason, "the batch at offset 1 decompresses to more")
	})
	if got := w.labels("k"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("handled %v: a batch was skipped in silence", got)
	}
	w.reset(2) // a person passes over it
	w.until("what is behind it is handled", func() bool { return slices.Equal(w.labels("k"), []string{"a", "b"}) })
	w.until("it is ready again", func() bool { ok, _ := r.Ready(); return ok })
}

// Pitfall: a topic is deleted and made anew, and the offsets of the old one are
// applied to it.
func TestRecreatedTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.run()
	w.send(words("k", 0, 10, "a")...)
	w.until("all are handled and stored", func() bool { s, _ := w.next(0); return len(w.ledger()) == 10 && s == 10 })
	r.stop()
	admin, err := bus.NewAdmin(w.kafka())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if gone, err := admin.DeleteTopics(t.Context(), w.in); err != nil || gone.Error() != nil {
		t.Fatal(err, gone.Error())
	}
	w.until("it is gone", func() bool { found, err := admin.ListTopics(t.Context(), w.in); return err == nil && !found.Has(w.in) })
	w.set.CreateTopics(t, 1, w.in)
	r = w.start()
	w.until("readiness names the gap", func() bool {
		ok, reason := r.Ready()
		return !ok && strings.Contains(reason, "offset 10 is past its end")
	})
	if w.producer, err = bus.NewProducer(w.kafka()); err != nil { // the old one knows the old topic
		t.Fatal(err)
	}
	t.Cleanup(w.producer.Close)
	w.send("k:new")
	w.reset(0)
	w.until("what the new one holds is handled", func() bool { return slices.Contains(w.labels("k"), "new") })
}

// Pitfall: a partition goes away and comes back at once, and what the earlier session
// has in memory is taken for the later one's.
func TestBounce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.run()
	sent := map[string][]string{}
	for round := range 4 {
		b := w.start()
		for i := range 30 {
			entity, label := fmt.Sprint(i%6), fmt.Sprintf("p%d-%d", round, i)
			sent[entity] = append(sent[entity], label)
			w.send(entity + ":" + label)
		}
		b.stop()
	}
	w.until("all are handled", func() bool { return len(w.ledger()) >= 120 })
	w.check(sent)
	w.until("all is out", func() bool { return w.counts().Outgoing == 0 })
	checkFacts(w, sent)
}

// lags are the lags that a reader sees, by partition.
func lags(t *testing.T, reader *sdk.ManualReader) map[string]int64 {
	t.Helper()
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	all := map[string]int64{}
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			gauge, ok := m.Data.(metricdata.Gauge[int64])
			if !ok || m.Name != "spine_lag" {
				continue
			}
			for _, p := range gauge.DataPoints {
				partition, _ := p.Attributes.Value(attribute.Key("partition"))
				all[partition.String()] = p.Value
			}
		}
	}
	return all
}

// Pitfall: the lag of a partition that went away stands still for ever.
func TestLag_ofOwnedOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	reader := sdk.NewManualReader()
	w.run(func(o *dispatch.Options) { o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test") })
	if diff := cmp.Diff(map[string]int64{"0": 0, "1": 0}, lags(t, reader)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b := w.start()
	w.until("the series of the partition that went away is gone", func() bool { return len(lags(t, reader)) == 1 })
	b.stop()
	w.until("it is back", func() bool { return len(lags(t, reader)) == 2 })
}

// Pitfall: a source whose clock is ahead makes a latency below zero.
func TestLatency_clockSkew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	reader := sdk.NewManualReader()
	w.run(func(o *dispatch.Options) { o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test") })
	ahead := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	w.publish(w.record("k", "a", func(n *event.New, c *wire.Cause) { n.At, c.RecordedAt = ahead, ahead }))
	w.until("it is handled", func() bool { return len(w.ledger()) == 1 })
	seen := 0
	w.until("both latencies are measured", func() bool {
		var got metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &got); err != nil {
			t.Fatal(err)
		}
		seen = 0
		for _, scope := range got.ScopeMetrics {
			for _, m := range scope.Metrics {
				h, ok := m.Data.(metricdata.Histogram[float64])
				if !ok || !strings.HasSuffix(m.Name, "_to_handled") {
					continue
				}
				for _, p := range h.DataPoints {
					seen++
					if p.Sum != 0 || p.Bounds[0] >= .001 {
						t.Errorf("%s: %v seconds, first bound %v", m.Name, p.Sum, p.Bounds[0])
					}
				}
			}
		}
		return seen == 2
	})
}

// Pitfall: the last commit is lost at shutdown, or comes after the end.
func TestStop_storesWhereItStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.run(func(o *dispatch.Options) { o.CommitInterval = time.Hour })
	w.send(words("k", 0, 5, "a")...)
	w.until("all are handled", func() bool { return len(w.ledger()) == 5 })
	r.stop()
	if s, k := w.next(0); s != 5 || k != 5 {
		t.Errorf("next_offset is %d, Kafka was told %d; want 5: what is drained is stored", s, k)
	}
}

// Pitfall: what is queued when a partition is handed back counts as done.
func TestDrain_leavesWhatIsQueued(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{
		"behind the record at work": {"a:1", "a:2", "a:3"}, "in lanes that are ready": {"a:1", "b:2", "c:3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			begun, free := make(chan struct{}), make(chan struct{})
			w.script.set(func(_ context.Context, label string, attempt int) error {
				if label == "1" && attempt == 1 {
					close(begun)
					<-free
				}
				return nil
			})
			reader := sdk.NewManualReader()
			r := w.run(func(o *dispatch.Options) {
				o.Concurrency, o.Batch = 1, 1
				o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
			})
			w.send(words...)
			<-begun
			w.until("all are in memory", func() bool { return lags(t, reader)["0"] == 3 })
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				r.stop()
			}()
			w.until("it is being handed back", func() bool { return len(lags(t, reader)) == 0 })
			close(free)
			<-stopped
			done := int64(len(w.ledger()))
			if s, k := w.next(0); s > done || k > done {
				t.Fatalf("%d are handled, next_offset is %d, Kafka's %d", done, s, k)
			}
			w.run()
			w.until("the rest is handled", func() bool { return len(w.ledger()) == 3 })
		})
	}
}
