package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/devstack/devtest"
)

// operator is a person at a terminal beside a running dev.
type operator struct {
	t *testing.T
	d dev
}

// spine runs a command to its end, which must have the exit code.
func (o operator) spine(code int, words ...string) (stdout, stderr string) {
	o.t.Helper()
	p := start(o.t, o.t.TempDir(), o.d.env(), words...)
	var lines []string
	for line := range p.lines {
		lines = append(lines, line)
	}
	if got := p.code(time.Minute); got != code {
		o.t.Fatalf("spine %s: exit %d, want %d\n%s\n%s", strings.Join(words, " "), got, code, strings.Join(lines, "\n"), p.stderr)
	}
	return strings.Join(lines, "\n"), p.stderr.String()
}

// read runs a command that prints JSON.
func (o operator) read(into any, words ...string) {
	o.t.Helper()
	out, _ := o.spine(0, append(words, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		o.t.Fatalf("spine %s: %v in %s", strings.Join(words, " "), err, out)
	}
}

type deadKind struct {
	Fingerprint, Class, Reason, First, Last string
	Count, Quarantined                      int
	HeldKeys                                int `json:"held_keys"`
	Rows                                    []int64
}

func (o operator) dead(group string) []deadKind {
	o.t.Helper()
	var kinds []deadKind
	o.read(&kinds, "dlq", "list", "-g", group)
	return kinds
}

// poison writes a record that no group can read, with a fact's type.
func (o operator) poison(key string) {
	o.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(o.d.Kafka))
	if err != nil {
		o.t.Fatal(err)
	}
	defer client.Close()
	r := &kgo.Record{Topic: "commerce.order.events", Key: []byte(key), Value: []byte("\x00poison of " + key)}
	for _, h := range [][2]string{
		{"ce_specversion", "1.0"}, {"ce_id", "poison-" + key}, {"ce_type", "order.placed.v2"}, {"ce_source", "shopify/uk"}, {"ce_time", "2026-03-14T11:20:00Z"},
	} {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	if err := client.ProduceSync(o.t.Context(), r).FirstErr(); err != nil {
		o.t.Fatal(err)
	}
}

type redriven struct {
	Executed bool
	Rows     []struct {
		Row         int64
		Key, Result string
		Redriven    int
	}
}

// results are "key result" of what a redrive did.
func (o operator) redrive(words ...string) []string {
	o.t.Helper()
	var r redriven
	o.read(&r, append([]string{"dlq", "redrive", "-g", "inventory"}, words...)...)
	if r.Executed != slices.Contains(words, "--execute") {
		o.t.Errorf("redrive %v says executed %t", words, r.Executed)
	}
	got := []string{}
	for _, row := range r.Rows {
		got = append(got, row.Key+" "+row.Result)
	}
	return got
}

func (o operator) same(what string, want, got any) {
	o.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		o.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// diedAgain waits until inventory's dead letters count n after a redrive, of which a
// number are quarantined.
func (o operator) diedAgain(n, quarantined int) deadKind {
	o.t.Helper()
	var kinds []deadKind
	devtest.Eventually(o.t, 30*time.Second, "the poison is dead again", func() bool {
		kinds = o.dead("inventory")
		return len(kinds) == 1 && kinds[0].Count == n && kinds[0].Quarantined == quarantined
	})
	return kinds[0]
}

// TestOperator finds poison, looks at it, redrives it for one group, and drops it.
func TestOperator(t *testing.T) {
	long(t)
	t.Parallel()
	o := operator{t, startDev(t, t.TempDir())}
	o.same("nothing is dead", []deadKind{}, o.dead("inventory"))
	o.poison("shopify/uk:1")
	o.poison("shopify/uk:2")
	kind := o.diedAgain(2, 0)
	if kind.HeldKeys != 2 || len(kind.Rows) != 2 || kind.Class == "" || kind.First > kind.Last {
		t.Errorf("the dead letters: %+v", kind)
	}
	devtest.Eventually(t, 30*time.Second, "invoicing has them, too", func() bool { return len(o.dead("invoicing")) == 1 })
	row := fmt.Sprint(kind.Rows[0])

	o.lookAt(row, kind)
	o.same("a preview", []string{"shopify/uk:1 planned", "shopify/uk:2 planned"}, o.redrive())
	o.same("one key", []string{"shopify/uk:2 planned"}, o.redrive("--key", "shopify/uk:2"))
	o.same("one row", []string{"shopify/uk:1 planned"}, o.redrive("--id", row))
	o.same("a limit", []string{"shopify/uk:1 planned"}, o.redrive("--limit", "1"))
	o.same("no such fingerprint", []string{}, o.redrive("--fingerprint", "none"))
	o.same("done", []string{"shopify/uk:1 done", "shopify/uk:2 done"}, o.redrive("--fingerprint", kind.Fingerprint, "--execute", "--rate", "50"))
	if again := o.diedAgain(2, 0); again.Fingerprint != kind.Fingerprint || !slices.Equal(again.Rows, kind.Rows) {
		t.Errorf("another fault after the redrive: %+v, before %+v", again, kind)
	}
	var other struct{ Redriven int }
	o.read(&other, "dlq", "show", fmt.Sprint(o.dead("invoicing")[0].Rows[0]), "-g", "invoicing")
	o.same("the other group didn't see it again", 0, other.Redriven)

	for n := range 4 { // in circles, until it is quarantined
		o.same("again", []string{"shopify/uk:1 done"}, o.redrive("--id", row, "--execute"))
		o.diedAgain(2, n/3)
	}
	out, said := o.spine(4, "dlq", "redrive", "-g", "inventory", "--id", row, "--execute")
	if !strings.Contains(out, "quarantined") || !strings.Contains(said, "--force") {
		t.Errorf("a quarantined one: %s %s", out, said)
	}
	o.same("the others go", []string{"shopify/uk:1 quarantined", "shopify/uk:2 done"}, o.redrive("--execute"))
	o.diedAgain(2, 1)
	o.same("by force", []string{"shopify/uk:1 done"}, o.redrive("--id", row, "--execute", "--force"))
	o.diedAgain(2, 1)

	o.drop(row)
	o.fence()
	o.unowned(fmt.Sprint(kind.Rows[1]))
}

type parked struct {
	Keys []struct {
		Group, Key, State string
		Row               int64
		Behind            int
	}
	Effects []struct {
		Effect, Name, Key, State, Reason string
		Attempts                         int
	}
	Rooms []struct{ Rows, Bytes, Limit int64 }
}

func (o operator) parked(group string) parked {
	o.t.Helper()
	var p parked
	o.read(&p, "parked", "list", "-g", group)
	return p
}

// lookAt shows a dead letter in all the ways.
func (o operator) lookAt(row string, kind deadKind) {
	o.t.Helper()
	var shown struct {
		Group, State, Fingerprint, Class string
		Attempts                         int
		HoldsKey                         bool `json:"holds_key"`
		Record                           struct {
			Topic, Key string
			Error      struct{ Code string }
			Value      []byte `json:"value_base64"`
		}
	}
	o.read(&shown, "dlq", "show", row, "-g", "inventory")
	if shown.State != "dead" || !shown.HoldsKey || shown.Fingerprint != kind.Fingerprint || shown.Record.Error.Code == "" {
		o.t.Errorf("shown: %+v", shown)
	}
	o.same("its bytes", "\x00poison of shopify/uk:1", string(shown.Record.Value))
	text, _ := o.spine(0, "parked", "show", row, "-g", "inventory")
	if !strings.Contains(text, "cannot be decoded") || !strings.Contains(text, "fingerprint "+kind.Fingerprint) {
		o.t.Errorf("shown to people: %s", text)
	}
	waits := o.parked("inventory")
	keys := waits.Keys
	if len(waits.Rooms) != 1 || waits.Rooms[0].Rows < 2 || waits.Rooms[0].Bytes == 0 || waits.Rooms[0].Limit != 256<<20 {
		o.t.Errorf("the waiting room: %+v", waits.Rooms)
	}
	if len(keys) != 2 || keys[0].State != "dead" || keys[0].Key != "shopify/uk:1" || fmt.Sprint(keys[0].Row) != row {
		o.t.Errorf("keys that wait: %+v", keys)
	}
	for condition, want := range map[string]int{`key == "shopify/uk:2" && reason != ""`: 1, `redriven == 0 && reason != ""`: 2, `class == "none"`: 0} {
		var some parked
		o.read(&some, "parked", "list", "-g", "inventory", "--where", condition)
		if len(some.Keys) != want || len(some.Rooms) != 1 {
			o.t.Errorf("keys for which %s: %+v, want %d", condition, some, want)
		}
	}
	if _, said := o.spine(4, "parked", "retry", row, "-g", "inventory"); !strings.Contains(said, "dlq redrive") {
		o.t.Errorf("a retry of a dead one: %s", said)
	}
	o.spine(2, "parked", "retry", "-g", "inventory")
	o.spine(2, "dlq", "show", "999", "-g", "inventory")
	o.spine(2, "dlq", "list")
	o.spine(2, "dlq", "redrive", "-g", "nobody")
}

// drop asks first, then removes the row for good.
func (o operator) drop(row string) {
	o.t.Helper()
	_, said := o.spine(4, "parked", "drop", row, "-g", "inventory")
	if !strings.Contains(said, "row "+row+": commerce.order.events/") || !strings.Contains(said, "--yes") {
		o.t.Errorf("what would be dropped: %s", said)
	}
	if out, _ := o.spine(0, "parked", "drop", row, "-g", "inventory", "--yes"); !strings.Contains(out, "done") {
		o.t.Errorf("dropped: %s", out)
	}
	o.diedAgain(1, 0)
	o.same("keys that wait", 1, len(o.parked("inventory").Keys))
}

// fence asks first; then all groups start over from their store, and work on.
func (o operator) fence() {
	o.t.Helper()
	if _, said := o.spine(4, "groups", "fence"); !strings.Contains(said, "inventory: ") || !strings.Contains(said, "--yes") {
		o.t.Errorf("what would be fenced: %s", said)
	}
	o.spine(2, "groups", "fence", "nobody")
	var fenced []struct {
		Group      string
		Ownerships int
	}
	o.read(&fenced, "groups", "fence", "inventory", "--yes")
	if len(fenced) != 1 || fenced[0].Group != "inventory" || fenced[0].Ownerships == 0 {
		o.t.Errorf("fenced: %+v", fenced)
	}
	o.spine(0, "groups", "fence", "--yes")
	o.poison("shopify/uk:3")
	o.diedAgain(2, 0)
}

// unowned: without an owner a request stays, and nothing is written but it.
func (o operator) unowned(row string) {
	o.t.Helper()
	if code := o.d.end(syscall.SIGTERM); code != 0 {
		o.t.Fatalf("dev ended with %d", code)
	}
	out, said := o.spine(0, "dlq", "redrive", "-g", "inventory", "--id", row, "--execute")
	if !strings.Contains(out, "asked") || !strings.Contains(said, "the next owner") {
		o.t.Errorf("without an owner: %s %s", out, said)
	}
	o.same("still dead", 1, len(o.dead("inventory")))
}
