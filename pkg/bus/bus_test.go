package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/eventspine/spine/pkg/bus"
)

// brokers are the real ones where SPINE_TEST_BROKERS names them, else embedded.
func brokers(t *testing.T) bus.Config {
	t.Helper()
	if list := os.Getenv("SPINE_TEST_BROKERS"); list != "" {
		return bus.Config{Brokers: strings.Split(list, ",")}
	}
	return bus.Config{Brokers: embedded(t).ListenAddrs()}
}

func embedded(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func topic(t *testing.T, c bus.Config, partitions int32) string {
	t.Helper()
	name := fmt.Sprintf("bus.%s.%d", strings.ReplaceAll(strings.ToLower(t.Name()), "/", "."), time.Now().UnixNano())
	admin, err := bus.NewAdmin(c)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, nil, name); err != nil {
		t.Fatal(err)
	}
	return name
}

func producer(t *testing.T, c bus.Config) *bus.Producer {
	t.Helper()
	p, err := bus.NewProducer(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func patience(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// onBoth runs a test of membership under both protocols.
func onBoth(t *testing.T, test func(t *testing.T, protocol string)) {
	t.Helper()
	for _, protocol := range []string{bus.Classic, bus.Consumer} {
		t.Run(protocol, func(t *testing.T) { t.Parallel(); test(t, protocol) })
	}
}

// member joins a group and hands over what its callbacks say.
type member struct {
	*bus.Group
	assigned, revoked, lost chan []bus.Lease
}

func join(t *testing.T, c bus.Config, topic string, onRevoke func(*bus.Group, context.Context, []bus.Lease)) *member {
	t.Helper()
	return joinBy(t, c, bus.Classic, topic, onRevoke)
}

// joinBy joins a group that reads the topic of its name.
func joinBy(t *testing.T, c bus.Config, protocol, topic string, onRevoke func(*bus.Group, context.Context, []bus.Lease)) *member {
	t.Helper()
	m := &member{assigned: make(chan []bus.Lease, 100), revoked: make(chan []bus.Lease, 100), lost: make(chan []bus.Lease, 100)}
	g, err := bus.NewGroup(c, bus.GroupOptions{
		Name: topic, Topics: []string{topic}, Protocol: protocol,
		Assigned: func(l []bus.Lease) { m.assigned <- l },
		Revoked: func(ctx context.Context, l []bus.Lease) {
			if onRevoke != nil {
				onRevoke(m.Group, ctx, l)
			}
			m.revoked <- l
		},
		Lost: func(l []bus.Lease) { m.lost <- l },
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Group = g
	if err := g.Supported(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Join(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	t.Cleanup(func() {
		g.Close(context.WithoutCancel(ctx))
		cancel()
		<-done
	})
	return m
}

// leases waits until n partitions were assigned in all.
func leases(t *testing.T, from chan []bus.Lease, n int) []bus.Lease {
	t.Helper()
	ctx := patience(t)
	var all []bus.Lease
	for len(all) < n {
		select {
		case l := <-from:
			all = append(all, l...)
		case <-ctx.Done():
			t.Fatalf("got %d of %d partitions", len(all), n)
		}
	}
	return all
}

func committed(t *testing.T, c bus.Config, group string) kadm.OffsetResponses {
	t.Helper()
	admin, err := bus.NewAdmin(c)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	offsets, err := admin.FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	return offsets
}

func TestPublish_partitionsLikeJava(t *testing.T) {
	t.Parallel()
	c := brokers(t)
	name := topic(t, c, 12)
	records := []*kgo.Record{}
	for _, key := range []string{"shopify/uk:5001", "a", "order-17"} {
		records = append(records, &kgo.Record{Topic: name, Key: []byte(key), Value: []byte("x")})
	}
	if err := producer(t, c).Publish(patience(t), records...); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if want := int32(murmur2(r.Key)&0x7fffffff) % 12; r.Partition != want {
			t.Errorf("key %s is in partition %d, Java would choose %d", r.Key, r.Partition, want)
		}
	}
}

// murmur2 is the Java client's hash, from org.apache.kafka.common.utils.Utils.
func murmur2(data []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// The client waits for a batch that is on the wire whatever its context says:
// Publish must not.
func TestPublish_obeysItsContext(t *testing.T) {
	t.Parallel()
	cluster := embedded(t, kfake.SeedTopics(1, "t"))
	gate := make(chan struct{})
	t.Cleanup(func() { close(gate) })
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-gate })
		return nil, nil, false
	})
	p := producer(t, bus.Config{Brokers: cluster.ListenAddrs()})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	err := p.Publish(ctx, &kgo.Record{Topic: "t", Value: []byte("x")})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("took %v though its context had 300 ms", took)
	}
}

func TestSend_answersForEachRecord(t *testing.T) {
	t.Parallel()
	cluster := embedded(t, kfake.SeedTopics(1, "good"))
	p := producer(t, bus.Config{Brokers: cluster.ListenAddrs()})
	big := make([]byte, bus.MaxBatchBytes+1)
	errs := p.Send(patience(t), []*kgo.Record{{Topic: "good", Value: []byte("1")}, {Topic: "good", Value: big}, {Topic: "good", Value: []byte("2")}})
	if errs[0] != nil || errs[2] != nil || !errors.Is(errs[1], kerr.MessageTooLarge) {
		t.Errorf("got %v", errs)
	}
}

func TestGroup_readsFromWhereItIsTold(t *testing.T) {
	t.Parallel()
	c := brokers(t)
	name := topic(t, c, 1)
	p := producer(t, c)
	for i := range 10 {
		if err := p.Publish(patience(t), &kgo.Record{Topic: name, Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	m := join(t, c, name, nil)
	lease := leases(t, m.assigned, 1)[0]
	for _, from := range []int64{7, 2, 9} { // backwards, too: a session that starts over
		got := make(chan int64, 100)
		m.Start(lease, from, func(_ context.Context, b bus.Batch) {
			for _, r := range b.Records {
				got <- r.Offset
			}
		})
		ctx := patience(t)
		for want := from; want < 10; want++ {
			select {
			case offset := <-got:
				if offset != want {
					t.Fatalf("started at %d: got offset %d, want %d", from, offset, want)
				}
			case <-ctx.Done():
				t.Fatalf("started at %d: offset %d doesn't come", from, want)
			}
		}
	}
}

// An offset that is gone is said, never skipped.
func TestGroup_outOfRange(t *testing.T) {
	t.Parallel()
	c := brokers(t)
	name := topic(t, c, 1)
	m := join(t, c, name, nil)
	lease := leases(t, m.assigned, 1)[0]
	failed := make(chan error, 10)
	m.Start(lease, 5, func(_ context.Context, b bus.Batch) {
		if b.Err != nil {
			failed <- b.Err
		}
	})
	select {
	case err := <-failed:
		var gone *bus.RangeError
		if !errors.As(err, &gone) || gone.End != 0 {
			t.Errorf("got %v", err)
		}
	case <-patience(t).Done():
		t.Error("an offset past the end is not reported")
	}
}

// Pitfall 1: what is acknowledged after a revoke is not committed, neither forwards
// nor back.
func TestCommit_afterRevoke(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, protocol string) {
		t.Helper()
		c := brokers(t)
		name := topic(t, c, 2)
		a := joinBy(t, c, protocol, name, func(g *bus.Group, ctx context.Context, l []bus.Lease) {
			for _, lease := range l { // in the callback the lease still stands
				if err := g.Commit(ctx, []bus.Commit{{Lease: lease, Offset: 3, Time: time.UnixMilli(1700000000123)}}); err != nil {
					t.Error(err)
				}
			}
		})
		leases(t, a.assigned, 2)
		b := joinBy(t, c, protocol, name, nil)
		gone := leases(t, a.revoked, 1)
		now := leases(t, b.assigned, 1)
		if gone[0].Partition != now[0].Partition {
			t.Fatalf("a gave %s, b got %s", gone[0], now[0])
		}
		if a.Holds(gone[0]) || !b.Holds(now[0]) {
			t.Error("the lease stands where it has ended, or has ended where it stands")
		}
		for _, late := range []int64{10, 1} {
			if err := a.Commit(patience(t), []bus.Commit{{Lease: gone[0], Offset: late}}); err != nil {
				t.Error(err)
			}
		}
		at, ok := committed(t, c, name).Lookup(name, gone[0].ID)
		if !ok || at.At != 3 {
			t.Errorf("committed is %d, want 3", at.At)
		}
		if when, ok := bus.CommittedTime(at.Metadata); !ok || when.UnixMilli() != 1700000000123 {
			t.Errorf("metadata %q: got %v", at.Metadata, when)
		}
	})
}

// A partition that goes away and comes back is another lease.
func TestLease_isOneAssignment(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, protocol string) {
		t.Helper()
		c := brokers(t)
		name := topic(t, c, 2)
		a := joinBy(t, c, protocol, name, nil)
		first := leases(t, a.assigned, 2)
		b, err := bus.NewGroup(c, bus.GroupOptions{
			Name: name, Topics: []string{name}, Protocol: protocol, Assigned: func([]bus.Lease) {},
			Revoked: func(context.Context, []bus.Lease) {}, Lost: func([]bus.Lease) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Join(); err != nil {
			t.Fatal(err)
		}
		gone := leases(t, a.revoked, 1)
		b.Close(patience(t))
		back := leases(t, a.assigned, 1)
		if back[0].Partition != gone[0].Partition {
			t.Fatalf("%s came back for %s", back[0], gone[0])
		}
		if a.Holds(gone[0]) || !a.Holds(back[0]) {
			t.Error("the old lease stands again")
		}
		for _, l := range first {
			if l != gone[0] && !a.Holds(l) {
				t.Errorf("%s was never given away", l)
			}
		}
	})
}

func TestConfig_refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]bus.Config{
		"no brokers":        {},
		"unknown mechanism": {Brokers: []string{"b:1"}, SASL: bus.SASL{Mechanism: "GSSAPI"}},
		"missing CA":        {Brokers: []string{"b:1"}, TLS: bus.TLS{CA: "/does/not/exist"}},
	} {
		if _, err := bus.NewProducer(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSASL(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			cluster := embedded(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "spine", "secret"), kfake.SeedTopics(1, "t"))
			c := bus.Config{Brokers: cluster.ListenAddrs(), SASL: bus.SASL{Mechanism: mechanism, User: "spine", Password: "secret"}}
			if err := producer(t, c).Publish(patience(t), &kgo.Record{Topic: "t", Value: []byte("x")}); err != nil {
				t.Error(err)
			}
			c.SASL.Password = "wrong"
			if err := producer(t, c).Ping(patience(t)); err == nil {
				t.Error("a wrong password is accepted")
			}
		})
	}
}

// The real brokers' TLS and SASL listener.
func TestTLS(t *testing.T) {
	t.Parallel()
	list, ca := os.Getenv("SPINE_TEST_SASL_BROKERS"), os.Getenv("SPINE_TEST_CA")
	if list == "" || ca == "" {
		t.Skip("SPINE_TEST_SASL_BROKERS and SPINE_TEST_CA are not set")
	}
	c := bus.Config{Brokers: strings.Split(list, ","), TLS: bus.TLS{On: true}}
	if err := producer(t, c).Ping(patience(t)); err == nil {
		t.Error("a broker of an unknown authority is trusted")
	}
	c.TLS.CA = ca
	c.SASL = bus.SASL{Mechanism: "SCRAM-SHA-512", User: "nobody", Password: "wrong"}
	err := producer(t, c).Ping(patience(t))
	if !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Errorf("got %v, want a refusal behind a good handshake", err)
	}
	c.SASL = bus.SASL{Mechanism: "SCRAM-SHA-512", User: "admin", Password: "admin-secret"}
	name := topic(t, c, 1)
	if err := producer(t, c).Publish(patience(t), &kgo.Record{Topic: name, Value: []byte("x")}); err != nil {
		t.Error(err)
	}
}
