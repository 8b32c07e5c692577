package intake_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/intake"
	"github.com/eventspine/spine/pkg/wire"
)

func ids(deliveries []wire.Delivery) []string {
	list := make([]string, len(deliveries))
	for n, d := range deliveries {
		list[n] = d.ID
	}
	return list
}

// perKey lists the first occurrence of each id, key by key.
func perKey(deliveries []wire.Delivery) map[string][]string {
	seen, keys := map[string]bool{}, map[string][]string{}
	for _, d := range deliveries {
		if !seen[d.ID] {
			keys[d.Key] = append(keys[d.Key], d.ID)
		}
		seen[d.ID] = true
	}
	return keys
}

// A call that hangs and ignores its context does not keep the sender waiting; when
// both copies arrive they are one delivery.
func TestHangingBroker(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := &broker{hangs: release}
	i := start(t, b, func(o *intake.Options) { o.Budget = 50 * time.Millisecond })
	begin := time.Now()
	id := post(t, i, `{"id":1}`)
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the sender waited %s", took)
	}
	if n, _ := i.Depth(); n != 1 {
		t.Fatalf("%d in the spool, want 1", n)
	}
	second := post(t, i, `{"id":2}`) // while Kafka is away nobody waits for it
	run(t, i)
	close(release)
	eventually(t, "both copies arrive and the spool is empty", func() bool {
		n, _ := i.Depth()
		return n == 0 && len(b.deliveries()) == 3
	})
	got := map[string]int{}
	for _, d := range b.deliveries() {
		got[d.ID]++
	}
	if diff := cmp.Diff(map[string]int{id: 2, second: 1}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Calls that never return do not pile up: from then on the spool is used at once.
func TestHangingBroker_bounded(t *testing.T) {
	t.Parallel()
	b := &broker{hangs: make(chan struct{})}
	t.Cleanup(func() { close(b.hangs) })
	i := start(t, b, func(o *intake.Options) { o.Budget, o.MaxInFlight, o.MaxSpool = 30*time.Millisecond, 2, 1 })
	for range 6 { // the spool is full, so that each one tries the broker
		if response := serve(i, request(t, `{"id":1}`)); response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
			t.Fatalf("status %d", response.StatusCode)
		}
	}
}

// A sender that hangs up does not undo its delivery.
func TestSenderLeaves(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := &broker{hangs: release, called: make(chan struct{}, 1)}
	i := start(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	r := request(t, `{"id":1}`).WithContext(ctx)
	status := make(chan int, 1)
	go func() { status <- serve(i, r).StatusCode }()
	<-b.called
	cancel()
	close(release)
	if got := <-status; got != 200 || len(b.deliveries()) != 1 {
		t.Errorf("status %d, %d kept", got, len(b.deliveries()))
	}
}

func TestDrain_order(t *testing.T) {
	t.Parallel()
	b := &broker{}
	i := start(t, b)
	want := map[string][]string{}
	send := func(n int) {
		for k := range n {
			key := fmt.Sprint(k % 3)
			want["shop/uk:"+key] = append(want["shop/uk:"+key], post(t, i, `{"id":`+key+`,"n":`+fmt.Sprint(k)+`}`))
		}
	}
	send(3)
	b.set(away)
	send(30)
	b.set(nil)
	// Kafka is back, but the spool still owes earlier deliveries of these keys.
	send(6)
	if n, _ := i.Depth(); n != 36 || len(b.deliveries()) != 3 {
		t.Fatalf("%d in the spool, %d published", n, len(b.deliveries()))
	}
	run(t, i)
	eventually(t, "the spool is empty", func() bool { n, _ := i.Depth(); return n == 0 })
	send(3)
	if n, _ := i.Depth(); n != 0 {
		t.Errorf("%d in the spool although it was empty and Kafka is there", n)
	}
	if diff := cmp.Diff(want, perKey(b.deliveries())); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got := len(b.deliveries()); got != 42 {
		t.Errorf("%d published, want 42: nothing twice", got)
	}
}

// A restart, and a copy of the files as a crash would leave them, lose nothing.
func TestRestart(t *testing.T) {
	t.Parallel()
	b := &broker{refuses: away}
	folder := t.TempDir()
	at := func(path string) func(*intake.Options) { return func(o *intake.Options) { o.SpoolPath = path } }
	path := filepath.Join(folder, "spool.db")
	i := start(t, b, at(path))
	var want []string
	for n := range 20 {
		want = append(want, post(t, i, `{"id":7,"n":`+fmt.Sprint(n)+`}`))
	}
	crashed := filepath.Join(folder, "crashed.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(crashed+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Another process reads the spool while it is in use.
	if read, err := intake.Spooled(t.Context(), path); err != nil || !slices.Equal(read, want) {
		t.Errorf("in the spool: %v, %v", read, err)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if read, err := intake.Spooled(t.Context(), filepath.Join(folder, "none.db")); err != nil || read != nil {
		t.Errorf("in a spool that is not there: %v, %v", read, err)
	}
	for _, path := range []string{path, crashed} {
		b := &broker{}
		again := start(t, b, at(path))
		if n, size := again.Depth(); n != 20 || size == 0 {
			t.Errorf("%s: %d records, %d bytes after the restart", path, n, size)
		}
		want := append(want[:20:20], post(t, again, `{"id":7,"n":20}`)) // behind the old ones
		run(t, again)
		eventually(t, "the spool is empty", func() bool { n, _ := again.Depth(); return n == 0 })
		if diff := cmp.Diff(want, ids(b.deliveries())); diff != "" {
			t.Errorf("%s: -want +got\n%s", path, diff)
		}
		if first := b.deliveries()[0]; string(first.Body) != `{"id":7,"n":0}` || first.Kind != "orders/create" || first.Key != "shop/uk:7" {
			t.Errorf("%s: came back as %+v", path, first)
		}
	}
}

// A first start has no data folder yet.
func TestSpool_folder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "not", "there", "spool.db")
	i := start(t, &broker{refuses: away}, func(o *intake.Options) { o.SpoolPath = path })
	post(t, i, `{"id":1}`)
	if n, _ := i.Depth(); n != 1 {
		t.Errorf("%d in the spool, want 1", n)
	}
}

func TestSpool_locked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "spool.db")
	start(t, &broker{}, func(o *intake.Options) { o.SpoolPath = path })
	_, err := intake.New(intake.Options{Publish: (&broker{}).Publish, SpoolPath: path})
	if err == nil || !strings.Contains(err.Error(), "opening the spool") {
		t.Errorf("a second process takes the spool: %v", err)
	}
}

func TestNotDurable(t *testing.T) {
	t.Parallel()
	b := &broker{refuses: away}
	i := start(t, b, func(o *intake.Options) { o.MaxSpool = 1500 })
	kept := 0
	for {
		response := serve(i, request(t, `{"id":1}`))
		if response.StatusCode == http.StatusServiceUnavailable {
			if response.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			errorBody(t, "full", response, "unavailable")
			break
		}
		if kept++; kept > 20 {
			t.Fatal("the spool is never full")
		}
	}
	if n, size := i.Depth(); int(n) != kept || size > 1500 || kept == 0 {
		t.Errorf("%d kept, the spool says %d records of %d bytes", kept, n, size)
	}
	b.set(nil)
	// Another key does not depend on the full spool once Kafka is back; this one does.
	post(t, i, `{"id":2}`)
	if response := serve(i, request(t, `{"id":1}`)); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %d: it has overtaken what is in the spool", response.StatusCode)
	}
	run(t, i)
	eventually(t, "the spool is empty", func() bool { n, _ := i.Depth(); return n == 0 })
	post(t, i, `{"id":1}`)
}

func TestDiskFails(t *testing.T) {
	t.Parallel()
	b := &broker{}
	i := start(t, b)
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	post(t, i, `{"id":1}`) // Kafka takes it
	b.set(away)
	response := serve(i, request(t, `{"id":1}`))
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, header %v", response.StatusCode, response.Header)
	}
	b.set(nil)
	post(t, i, `{"id":1}`)
}

// Records that Kafka never takes hold their keys and nothing else, however many
// they are.
func TestDrain_poison(t *testing.T) {
	t.Parallel()
	b := &broker{refuses: away}
	i := start(t, b)
	var want []string
	for k := range 10 {
		post(t, i, fmt.Sprintf(`{"id":%d,"poison":1}`, k))
		post(t, i, fmt.Sprintf(`{"id":%d}`, k))
	}
	for k := range 5 {
		want = append(want, post(t, i, fmt.Sprintf(`{"id":10%d}`, k)))
	}
	b.set(func(r *kgo.Record) error {
		if strings.Contains(string(r.Value), "poison") {
			return kerr.MessageTooLarge
		}
		return nil
	})
	run(t, i)
	eventually(t, "the others are published", func() bool { n, _ := i.Depth(); return n == 20 })
	got := perKey(b.deliveries())
	if keys := slices.Sorted(maps.Keys(got)); len(keys) != 5 || len(slices.Concat(slices.Collect(maps.Values(got))...)) != len(want) {
		t.Errorf("published: %v", got)
	}
	b.set(nil)
	eventually(t, "all are published", func() bool { n, _ := i.Depth(); return n == 0 })
	for key, list := range perKey(b.deliveries()) {
		if len(key) == len("shop/uk:0") && len(list) != 2 {
			t.Errorf("%s: %v", key, list)
		}
	}
}

// Senders go on while Kafka comes and goes and the process is restarted: what was
// acknowledged arrives, in order per key, and nothing else does.
func TestLedger(t *testing.T) {
	t.Parallel()
	var calls int
	b := &broker{}
	b.set(func(*kgo.Record) error { // under the broker's lock
		if calls++; calls/4%2 == 1 {
			return errAway
		}
		return nil
	})
	path := filepath.Join(t.TempDir(), "spool.db")
	acknowledged := map[string][]string{}
	var mu sync.Mutex
	for round := range 3 {
		i := start(t, b, func(o *intake.Options) { o.SpoolPath = path })
		stop := run(t, i)
		var senders sync.WaitGroup
		for s := range 8 {
			senders.Go(func() {
				for n := range 15 {
					id := post(t, i, fmt.Sprintf(`{"id":%d,"n":%d}`, s, round*100+n))
					mu.Lock()
					key := fmt.Sprintf("shop/uk:%d", s)
					acknowledged[key] = append(acknowledged[key], id)
					mu.Unlock()
				}
			})
		}
		senders.Wait()
		stop()
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.set(nil)
	i := start(t, b, func(o *intake.Options) { o.SpoolPath = path })
	run(t, i)
	eventually(t, "the spool is empty", func() bool { n, _ := i.Depth(); return n == 0 })
	if diff := cmp.Diff(acknowledged, perKey(b.deliveries())); diff != "" {
		t.Errorf("-acknowledged +arrived\n%s", diff)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := &broker{hangs: release, called: make(chan struct{}, 1)}
	i := start(t, b)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- intake.Serve(ctx, l, i, 10*time.Second, nil) }()
	answers := make(chan int, 1)
	go func() {
		r := request(t, `{"id":1}`)
		r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", l.Addr().String()
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			answers <- 0
			return
		}
		_ = response.Body.Close()
		answers <- response.StatusCode
	}()
	<-b.called
	cancel() // the request is in flight: it is finished first
	close(release)
	if status, err := <-answers, <-ended; status != 200 || err != nil || len(b.deliveries()) != 1 {
		t.Errorf("status %d, %v", status, err)
	}
}

// A connection on which nothing is asked keeps nobody from ending.
func TestServe_unasked(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- intake.Serve(ctx, l, start(t, &broker{}), time.Second, nil) }()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// An answer on another connection says that the first one has been accepted.
	r := request(t, `{"id":1}`)
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", l.Addr().String()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
