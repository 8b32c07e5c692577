package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/eventspine/spine/pkg/devstack"
	"github.com/eventspine/spine/pkg/devstack/devtest"
)

// topicOfOrders has what the witnesses read.
const topicOfOrders = "commerce.order.events"

// admin asks the broker.
func (o operator) admin() *kadm.Client {
	o.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(o.d.Kafka))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// published counts the records that a topic was ever given.
func (o operator) published(topic string) (n int64) {
	o.t.Helper()
	ends, err := o.admin().ListEndOffsets(o.t.Context(), topic)
	if err != nil {
		o.t.Fatal(err)
	}
	ends.Each(func(l kadm.ListedOffset) { n += l.Offset })
	return n
}

// bench has parts in this process, and a spine with the witnesses that comes and goes.
type bench struct {
	operator
	cluster *kfake.Cluster
	broken  string // file: while it exists, witness refuses all
}

// newBench has the topics and the schemas; nothing runs yet.
func newBench(t *testing.T) bench {
	t.Helper()
	stack, err := devstack.Start(t.Context(), devstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	b := benchAt(t, stack.Cluster(), stack)
	b.spine(0, "topics", "apply", "--yes")
	return b
}

func benchAt(t *testing.T, cluster *kfake.Cluster, stack *devstack.Stack) bench {
	t.Helper()
	b := bench{operator{t: t}, cluster, filepath.Join(t.TempDir(), "broken")}
	b.d.Kafka, b.d.Registry, b.d.Data, b.d.Ops = cluster.ListenAddrs()[0], stack.RegistryURL(), t.TempDir(), free(t)
	config := filepath.Join(b.d.Data, "spine.yaml")
	text := "ops: {listen: " + b.d.Ops + "}\ninstances:\n  shopify/uk: {secret: env:SECRET, time_zone: Europe/London, shop_domain: uk.myshopify.com}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.d.more = []string{witnesses + "=" + b.broken, "SPINE_CONFIG=" + config, "SECRET=s"}
	b.spine(0, "schema", "register")
	return b
}

// run runs both groups; they are ready.
func (b bench) run() *process {
	b.t.Helper()
	p := start(b.t, b.d.Data, b.d.env(), "run", "group", "witness", "onlooker")
	devtest.Eventually(b.t, time.Minute, "the groups are ready", func() bool {
		select {
		case <-p.ended:
			b.t.Fatalf("spine run ended: %v\n%s", p.err, p.stderr)
		default:
		}
		resp, err := http.Get("http://" + b.d.Ops + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// stop ends what runs, as an operator does.
func (b bench) stop(p *process) {
	b.t.Helper()
	if code := p.end(syscall.SIGTERM); code != 0 {
		b.t.Errorf("exit %d after SIGTERM\n%s", code, p.stderr)
	}
}

// described is what groups describe says of a group, as far as a test looks at it.
type described struct {
	State      string
	Members    []struct{ ID string }
	Lag        int64
	LagSeconds float64 `json:"lag_seconds"`
	Handled    int
	Partitions []struct {
		Topic                       string
		Partition                   int32
		NextOffset                  int64 `json:"next_offset"`
		Committed, End, Lag         int64
		LagSeconds                  float64 `json:"lag_seconds"`
		Waiting, Dead, HeldKeysLeft int
	}
}

func (b bench) describe(group string) (d described) {
	b.t.Helper()
	b.read(&d, "groups", "describe", group)
	return d
}

// handled waits until a group has handled so many and has nothing left.
func (b bench) handled(group string, n int) {
	b.t.Helper()
	devtest.Eventually(b.t, time.Minute, group+" is done", func() bool {
		d := b.describe(group)
		return d.Handled == n && d.Lag == 0
	})
}

// behind is the age of a time in seconds, as the command that runs now has to say it.
func (b bench) behind(what string, group string, at time.Time) {
	b.t.Helper()
	least := time.Since(at).Seconds()
	d := b.describe(group)
	if most := time.Since(at).Seconds(); d.LagSeconds < least-1 || d.LagSeconds > most+1 {
		b.t.Errorf("%s: lag in time %.3f s, want %.3f to %.3f: %+v", what, d.LagSeconds, least, most, d)
	}
}

// committed is what the broker was told of the one partition that has records.
func (b bench) committed(group string) kadm.OffsetResponse {
	b.t.Helper()
	all, err := b.admin().FetchOffsets(b.t.Context(), group)
	if err != nil {
		b.t.Fatal(err)
	}
	var found []kadm.OffsetResponse
	for _, p := range b.describe(group).Partitions {
		if p.End > 0 {
			o, _ := all.Lookup(p.Topic, p.Partition)
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		b.t.Fatalf("%d partitions have records, want 1: %+v", len(found), found)
	}
	return found[0]
}

// With the consumer stopped, the lag in time comes from what it has told the broker
// alone; where that is of another offset, a reset tells what is right or it is asked.
func TestGroups_lagInTime(t *testing.T) {
	long(t)
	t.Parallel()
	b := newBench(t)
	old, young := time.Now().Add(-100*time.Second).Truncate(time.Millisecond), time.Now().Add(-40*time.Second).Truncate(time.Millisecond)
	b.publish(facts{keys: 1, labels: 1, at: old})
	b.publish(facts{keys: 1, firstLabel: 1, labels: 1, at: young})
	p := b.run()
	b.handled("witness", 2)
	b.same("nothing is left to do", 0.0, b.describe("witness").LagSeconds)
	b.stop(p)

	b.publish(facts{keys: 1, firstLabel: 2, labels: 3})
	b.noFetch(func() { b.behind("stopped", "witness", young) })
	b.same("records", int64(3), b.describe("witness").Lag)

	// Set by a person without a member: what the broker is told is right again.
	out, _ := b.spine(0, "groups", "reset", "witness", "--to", "-1", "--execute")
	if !strings.Contains(out, "done") {
		t.Errorf("reset: %s", out)
	}
	o := b.committed("witness")
	b.same("committed", int64(1), o.At)
	b.behind("set back by one", "witness", old)
	b.spine(0, "groups", "reset", "witness", "--to", "earliest", "--execute")
	b.same("committed", int64(0), b.committed("witness").At)
	b.behind("set back to the first", "witness", old)

	// Set back under a living owner, who has not told the broker yet.
	p = b.run()
	b.handled("witness", 5)
	writing, err := storeOf(t, b.d).SQL().BeginTx(t.Context(), nil) // so that the owner doesn't stop while it writes
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.cmd.Process.Signal(syscall.SIGSTOP), writing.Rollback()); err != nil {
		t.Fatal(err)
	}
	_, said := b.spine(0, "groups", "reset", "witness", "--to", "earliest", "--execute")
	if !strings.Contains(said, "1 members run it") {
		t.Errorf("beside a member: %s", said)
	}
	b.same("the broker knows the offset from before", int64(5), b.committed("witness").At)
	b.same("records", int64(5), b.describe("witness").Lag)
	b.behind("set back under its owner", "witness", old)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.handled("witness", 5)
	b.stop(p)
	b.same("handled once", counts{5, 5, 0, 0}, b.counts(storeOf(t, b.d), "witness"))
}

// Records that came before the window in which the inbox remembers may be handled again
// after a reset: the preview warns of them, and of no younger one.
func TestGroups_resetBeforeTheWindow(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"log.retention.ms": "-1"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	stack, err := devstack.Start(t.Context(), devstack.Options{}) // for its registry: the embedded broker's inbox forgets nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	b := benchAt(t, cluster, stack)
	if _, err := b.admin().CreateTopics(t.Context(), 1, 1, nil, topicOfOrders, "dlq.witness", "dlq.onlooker"); err != nil {
		t.Fatal(err)
	}
	b.publish(facts{keys: 1, labels: 2, at: time.Now().AddDate(0, 0, -40)})
	b.publish(facts{keys: 1, firstLabel: 2, labels: 3})
	p := b.run()
	b.handled("witness", 5)
	var r struct {
		Partitions []struct {
			Repeated, Known, Forgotten int
			Warning                    string
		}
	}
	b.read(&r, "groups", "reset", "witness", "--to", "earliest")
	if len(r.Partitions) != 1 || r.Partitions[0].Repeated != 5 || r.Partitions[0].Forgotten != 2 ||
		r.Partitions[0].Warning != "the inbox may have forgotten 2 of the records from 0 on: they would be handled AGAIN" {
		t.Errorf("back to what it may have forgotten: %+v", r)
	}
	if _, said := b.spine(0, "groups", "reset", "witness", "--to", "earliest"); !strings.Contains(said, topicOfOrders+"/0: WARNING: the inbox may have forgotten 2") {
		t.Errorf("people are told: %s", said)
	}
	b.read(&r, "groups", "reset", "witness", "--to", "-3")
	if r.Partitions[0].Repeated != 3 || r.Partitions[0].Forgotten != 0 || r.Partitions[0].Known != 3 {
		t.Errorf("back to what it remembers: %+v", r)
	}
	b.stop(p)
}

// noFetch fails the test if anybody reads records from the broker meanwhile.
func (b bench) noFetch(do func()) {
	b.t.Helper()
	var watching atomic.Bool
	watching.Store(true)
	b.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		if watching.Load() {
			b.cluster.KeepControl()
			b.t.Error("records were read")
		}
		return nil, nil, false
	})
	do()
	watching.Store(false)
}

// The JSON of what operators look at is a contract: the times and the names that the
// broker gives are other ones each time.
func TestOperator_json(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := os.WriteFile(b.broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.publish(facts{keys: 1, labels: 2})
	p := b.run()
	db := storeOf(t, b.d)
	devtest.Eventually(t, time.Minute, "all are handled or dead, and the broker knows", func() bool {
		told := b.counts(db, "witness") == counts{0, 0, 1, 1}
		for _, group := range []string{"witness", "onlooker"} {
			for _, p := range b.describe(group).Partitions {
				told = told && p.Committed == p.End && p.NextOffset == p.End
			}
		}
		return told
	})
	for name, command := range map[string]string{
		"groups_list":     "groups list",
		"groups_describe": "groups describe witness",
		"groups_reset":    "groups reset witness --topic commerce.order.events --partition PARTITION --to 0",
		"dlq_list":        "dlq list -g witness",
		"dlq_redrive":     "dlq redrive -g witness",
		"parked_list":     "parked list -g witness",
		"replay":          "replay -g onlooker --since start",
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range b.describe("witness").Partitions {
				if p.End > 0 {
					command = strings.ReplaceAll(command, "PARTITION", strconv.Itoa(int(p.Partition)))
				}
			}
			out, _ := b.spine(0, append(strings.Fields(command), "-o", "json")...)
			golden(t, name, out)
		})
	}
	b.stop(p)
}

// golden holds JSON against a file.
func golden(t *testing.T, name, out string) {
	t.Helper()
	var text bytes.Buffer
	if err := json.Indent(&text, []byte(out), "", "  "); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	got := regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`).ReplaceAllString(text.String(), `"TIME"`)
	got = regexp.MustCompile(`("(?:id|client_id|host)": )"[^"]*"`).ReplaceAllString(got, `$1"*"`) + "\n"
	file := filepath.Join("testdata", "json", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// deletion is what groups delete says.
type deletion struct {
	Group, Kafka string
	Offsets      int
	Store        []struct {
		Table string
		Rows  int
	}
}

// A group is deleted at the broker, and with --store in its store; the other one stays.
func TestGroups_delete(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := os.WriteFile(b.broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.publish(facts{keys: 3, labels: 2})
	p := b.run()
	db := storeOf(t, b.d)
	devtest.Eventually(t, time.Minute, "three keys are dead", func() bool {
		return b.counts(db, "witness") == counts{0, 0, 3, 3} && b.counts(db, "onlooker").Calls == 6
	})
	if err := os.Remove(b.broken); err != nil {
		t.Fatal(err)
	}
	if _, said := b.spine(4, "groups", "delete", "witness", "--store", "--yes"); !strings.Contains(said, "1 members run witness: stop them first") {
		t.Errorf("while it runs: %s", said)
	}
	b.stop(p)
	b.spine(2, "groups", "delete", "nobody", "--yes")
	if _, said := b.spine(4, "groups", "delete", "witness", "--store"); !strings.Contains(said, "in the store: spine_waiting, 6 rows") {
		t.Errorf("nobody can be asked: %s", said)
	}
	b.same("nothing was deleted", counts{0, 0, 3, 3}, b.counts(db, "witness"))

	var d deletion
	b.read(&d, "groups", "delete", "witness", "--yes")
	if d.Group != "witness" || d.Kafka != "Empty" || d.Offsets == 0 || len(d.Store) != 0 {
		t.Errorf("deleted at the broker: %+v", d)
	}
	b.atBroker("witness", false)
	b.atBroker("onlooker", true)
	b.same("its store stays", counts{0, 0, 3, 3}, b.counts(db, "witness"))

	b.read(&d, "groups", "delete", "witness", "--store", "--yes")
	rows := map[string]int{}
	for _, s := range d.Store {
		rows[s.Table] = s.Rows
	}
	if d.Kafka != "Dead" || d.Offsets != 0 || rows["spine_waiting"] != 6 || rows["spine_ownership"] == 0 {
		t.Errorf("deleted from the store: %+v", d)
	}
	b.same("nothing is left", counts{}, b.counts(db, "witness"))
	b.same("it has never run", 0, len(b.describe("witness").Partitions))
	b.same("the other group's", 6, b.describe("onlooker").Handled)

	p = b.run() // it is new, and begins at its start
	b.handled("witness", 6)
	b.same("as new", counts{6, 6, 0, 0}, b.counts(db, "witness"))
	b.same("the other one", counts{6, 6, 0, 0}, b.counts(db, "onlooker"))
	b.stop(p)
}

// atBroker says whether the broker knows a group.
func (b bench) atBroker(group string, want bool) {
	b.t.Helper()
	all, err := b.admin().ListGroups(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	_, listed := all[group]
	offsets, err := b.admin().FetchOffsets(b.t.Context(), group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		b.t.Fatal(err)
	}
	if listed != want || (len(offsets.Sorted()) > 0) != want {
		b.t.Errorf("%s at the broker: listed %t with %d offsets, want %t", group, listed, len(offsets.Sorted()), want)
	}
}
