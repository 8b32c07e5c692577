//go:build synctests

package simulation_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

const (
	group  = "sim"
	input  = "in"
	output = "out"
	dead   = "dlq." + group
)

// world is one run of a schedule, within its bubble of virtual time.
type world struct {
	t       *testing.T
	s       schedule
	begun   time.Time
	codec   *wire.Codec
	network kfake.VirtualNetwork
	cluster *kfake.Cluster
	store   *file
	db      *once.DB
	source  *bus.Producer
	faults  *brokerFaults
	random  *rand.Rand // of what is not in the schedule: lengths of sleeps
	pulse   *atomic.Int64

	mu       sync.Mutex
	members  map[string]*member // by name in the schedule
	all      []*member
	starts   int
	trace    []string
	findings []string
	sent     map[string]*kgo.Record // by label: the first one
	at       map[place]string       // label of each input record
	attempts map[string]int         // by label
	calls    map[string]int         // of the outside, by effect key
	away     bool                   // the dependency of the handlers
	mended   bool                   // what was rejected is handled from now on
	dropped  map[string]bool        // labels that a person dropped
	saved    *backup
	tasks    sync.WaitGroup // what steps left to happen later
}

type place struct {
	partition int32
	offset    int64
}

// run plays a schedule and answers what broke.
func run(t *testing.T, s schedule, codec *wire.Codec, pulse *atomic.Int64) (findings, trace []string) {
	w := &world{
		t: t, s: s, begun: time.Now(), codec: codec, pulse: pulse,
		random: rand.New(rand.NewPCG(s.seed, 2)), faults: &brokerFaults{},
		members: map[string]*member{}, sent: map[string]*kgo.Record{}, at: map[place]string{},
		attempts: map[string]int{}, calls: map[string]int{}, dropped: map[string]bool{},
	}
	w.open()
	beat, still := context.WithCancel(t.Context())
	go w.beat(beat)
	for _, st := range s.steps {
		sleep(t.Context(), st.at-time.Since(w.begun))
		w.note("> %s", strings.Join(append([]string{st.verb}, st.args...), " "))
		w.do(st)
		w.watch()
	}
	w.settle()
	for _, m := range w.all {
		m.stop()
	}
	w.tasks.Wait()
	w.judge()
	still()
	w.close()
	return w.findings, w.trace
}

// beat shows the watchdog outside the bubble that virtual time moves on.
func (w *world) beat(ctx context.Context) {
	for ctx.Err() == nil {
		w.pulse.Add(1)
		sleep(ctx, 100*time.Millisecond)
	}
}

func (w *world) open() {
	var err error
	w.cluster, err = kfake.NewCluster(kfake.NumBrokers(3), kfake.Ports(19001, 19002, 19003), kfake.ListenFn(w.network.Listen),
		kfake.GroupMinSessionTimeout(500*time.Millisecond), kfake.SeedTopics(int32(w.s.partitions), input),
		kfake.SeedTopics(2, output), kfake.SeedTopics(1, dead))
	w.must(err)
	w.faults.install(w.cluster)
	w.store = keep(filepath.Join(w.t.TempDir(), "sim.db"))
	w.db, err = once.Open(w.t.Context(), once.Options{URL: "sqlite:" + w.store.path})
	w.must(err)
	for _, ddl := range []string{
		`CREATE TABLE ledger (seq INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT, entity TEXT, event_id TEXT)`,
		`CREATE TABLE called (effect_key TEXT)`,
	} {
		w.must(w.db.Write(w.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, ddl)
			return err
		}))
	}
	w.source, err = bus.NewProducer(w.kafka("source", w.network.DialContext))
	w.must(err)
}

func (w *world) close() {
	w.source.Close()
	w.cluster.Close()
	w.must(w.db.Close())
	w.store.forget()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("the simulation itself: %v\n%s", err, w.s)
	}
}

func (w *world) kafka(name string, dial dialer) bus.Config {
	return bus.Config{Brokers: w.cluster.ListenAddrs(), ClientID: name, Dial: dial}
}

// note adds a line to the trace.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%9.3fs ", time.Since(w.begun).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) find(format string, args ...any) {
	w.note("BROKEN: "+format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := fmt.Sprintf(format, args...); len(w.findings) < 20 {
		w.findings = append(w.findings, text)
	}
}

// later does something when a time has passed, or the world ends.
func (w *world) later(after string, do func()) {
	d, err := time.ParseDuration(after)
	w.must(err)
	w.tasks.Go(func() {
		sleep(w.t.Context(), d)
		do()
	})
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// member is one process of the group, from its start to its end.
type member struct {
	w      *world
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	dead   chan struct{} // closed by its crash
	wire   *line
}

func (w *world) start(name string) {
	w.mu.Lock()
	if w.members[name] != nil {
		w.mu.Unlock()
		return
	}
	w.starts++
	m := &member{w: w, name: fmt.Sprintf("%s%d", name, w.starts), done: make(chan struct{}), dead: make(chan struct{})}
	m.wire = &line{dial: w.network.DialContext}
	w.members[name] = m
	w.all = append(w.all, m)
	w.mu.Unlock()
	r, err := dispatch.New(w.options(m))
	w.must(err)
	ctx, cancel := context.WithCancel(w.t.Context())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		if err := r.Run(ctx); err != nil {
			w.find("%s: Run: %v", m.name, err)
		}
	}()
}

func (w *world) options(m *member) dispatch.Options {
	return dispatch.Options{
		Group: m.group(), Topics: []string{input}, DB: w.db, Kafka: w.kafka(m.name, m.wire.DialContext), Codec: w.codec,
		Route:       func(string) (wire.Target, bool) { return wire.Target{Topic: output, Aggregate: "order"}, true },
		Retry:       dispatch.Retry{Attempts: 12, Base: 20 * time.Millisecond, Max: 400 * time.Millisecond},
		Concurrency: 8, CommitInterval: 150 * time.Millisecond, Look: 200 * time.Millisecond,
		ShutdownTimeout: 2 * time.Second, Session: 3 * time.Second,
		Log: slog.New(tracer{m}),
	}
}

// stop lets a member leave, and waits.
func (m *member) stop() {
	m.cancel()
	<-m.done
}

func (m *member) crashed() bool {
	select {
	case <-m.dead:
		return true
	default:
		return false
	}
}

// crash is the sudden end of a process, as far as the world can see it: nothing of it
// gets out any more, its memory is gone, and the broker isn't told. In this process its
// remains live on for a moment, so its partitions get a fresh epoch at once, and what
// the remains write is refused.
func (w *world) crash(m *member) {
	close(m.dead)
	m.wire.cut()
	for _, has := range w.cluster.GroupInfo(group).Members {
		if has.ClientID != m.name {
			continue
		}
		for _, ids := range has.Assignment {
			for _, id := range ids {
				_, err := w.db.Store(group).Own(w.t.Context(), input, id, 0)
				if err != nil && !errors.Is(err, once.ErrUnavailable) {
					w.find("fencing the remains of %s: %v", m.name, err)
				}
			}
		}
	}
	m.cancel()
}

// tracer puts what a member logs into the trace.
type tracer struct{ m *member }

func (h tracer) Enabled(context.Context, slog.Level) bool { return true }
func (h tracer) WithGroup(string) slog.Handler            { return h }
func (h tracer) WithAttrs([]slog.Attr) slog.Handler       { return h }

func (h tracer) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "stack" {
			fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		}
		return true
	})
	h.m.w.note("%s: %s%s", h.m.name, r.Message, b.String())
	return nil
}
