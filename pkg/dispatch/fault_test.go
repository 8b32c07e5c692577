package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

// check compares the ledger with what was sent: nothing lost, nothing doubled, in
// order per entity, no phantom.
func (w *world) check(sent map[string][]string) {
	w.t.Helper()
	got := map[string][]string{}
	for _, l := range w.ledger() {
		got[l.entity] = append(got[l.entity], l.label)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		w.t.Errorf("the ledger (-sent +handled):\n%s", diff)
	}
}

// Promise: fenced. Somebody takes the partition behind the back of its owner: the
// owner can write nothing, starts over while Kafka means it, and then the other one
// can write nothing.
func TestFenced_startsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	sent := map[string][]string{}
	for round := range 5 {
		thief, err := w.db.Store(w.group).Own(t.Context(), w.in, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			entity, label := fmt.Sprint(i%3), fmt.Sprintf("p%d-%d", round, i)
			sent[entity] = append(sent[entity], label)
			w.send(entity + ":" + label)
		}
		w.until("all are handled", func() bool { return len(w.ledger()) >= 20*(round+1) })
		item := once.Item{Mode: once.Live, EventID: "stolen", Record: once.Record{Topic: w.in, Offset: 1 << 40, Key: []byte("k")}}
		_, err = thief.Do(t.Context(), item, func(context.Context, once.Tx) error { return nil })
		if !errors.Is(err, once.ErrFenced) {
			t.Errorf("the thief's write answers %v", err)
		}
	}
	w.check(sent)
}

// An owner looks at its epoch when idle, too: after a restore nothing else tells it.
func TestFenced_whenIdle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.run()
	w.send("k:a")
	w.until("it is handled, and nothing is left to write", func() bool { s, k := w.next(0); return len(w.ledger()) == 1 && s == 1 && k == 1 })
	if _, err := w.db.Store(w.group).Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	epoch := func() (e int64) {
		if err := w.db.SQL().QueryRowContext(t.Context(), `SELECT epoch FROM spine_ownership`).Scan(&e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	fenced := epoch()
	devtest.Eventually(t, 5*time.Second, "it has taken the partition again", func() bool {
		ok, _ := r.Ready()
		return ok && epoch() != fenced
	})
	w.send("k:b")
	w.until("it goes on", func() bool { return slices.Equal(w.labels("k"), []string{"a", "b"}) })
}

// A restored store is what stands: what it forgot is repeated, though Kafka has
// moved on.
func TestStoreOffsetStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.run()
	w.send("k:a", "k:b", "k:c")
	w.until("Kafka is told", func() bool { _, k := w.next(0); return k == 3 })
	r.stop()
	for _, forget := range []string{
		`DELETE FROM ledger WHERE label <> 'a'`,
		`DELETE FROM spine_inbox WHERE kafka_offset > 0`,
		`UPDATE spine_ownership SET next_offset = 1`,
	} {
		if err := w.exec(forget); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	w.until("what was forgotten is repeated", func() bool { return slices.Equal(w.labels("k"), []string{"a", "b", "c"}) })
}

// A zombie: cut off from Kafka with work in its memory, it is not told that another
// member has its partition. What it does later commits nothing and acknowledges
// nothing.
func TestZombie(t *testing.T) {
	t.Parallel()
	w := newLooseWorld(t, 1)
	var p cable
	var zombie atomic.Int32
	hold := make(chan struct{})
	zombieScript := func(o *dispatch.Options) {
		o.Kafka.Dial = p.dial
		o.Session = w.session()
		o.Look = time.Hour // it doesn't look
		o.Retry = dispatch.Retry{Attempts: 1000, Base: 50 * time.Millisecond, Max: 50 * time.Millisecond}
		o.Group.On = []consumer.Handler{consumer.On(func(ctx context.Context, tx consumer.Tx, e event.Of[cancelled]) error {
			zombie.Add(1)
			select {
			case <-hold:
				return w.handle(ctx, tx, e)
			default:
				return errBroken // goes on trying, from its memory
			}
		})}
	}
	a := w.run(zombieScript)
	w.send("k:a", "k:b", "l:c")
	w.until("the first member has them", func() bool { return zombie.Load() > 3 })
	p.set(true)
	b := w.start(func(o *dispatch.Options) { o.Session = w.session() })
	w.until("the other member has handled them", func() bool { return len(w.ledger()) == 3 })
	close(hold) // now the zombie would succeed
	w.send("k:d")
	w.until("the other goes on", func() bool { return len(w.ledger()) == 4 })
	w.until("its offset is stored", func() bool { s, _ := w.next(0); return s == 4 })
	p.set(false)
	a.stop()
	b.stop()
	w.check(map[string][]string{"k": {"a", "b", "d"}, "l": {"c"}})
	if s, k := w.next(0); s != 4 || k > 4 {
		t.Errorf("next_offset is %d, Kafka's %d", s, k)
	}
}

// Members come and go while records flow, gracefully or cut off, and partitions are
// stolen: nothing is lost, doubled or out of order.
func TestRandom(t *testing.T) {
	t.Parallel()
	seeds := []uint64{1, 2}
	if text := os.Getenv("SPINE_TEST_SEEDS"); text != "" {
		seeds = nil
		for _, s := range strings.Split(text, ",") {
			var seed uint64
			if _, err := fmt.Sscan(s, &seed); err != nil {
				t.Fatal(err)
			}
			seeds = append(seeds, seed)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			randomRun(t, rand.New(rand.NewPCG(seed, 7)))
		})
	}
}

func randomRun(t *testing.T, rng *rand.Rand) {
	t.Helper()
	const partitions, entities, rounds = 3, 12, 14
	w := newWorld(t, partitions)
	flaky := rng.Uint64()
	w.script.set(func(_ context.Context, label string, attempt int) error {
		h := flaky
		for _, c := range []byte(label) {
			h = h*31 + uint64(c)
		}
		switch {
		case h%11 == 0 && attempt == 1:
			return consumer.Later(time.Now().Add(time.Duration(h%40)*time.Millisecond), "not yet")
		case h%7 == 0 && attempt < 2+int(h%2):
			return errBroken
		case h%23 == 0 && attempt == 1:
			panic("now and then")
		case h%29 == 0 && attempt <= 4: // dies once, and is redriven
			return consumer.Reject("for now")
		}
		return nil
	})
	sent, members, n := map[string][]string{}, []*running{w.run()}, 0
	var past [][2]string
	for range rounds {
		var records []*kgo.Record
		for range 20 + rng.IntN(40) {
			if len(past) > 0 && rng.IntN(6) == 0 { // the same event again, elsewhere
				again := past[rng.IntN(len(past))]
				records = append(records, w.record(again[0], again[1]))
				continue
			}
			entity, label := fmt.Sprint(rng.IntN(entities)), fmt.Sprintf("%c%d", "apx"[rng.IntN(3)], n)
			n++
			sent[entity], past = append(sent[entity], label), append(past, [2]string{entity, label})
			records = append(records, w.record(entity, label))
		}
		w.publish(records...)
		members = disturb(w, rng, members)
		w.redrive()
	}
	w.until("all are handled", func() bool {
		w.redrive()
		return len(w.ledger()) >= n
	})
	w.until("nothing waits", func() bool { c := w.counts(); return c.Waiting+c.Dead+c.Outgoing == 0 })
	w.check(sent)
	checkFacts(w, sent)
	w.until("the offsets reach the end", func() bool {
		var stored, end int64
		for p := range int32(partitions) {
			s, _ := w.next(p)
			stored += s
		}
		end = int64(len(w.read(w.in)))
		return stored == end
	})
}

// disturb lets a member join or leave, or steals a partition.
func disturb(w *world, rng *rand.Rand, members []*running) []*running {
	w.t.Helper()
	switch rng.IntN(4) {
	case 0:
		if len(members) < 3 {
			members = append(members, w.start())
		}
	case 1:
		if len(members) > 1 {
			i := rng.IntN(len(members))
			members[i].stop()
			members = slices.Delete(members, i, i+1)
		}
	case 2:
		if _, err := w.db.Store(w.group).Own(w.t.Context(), w.in, rng.Int32N(3), 0); err != nil {
			w.t.Fatal(err)
		}
	}
	return members
}

// checkFacts compares the published facts: none lost, first occurrences in order per
// entity. A crash between acknowledgement and removal may repeat one.
func checkFacts(w *world, sent map[string][]string) {
	w.t.Helper()
	place := map[string]string{}
	want := map[string][]string{}
	for entity, labels := range sent {
		for _, l := range labels {
			place[l] = entity
			if strings.HasPrefix(l, "p") {
				want[entity] = append(want[entity], l)
			}
		}
	}
	got, seen := map[string][]string{}, map[string]bool{}
	for _, l := range w.facts() {
		if !seen[l] {
			seen[l] = true
			got[place[l]] = append(got[place[l]], l)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("published (-want +got):\n%s", diff)
	}
}

// Pitfall 36: a registry that is away makes no dead letter; readiness names it.
func TestRegistryAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	target, err := url.Parse(w.registry)
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, target.Host
	}}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if away.Load() {
			http.Error(rw, "down", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.registry = server.URL + target.Path
	codec := w.newCodec() // one that has seen nothing yet
	away.Store(true)
	r := w.start(func(o *dispatch.Options) { o.Codec = codec })
	w.until("readiness names the registry", func() bool {
		ok, reason := r.Ready()
		return !ok && strings.Contains(reason, "registry")
	})
	away.Store(false)
	w.until("it is ready", func() bool { ok, _ := r.Ready(); return ok })
	away.Store(true)
	w.send("k:a", "k:b", "l:c")
	w.until("readiness names the registry", func() bool {
		ok, reason := r.Ready()
		return !ok && strings.Contains(reason, "registry")
	})
	if n := len(w.rows()); n != 0 {
		t.Errorf("%d rows though only the registry is away", n)
	}
	away.Store(false)
	w.until("all are handled", func() bool { return len(w.ledger()) == 3 })
	w.until("it is ready again", func() bool { ok, _ := r.Ready(); return ok })
	w.check(map[string][]string{"k": {"a", "b"}, "l": {"c"}})
}

// Pitfall 4: aborted transactions and control records leave gaps, also at the end.
func TestGaps(t *testing.T) {
	t.Parallel()
	w := newLooseWorld(t, 1)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.set.Brokers...), kgo.TransactionalID(w.group))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for i, commit := range []bool{true, false, true, false} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), w.record("k", fmt.Sprintf("a%d", i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	w.until("the offset reaches the end", func() bool { s, k := w.next(0); return s == 8 && k == 8 })
	w.check(map[string][]string{"k": {"a0", "a2"}})
}

// Offsets that are gone stop the partition and are named; nothing is skipped.
func TestOutOfRange(t *testing.T) {
	t.Parallel()
	w := newLooseWorld(t, 1)
	w.send(words("k", 0, 10, "a")...)
	if _, err := w.db.Store(w.group).Own(t.Context(), w.in, 0, 2); err != nil {
		t.Fatal(err)
	}
	deleteBelow(t, w, 6)
	r := w.start()
	w.until("readiness names what is lost", func() bool {
		ok, reason := r.Ready()
		return !ok && strings.Contains(reason, "offsets 2 to 5 are no longer there")
	})
	if n := len(w.ledger()); n != 0 {
		t.Errorf("%d are handled behind a gap", n)
	}
	w.reset(6) // a person goes on
	w.until("what is left is handled", func() bool { return len(w.ledger()) == 4 })
	w.until("Kafka is told", func() bool { _, kafka := w.next(0); return kafka == 10 })
}

// Older majors arrive in the form that the handler takes, with the same identity.
func TestUpcast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	got := make(chan event.Of[placedV2], 2)
	w.run(func(o *dispatch.Options) {
		o.Instances = map[string]event.Instance{"shopify/uk": {System: "shopify", Name: "uk", BaseCurrency: "GBP"}}
		o.Group.On = []consumer.Handler{consumer.On(func(_ context.Context, _ consumer.Tx, e event.Of[placedV2]) error {
			got <- e
			return nil
		})}
		if types := dispatch.Types(o.Group); !slices.Equal(types, []string{"order.placed.v2", "order.placed.v1"}) {
			t.Errorf("the group reads %v", types)
		}
	})
	w.publish(w.record("7", "v1", func(n *event.New, _ *wire.Cause) {
		n.Fact = placedV1{OrderID: "7", CustomerID: "c", Items: []placedV1Item{{SKU: "a", Quantity: 2, Price: 5}}, Total: 10, Timestamp: "2026-03-14T11:20:00.000000Z"}
	}))
	select {
	case e := <-got:
		if e.Type != "order.placed.v1" || e.Data.Currency != "GBP" || e.Data.Meta.EventID != e.ID || e.Instance.BaseCurrency != "GBP" {
			t.Errorf("got %+v", e)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing arrives: %+v", w.rows())
	}
}

// deleteBelow removes the beginning of the input, as retention would.
func deleteBelow(t *testing.T, w *world, offset int64) {
	t.Helper()
	admin, err := bus.NewAdmin(w.kafka())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := deleteRecords(t.Context(), admin, w.in, offset); err != nil {
		t.Fatal(err)
	}
}

// A process that is killed at any moment, again and again, while records flow.
func TestKill(t *testing.T) {
	t.Parallel()
	w := newLooseWorld(t, 2)
	if err := w.db.Close(); err != nil { // SQLite: one process at a time
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(11, 13))
	sent, n := map[string][]string{}, 0
	for range 6 {
		child := startChild(t, w)
		for range 30 {
			entity, label := fmt.Sprint(rng.IntN(5)), fmt.Sprintf("p%d", n)
			n++
			sent[entity] = append(sent[entity], label)
			w.send(entity + ":" + label)
		}
		<-time.After(time.Duration(rng.IntN(300)) * time.Millisecond)
		child.kill()
	}
	var err error
	if w.db, err = once.Open(t.Context(), once.Options{URL: w.set.DatabaseURL}); err != nil {
		t.Fatal(err)
	}
	w.run(func(o *dispatch.Options) { o.Session = w.session() })
	w.until("all are handled", func() bool { return len(w.ledger()) >= n })
	w.until("all is out", func() bool { return w.counts().Outgoing == 0 })
	w.check(sent)
	checkFacts(w, sent)
}

type child struct{ kill func() }

// startChild runs the group in a process of its own and waits until it is ready.
func startChild(t *testing.T, w *world, env ...string) child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), "SPINE_DISPATCH_CHILD="+strings.Join([]string{
		strings.Join(w.set.Brokers, " "), w.registry, w.set.DatabaseURL, w.group, w.in, w.out, fmt.Sprint(w.set.Real),
	}, "|"))
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	go func() {
		var said strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := out.Read(buf)
			said.Write(buf[:n])
			if strings.Contains(said.String(), "CHILD READY") {
				ready <- true
				return
			}
			if err != nil {
				t.Logf("child: %s", said.String())
				ready <- false
				return
			}
		}
	}()
	kill := sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(kill)
	select {
	case ok := <-ready:
		if !ok {
			t.Fatal("the child ended")
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the child doesn't get ready")
	}
	return child{kill}
}

// TestChild is the process that TestKill kills.
func TestChild(t *testing.T) {
	spec := os.Getenv("SPINE_DISPATCH_CHILD")
	if spec == "" {
		t.Skip("only as a child of TestKill")
	}
	f := strings.Split(spec, "|")
	w := &world{t: t, registry: f[1], group: f[3], in: f[4], out: f[5]}
	w.set.Brokers, w.set.DatabaseURL, w.set.Real = strings.Fields(f[0]), f[2], f[6] == "true"
	w.codec = w.newCodec()
	var err error
	if w.db, err = once.Open(t.Context(), once.Options{URL: w.set.DatabaseURL}); err != nil {
		t.Fatal(err)
	}
	change := func(o *dispatch.Options) { o.Session = w.session() }
	if file := os.Getenv("SPINE_DISPATCH_CHILD_DIES"); file != "" {
		change = newBatches(w).dies(file)
	}
	w.run(change)
	fmt.Println("CHILD READY")
	<-t.Context().Done()
}

// PostgreSQL cuts connections at any moment, commits among them: what came of those
// is not known, and still nothing is lost, doubled or out of order.
func TestDatabaseCutsOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	if w.db.Dialect() != once.PostgreSQL {
		t.Skip("SPINE_TEST_POSTGRES is not set")
	}
	name := w.group
	db, err := once.Open(t.Context(), once.Options{URL: w.set.DatabaseURL + "&application_name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.run(func(o *dispatch.Options) { o.DB = db })
	sent, n := map[string][]string{}, 0
	for range 25 {
		var all []string
		for range 30 {
			entity, label := fmt.Sprint(n%9), fmt.Sprintf("p%d", n)
			n++
			sent[entity] = append(sent[entity], label)
			all = append(all, entity+":"+label)
		}
		w.send(all...)
		if err := w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1`, name); err != nil {
			t.Fatal(err)
		}
	}
	w.until("all are handled", func() bool { return len(w.ledger()) >= n })
	w.until("all is out", func() bool { return w.counts().Outgoing == 0 })
	w.check(sent)
	checkFacts(w, sent)
	if c := w.counts(); c.Dead+c.Waiting != 0 {
		t.Errorf("%+v: a database that is away makes no dead letter", c)
	}
}
