//go:build synctests

package simulation_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/stock"
)

func TestMain(m *testing.M) {
	hookConnections()
	os.Exit(m.Run())
}

const seedsByDefault = 16

func TestSimulation(t *testing.T) {
	t.Parallel()
	codec := warm(t)
	var failed atomic.Bool
	for _, s := range schedules(t) {
		t.Run(fmt.Sprintf("seed %d", s.seed), func(t *testing.T) {
			t.Parallel()
			if failed.Load() {
				t.Skip("another seed has failed")
			}
			findings, trace := play(t, s, codec)
			if len(findings) == 0 {
				if os.Getenv("SPINE_SIM_SEED") != "" {
					t.Logf("%s\n%s", s, strings.Join(trace, "\n"))
				}
				return
			}
			if failed.Swap(true) {
				t.Errorf("seed %d breaks promises, too:\n  %s", s.seed, strings.Join(findings, "\n  "))
				return
			}
			fewer, findings, trace := shrink(t, s, findings, trace, codec)
			dir := save(t, fewer, trace)
			t.Errorf("seed %d breaks promises:\n  %s\n\nwith this schedule, kept in %s with its trace; run it again with\n  SPINE_SIM_SCHEDULE=%s go test ./pkg/dispatch/simulation\n\n%s",
				s.seed, strings.Join(findings, "\n  "), dir, filepath.Join(dir, "schedule.txt"), fewer)
		})
	}
}

func schedules(t *testing.T) (list []schedule) {
	t.Helper()
	if name := os.Getenv("SPINE_SIM_SCHEDULE"); name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parse(string(text))
		if err != nil {
			t.Fatal(err)
		}
		return []schedule{s}
	}
	from, count := uint64(1), uint64(seedsByDefault)
	if seed, err := strconv.ParseUint(os.Getenv("SPINE_SIM_SEED"), 10, 64); err == nil {
		from, count = seed, 1
	}
	if n, err := strconv.ParseUint(os.Getenv("SPINE_SIM_SEEDS"), 10, 64); err == nil {
		count = n
	}
	for seed := from; seed < from+count; seed++ {
		list = append(list, draw(seed))
	}
	return list
}

// play runs a schedule in a bubble of its own, watched from outside.
func play(t *testing.T, s schedule, codec *wire.Codec) (findings, trace []string) {
	t.Helper()
	pulse := &atomic.Int64{}
	over := make(chan struct{})
	defer close(over)
	go guard(s, pulse, over)
	synctest.Test(t, func(t *testing.T) { findings, trace = run(t, s, codec, pulse) })
	return findings, trace
}

// guard ends the process when time stands still: a goroutine waits for a lock whose
// holder waits for time to pass.
func guard(s schedule, pulse *atomic.Int64, over <-chan struct{}) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	last := int64(-1)
	for {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		now := pulse.Load()
		if now == last {
			stacks := make([]byte, 4<<20)
			panic(fmt.Sprintf("virtual time stands still in seed %d:\n%s\n%s", s.seed, s, stacks[:runtime.Stack(stacks, true)]))
		}
		last = now
	}
}

// shrink leaves out what a failure doesn't need, as far as a few runs can tell.
func shrink(t *testing.T, s schedule, findings, trace []string, codec *wire.Codec) (schedule, []string, []string) {
	t.Helper()
	tries := 30
	if os.Getenv("SPINE_SIM_MISTAKES") != "" { // that it fails is enough
		tries = 0
	}
	for size := len(s.steps) / 2; size > 0 && tries > 0; size /= 2 {
		for to := len(s.steps); to > 0 && tries > 0; to -= size {
			fewer := s
			fewer.steps = append(append([]step{}, s.steps[:max(0, to-size)]...), s.steps[to:]...)
			tries--
			if f, tr := play(t, fewer, codec); len(f) > 0 {
				s, findings, trace = fewer, f, tr
			}
		}
	}
	return s, findings, trace
}

func save(t *testing.T, s schedule, trace []string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spine-simulation-")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"schedule.txt": s.String(), "trace.txt": strings.Join(trace, "\n") + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// warm makes a codec that has asked the registry for all that it will need: within a
// bubble there is no network.
func warm(t *testing.T) *wire.Codec {
	t.Helper()
	fake := srfake.New()
	defer fake.Close()
	client, err := sr.NewClient(sr.URLs(fake.URL()), sr.HTTPClient(&http.Client{Timeout: 10 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	for subject, text := range map[string]string{
		"spine.order.OrderCancelledV1":        order.CancelledV1{}.AvroSchema(),
		"spine.stock.StockShortageDetectedV1": stock.ShortageDetectedV1{}.AvroSchema(),
	} {
		if _, err := client.CreateSchema(t.Context(), subject, sr.Schema{Schema: text, Type: sr.TypeAvro}); err != nil {
			t.Fatal(err)
		}
	}
	codec := wire.NewCodec(wire.NewRegistry(client))
	in, err := record(t.Context(), codec, "k", "0")
	if err != nil {
		t.Fatal(err)
	}
	if err := codec.Decode(t.Context(), in, &order.CancelledV1{}); err != nil {
		t.Fatal(err)
	}
	out, err := shortageRecord(t.Context(), codec)
	if err != nil {
		t.Fatal(err)
	}
	if err := codec.Decode(t.Context(), out, &stock.ShortageDetectedV1{}); err != nil {
		t.Fatal(err)
	}
	return codec
}

// What is printed of a schedule is what is run again.
func TestSchedule_roundTrip(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		s := draw(seed)
		again, err := parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("seed %d: %v\n%s\nbecame\n%s", seed, err, s, again)
		}
	}
}
