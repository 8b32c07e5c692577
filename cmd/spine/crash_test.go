package main_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/app/play"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers"
)

// TestCrash kills what runs at random moments while a day is sent to it, at least 20
// times, and then holds what was acknowledged against what stands: nothing lost,
// nothing doubled, nothing invented, order kept. On embedded parts all of Spine and
// its parts are one process; on real parts each role is one.
//
// SPINE_TEST_KILLS makes it longer, SPINE_TEST_SEED plays a day and its kills again
// (the moments are those of the answers: no two runs are the same to the microsecond).
func TestCrash(t *testing.T) {
	parallel(t)
	kills, seed := number(t, "SPINE_TEST_KILLS", 20), uint64(number(t, "SPINE_TEST_SEED", int(rand.Uint32())))
	t.Logf("SPINE_TEST_SEED=%d SPINE_TEST_KILLS=%d", seed, kills)
	b := newBackbone(t, seed)
	b.startAll()
	eventually(t, 60*time.Second, "starting", b.allReady)

	calls := b.day(seed, 10*kills)
	word := theWord(t, slices.Values(calls))
	report := b.sendWhileKilling(calls, kills)
	if report.Failed > 0 || len(report.Unexpected) > 0 {
		t.Errorf("%d calls were never answered; unexpected answers: %s", report.Failed, strings.Join(report.Unexpected, "\n"))
	}
	for range 2 { // and while the groups work off what is left
		b.kill(b.rand.IntN(len(b.processes)), time.Duration(b.rand.IntN(200))*time.Millisecond)
	}
	eventually(t, 60*time.Second, "coming back", b.allReady)
	b.place.settle(t, patience())

	l := openLedger(t, b.place, report.Accepted)
	l.check(word)
	l.checkGroups()
	l.verdict()
	t.Logf("%d kills; %s", b.killed, l.tally())
	for _, p := range b.processes {
		p.stop(t)
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// backbone is Spine as processes that can be killed.
type backbone struct {
	t         *testing.T
	place     *place
	processes []*process
	rand      *rand.Rand
	killed    int
}

func newBackbone(t *testing.T, seed uint64) *backbone {
	t.Helper()
	suffix := ""
	if realParts() { // topics are shared, names are not
		suffix = "-" + strconv.FormatUint(uint64(rand.Uint32()), 36)
	}
	shops, skus := demoShops(suffix)
	p := newPlace(t, shops)
	p.groups = "groups:\n  inventory:\n    stock: " + stockFile(t, p.dir, shops, skus) + "\n    pools:\n"
	for _, s := range shops {
		p.groups += "      " + s.Instance.Name + ": {warehouses: [" + s.Instance.Warehouses[0] + "]}\n"
	}
	b := &backbone{t: t, place: p, rand: rand.New(rand.NewPCG(seed, 1))}
	if !realParts() {
		p.configure(t)
		b.processes = []*process{{name: "dev", args: p.devArgs(), ops: p.ops}}
		return b
	}
	p.brokers, p.registry, p.database = os.Getenv("SPINE_TEST_BROKERS"), os.Getenv("SPINE_TEST_REGISTRY"), devtest.Database(t)
	p.configure(t)
	p.must(t, "topics", "apply", "--yes")
	p.must(t, "schema", "register")
	for name, words := range map[string][]string{
		"intake": {"intake"}, "translate": {"translate"},
		"stock-and-books": {"group", "inventory", "invoicing"}, "mail-and-numbers": {"group", "notifications", "analytics"},
	} {
		ops := freeAddresses(t, 1)[0]
		// Each process has its own address for health; the file serves all.
		file := filepath.Join(p.dir, name+".yaml")
		text, err := os.ReadFile(filepath.Join(p.dir, "spine.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, strings.Replace(string(text), "ops: {listen: "+p.ops+"}", "ops: {listen: "+ops+"}", 1))
		args := append(append([]string{"run"}, words...), slices.Replace(p.args(), 1, 2, file)...)
		b.processes = append(b.processes, &process{name: name, args: args, ops: ops})
	}
	slices.SortFunc(b.processes, func(a, b *process) int { return strings.Compare(a.name, b.name) })
	return b
}

// stockFile has plenty of all articles but the last one, which runs out.
func stockFile(t *testing.T, dir string, shops []producer.Shop, skus []string) string {
	t.Helper()
	var csv strings.Builder
	csv.WriteString("sku,warehouse,on_hand\n")
	for _, s := range shops {
		for i, sku := range skus {
			onHand := "100000"
			if i == len(skus)-1 {
				onHand = "3"
			}
			csv.WriteString(sku + "," + s.Instance.Warehouses[0] + "," + onHand + "\n")
		}
	}
	file := filepath.Join(dir, "stock.csv")
	writeFile(t, file, csv.String())
	return file
}

func (b *backbone) startAll() {
	for _, p := range b.processes {
		p.start(b.t, b.place.dir)
	}
}

// allReady says which process is not ready, and why.
func (b *backbone) allReady(ctx context.Context) error {
	for _, p := range b.processes {
		if err := ready(p.ops)(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// day is a day of our shops.
func (b *backbone) day(seed uint64, orders int) []producer.Call {
	var calls []producer.Call
	for _, a := range producers.All() {
		if a.Day.Calls != nil {
			calls = slices.AppendSeq(calls, a.Day.Calls(seed, orders, b.place.shops))
		}
	}
	return calls
}

// inFlight is how many calls are sent at a time.
const inFlight = 24

// sendWhileKilling sends the calls, and kills a process whenever so many are answered.
// The sender never gets far ahead of the kills, so that all of them happen while it
// sends.
func (b *backbone) sendWhileKilling(calls []producer.Call, kills int) play.Report {
	b.t.Helper()
	last := len(calls) - 3*inFlight
	if last < kills {
		b.t.Fatalf("a day of %d calls is too short for %d kills", len(calls), kills)
	}
	moments := make([]int, kills) // in answers
	for i := range moments {
		moments[i] = 1 + b.rand.IntN(last)
	}
	slices.Sort(moments)
	answered, dead := make(chan int, len(calls)), make(chan struct{}, kills)
	type result struct {
		report play.Report
		err    error
	}
	done := make(chan result, 1)
	go func() {
		report, err := play.Send(b.t.Context(), held(calls, moments, dead), play.Options{
			URL: "http://" + b.place.intake, Workers: inFlight, Retry: true, Progress: func(n int) { answered <- n },
		})
		done <- result{report, err}
	}()
	have := 0
	for i, moment := range moments {
		for have < moment {
			select {
			case have = <-answered:
			case <-time.After(time.Minute):
				b.t.Fatalf("kill %d waits for answer %d, and none came for a minute after answer %d", i+1, moment, have)
			}
		}
		b.strike()
		dead <- struct{}{}
	}
	select {
	case r := <-done:
		if r.err != nil {
			b.t.Fatalf("sending the day: %v", r.err)
		}
		return r.report
	case <-time.After(2 * time.Minute):
		b.t.Fatalf("the day is not answered two minutes after the last kill; %d of %d answers", have, len(calls))
	}
	panic("unreachable")
}

// held yields the calls; a kill that is due is waited for.
func held(calls []producer.Call, moments []int, dead <-chan struct{}) iter.Seq[producer.Call] {
	return func(yield func(producer.Call) bool) {
		next := 0
		for i, call := range calls {
			for next < len(moments) && i >= moments[next]+2*inFlight {
				<-dead
				next++
			}
			if !yield(call) {
				return
			}
		}
	}
}

// strike kills a process some milliseconds after an answer; one time in four again,
// while it starts. On real parts, a role is let back into its group before it may be
// the next one, more often than not.
func (b *backbone) strike() {
	b.t.Helper()
	victim := b.rand.IntN(len(b.processes))
	if len(b.processes) > 1 && b.rand.IntN(3) > 0 {
		eventually(b.t, time.Minute, "coming back: "+b.processes[victim].name, ready(b.processes[victim].ops))
		<-time.After(time.Duration(b.rand.IntN(1500)) * time.Millisecond) // it works
	}
	b.kill(victim, time.Duration(b.rand.IntN(15_000))*time.Microsecond)
	if b.rand.IntN(4) == 0 {
		b.kill(victim, time.Duration(b.rand.IntN(400))*time.Millisecond)
	}
}

// kill kills a process after a while, and starts it again.
func (b *backbone) kill(victim int, after time.Duration) {
	b.t.Helper()
	<-time.After(after)
	p := b.processes[victim]
	if !p.kill() {
		b.t.Fatalf("%s ended by itself:\n%s", p.name, p.lastWords())
	}
	b.killed++
	p.start(b.t, b.place.dir)
}
