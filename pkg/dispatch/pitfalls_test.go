package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/dispatch"
)

// member is the id under which Kafka knows the only member of a group; it changes when
// the member was thrown out and came back. "" = there is none, or more than one.
func (w *world) member(group string) string {
	w.t.Helper()
	admin, err := bus.NewAdmin(w.kafka())
	if err != nil {
		w.t.Fatal(err)
	}
	defer admin.Close()
	groups, err := admin.DescribeGroups(w.t.Context(), group)
	if err != nil || len(groups[group].Members) != 1 {
		return ""
	}
	return groups[group].Members[0].MemberID
}

// stays says whether the only member of a group was a member for all of one and a half
// sessions, and whether the idle member of another group was: one that isn't has lost
// its place to the slowness of the machine.
func (w *world) stays(group, idle string) (stays, idleStays bool) {
	w.t.Helper()
	before, since := [2]string{w.member(group), w.member(idle)}, time.Now()
	w.until("it has taken longer than a session", func() bool { return time.Since(since) > 3*w.session()/2 })
	return before[0] != "" && w.member(group) == before[0], before[1] != "" && w.member(idle) == before[1]
}

// Pitfall: a handler that takes longer than the session stops the poll, and the broker
// throws the member out.
func TestSlowHandler_keepsMembership(t *testing.T) {
	t.Parallel()
	w := newLooseWorld(t, 2)
	free := make(chan struct{})
	release := sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	var begun atomic.Int32
	w.script.set(func(_ context.Context, _ string, _ int) error {
		begun.Add(1)
		<-free
		return nil
	})
	idle, reader := w.group+"-idle", sdk.NewManualReader()
	w.run(func(o *dispatch.Options) { o.Group.Name, o.Topics, o.Session = idle, []string{w.out}, w.session() })
	w.run(func(o *dispatch.Options) {
		o.Concurrency, o.Session = 1, w.session()
		o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
	})
	w.send("a:1", "b:2", "c:3", "a:4")
	w.until("the handler is at work", func() bool { return begun.Load() > 0 })
	for rounds, lost := 1, 0; ; rounds++ {
		stays, idleStays := w.stays(w.group, idle)
		if stays {
			break
		}
		if idleStays {
			lost++
		}
		switch {
		case lost == 3: // once may be bad luck
			t.Fatal("while its handler is at work the member is thrown out, and an idle one is not")
		case rounds == 12:
			t.Skip("this machine is too slow for sessions of " + w.session().String() + ": an idle member is thrown out, too")
		}
	}
	w.send("a:5", "b:6", "c:7", "d:8")
	w.until("the poll goes on", func() bool {
		sum := int64(0)
		for _, lag := range lags(t, reader) {
			sum += lag
		}
		return sum == 8
	})
	release()
	w.until("all are handled", func() bool { return len(w.ledger()) == 8 })
	w.check(map[string][]string{"a": {"1", "4", "5"}, "b": {"2", "6"}, "c": {"3", "7"}, "d": {"8"}})
}

// Pitfall: a shutdown that a handler itself asks for waits for that handler, which
// waits for the shutdown; and what was cut off counts as an attempt.
func TestStop_fromHandler(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	stop := make(chan struct{})
	w.script.set(func(ctx context.Context, label string, attempt int) error {
		if label == "quit" && attempt == 1 {
			close(stop)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	r := w.run(func(o *dispatch.Options) { o.ShutdownTimeout, o.Retry.Attempts = 200*time.Millisecond, 1 })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-stop
		r.stop()
	}()
	w.send("k:a", "k:quit", "k:b")
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Fatal("the shutdown and the handler wait for each other")
	}
	if n := len(w.rows()); n != 0 {
		t.Errorf("%d rows: what a shutdown cuts off is nobody's failure", n)
	}
	w.run()
	w.until("the rest is handled", func() bool { return len(w.ledger()) == 3 })
	w.check(map[string][]string{"k": {"a", "quit", "b"}})
}

// Pitfall: a handler that ignores its context keeps the process from ending.
func TestStop_handlerThatNeverEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	begun, free := make(chan struct{}), make(chan struct{})
	w.script.set(func(_ context.Context, _ string, attempt int) error {
		if attempt == 1 {
			close(begun)
			<-free
		}
		return nil
	})
	r := w.run(func(o *dispatch.Options) { o.ShutdownTimeout = 200 * time.Millisecond })
	w.send("k:a")
	<-begun
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.stop() }()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("it waits for a handler that never ends")
	}
	close(free)
	w.run()
	w.send("k:b")
	w.until("the next one goes on", func() bool { return slices.Contains(w.labels("k"), "b") })
	w.check(map[string][]string{"k": {"a", "b"}})
}

// cable stands between a member and its broker, or the store and PostgreSQL. It can be
// cut, and mended.
type cable struct {
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

// through answers the URL of a server behind the cable.
func (c *cable) through(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), "tcp", server)
			if err != nil {
				_ = near.Close()
				continue
			}
			if !c.add(near, far) {
				continue
			}
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); c.set(true) })
	return u.String()
}

// dial is that of a client behind the cable.
func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil && !c.add(conn) {
		return nil, errors.New("cut off")
	}
	return conn, err
}

// add closes the ends at once where it is cut.
func (c *cable) add(ends ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, ends...)
	if c.cut {
		c.close()
	}
	return !c.cut
}

func (c *cable) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		c.close()
	}
}

// Pitfall: offsets run ahead of a database that is away, or its absence becomes dead
// letters. PostgreSQL is cut off; SQLite is held by another writer.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	set := devtest.Parts(t)
	var c cable
	postgres := strings.HasPrefix(set.DatabaseURL, "postgres")
	if postgres {
		set.DatabaseURL = c.through(t, set.DatabaseURL)
	}
	w := newWorldOn(t, set, 1)
	r := w.run()
	w.send("k:a", "l:b")
	w.until("the first are handled and told", func() bool { s, k := w.next(0); return len(w.ledger()) == 2 && s == 2 && k == 2 })
	back := func() { c.set(false) }
	if postgres {
		c.set(true)
	} else {
		tx, err := w.db.SQL().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), `DELETE FROM ledger WHERE label = 'nobody'`); err != nil {
			t.Fatal(err)
		}
		back = func() {
			if err := tx.Rollback(); err != nil {
				t.Error(err)
			}
		}
	}
	var sent []string
	for i := range 200 {
		sent = append(sent, fmt.Sprintf("%d:c%d", i%9, i))
	}
	w.send(sent...)
	w.until("readiness names the database", func() bool {
		ok, reason := r.Ready()
		return !ok && strings.Contains(reason, "database")
	})
	admin, err := bus.NewAdmin(w.kafka())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	told, err := admin.FetchOffsets(t.Context(), w.group)
	if at, _ := told.Lookup(w.in, 0); err != nil || at.At != 2 {
		t.Errorf("Kafka was told %d (%v), want 2", at.At, err)
	}
	back()
	w.until("all are handled", func() bool { return len(w.ledger()) == 202 })
	if n := len(w.rows()); n != 0 {
		t.Errorf("%d rows wait or are dead because the database was away", n)
	}
	w.until("it is ready again", func() bool { ok, _ := r.Ready(); return ok })
}

// Pitfall: one long delay keeps shorter ones behind it waiting.
func TestDelays_areIndependent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.script.set(func(_ context.Context, label string, attempt int) error {
		switch {
		case label == "long":
			return consumer.Later(time.Now().Add(time.Hour), "much too early")
		case label == "short" && attempt == 1:
			return consumer.Later(time.Now().Add(20*time.Millisecond), "too early")
		}
		return nil
	})
	w.run(func(o *dispatch.Options) { o.Look = time.Hour }) // only the time itself wakes it
	w.send("a:long")
	w.until("it waits", func() bool { return len(w.rows()) == 1 })
	w.send("b:short", "c:none")
	w.until("the short delay is over", func() bool { return len(w.ledger()) == 2 })
	if got := w.standing(); !slices.Equal(got, []string{"long wait"}) {
		t.Errorf("got %v", got)
	}
}

// Pitfall: each failure of a burst makes the others be tried again, or the records
// behind a failing one are tried in vain. A record without a value is one of them.
func TestPoisonBurst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.script.set(func(_ context.Context, label string, _ int) error {
		if strings.HasPrefix(label, "bad") {
			return errBroken
		}
		return nil
	})
	var records []*kgo.Record
	for i := range 60 {
		records = append(records, w.record(fmt.Sprint("own", i), fmt.Sprint("bad", i)), w.record("shared", fmt.Sprint("bad-s", i)))
	}
	tombstone := w.record("gone", "x")
	tombstone.Value = nil
	w.publish(append(records, tombstone, w.record("good", "a"))...)
	w.run()
	w.until("each has its place", func() bool {
		c := w.counts()
		return c.Dead == 62 && c.Waiting == 59 && len(w.ledger()) == 1
	})
	calls := map[string]int{}
	for _, label := range w.script.called() {
		calls[label]++
	}
	for i := range 60 {
		if n := calls[fmt.Sprint("bad", i)]; n != 3 {
			t.Errorf("bad%d was tried %d times, want 3", i, n)
		}
	}
	if len(calls) != 62 || calls["bad-s0"] != 3 {
		t.Errorf("%d labels were handed to the handler, the head of the shared key %d times; want 62 and 3", len(calls), calls["bad-s0"])
	}
	w.until("each has its copy", func() bool { return len(w.read("dlq."+w.group)) == 62 })
	for _, rec := range w.read("dlq." + w.group) {
		if strings.HasSuffix(string(rec.Key), "gone") && rec.Value != nil {
			t.Errorf("a record without a value came out with %q", rec.Value)
		}
	}
}

// Pitfall: a dead letter is sent off and its offset committed, whether it arrives or
// not. Its topic is missing: the copy stays in the store, other keys go on, and it
// leaves when there is a topic, of however many partitions.
func TestDeadLetter_withoutItsTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.group = devtest.Unique(t, "orphan") // no dlq topic of this name
	w.script.set(func(_ context.Context, label string, _ int) error {
		if label == "bad" {
			return consumer.Reject("never")
		}
		return nil
	})
	w.run()
	w.send("k:bad", "l:a")
	w.until("it is dead, and its copy in the store", func() bool { c := w.counts(); return c.Dead == 1 && c.Outgoing == 1 && len(w.ledger()) == 1 })
	w.until("the offset passes what stands", func() bool { s, _ := w.next(0); return s == 2 })
	w.set.CreateTopics(t, 12, "dlq."+w.group)
	w.until("the copy is out", func() bool { return w.counts().Outgoing == 0 })
	copies := w.read("dlq." + w.group)
	if len(copies) != 1 || string(copies[0].Key) != "shopify/uk:k" {
		t.Errorf("copies: %v", copies)
	}
}

// Pitfall: a redrive before the fault is mended goes in circles, and each round adds
// headers until the record is too large.
func TestRedrive_neverLoops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.script.set(func(context.Context, string, int) error { return errBroken })
	w.run()
	w.send("k:bad", "k:next")
	const rounds = 5
	for round := range rounds {
		w.until("it is dead", func() bool { return w.counts().Dead == 1 && len(w.read("dlq."+w.group)) == round+1 })
		if got, want := len(w.script.called()), 3*(round+1); got != want {
			t.Fatalf("after %d redrives %d calls, want %d: nothing is tried again by itself", round, got, want)
		}
		if round < rounds-1 {
			w.redrive()
		}
	}
	copies := w.read("dlq." + w.group)
	first, last := copies[0], copies[len(copies)-1]
	if len(first.Headers) != len(last.Headers) || len(last.Value) != len(first.Value) {
		t.Errorf("the first copy has %d headers, the last one %d", len(first.Headers), len(last.Headers))
	}
	if diff := cmp.Diff([]string{"bad dead", "next wait"}, w.standing()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Pitfall: health stays green while the group is cut off from its work.
func TestReady_withoutKafka(t *testing.T) {
	t.Parallel()
	w := newLooseWorld(t, 1)
	var p cable
	r := w.run(func(o *dispatch.Options) { o.Kafka.Dial, o.Session = p.dial, w.session() })
	p.set(true)
	w.until("readiness says so", func() bool { ok, reason := r.Ready(); return !ok && strings.Contains(reason, "kafka") })
	p.set(false)
	w.send("k:a")
	w.until("it works again", func() bool { return len(w.ledger()) == 1 })
	devtest.Eventually(t, time.Minute, "readiness says so", func() bool { ok, _ := r.Ready(); return ok })
}

// Pitfall: one key in two topics is one lane, and the one starves the other.
func TestSameKeyInTwoTopics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	second := devtest.Unique(t, "in2")
	w.set.CreateTopics(t, 1, second)
	w.script.set(func(_ context.Context, label string, _ int) error {
		if label == "bad" {
			return consumer.Reject("never")
		}
		return nil
	})
	w.run(func(o *dispatch.Options) { o.Topics = append(o.Topics, second) })
	w.send("k:bad", "k:behind")
	w.until("the key is held in the one", func() bool { return len(w.rows()) == 2 })
	other := w.record("k", "a")
	other.Topic = second
	w.publish(other)
	w.until("it is free in the other", func() bool { return slices.Equal(w.labels("k"), []string{"a"}) })
	if got := w.standing(); !slices.Equal(got, []string{"bad dead", "behind wait"}) {
		t.Errorf("got %v", got)
	}
	if s, found, err := w.db.Store(w.group).NextOffset(t.Context(), second, 0); err != nil || !found || s > 1 {
		t.Errorf("next_offset of the second topic: %d, %t, %v", s, found, err)
	}
}
