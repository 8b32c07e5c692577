package topic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/topic"
)

var update = flag.Bool("update", false, "write the golden files")

func admin(t *testing.T, p devtest.Set) *kadm.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(p.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kadm.NewClient(c)
}

// spec is a small topic under a name of this test's own, deleted with the test.
func spec(t *testing.T, a *kadm.Client) topic.Spec {
	t.Helper()
	s := topic.Spec{
		Name: "test." + devtest.Unique(t, "a") + ".events", Class: topic.Control, Aggregate: "a", Owner: "tests", Doc: "Of a test.",
		Key: topic.Key{Form: "k", Doc: "k"}, Partitions: 2, Retention: topic.Retention(24 * time.Hour), Facts: []string{"a.tested.v1"},
		Config: map[string]string{"max.message.bytes": "2097152"},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second) // the test's own is done
		defer cancel()
		if _, err := a.DeleteTopics(ctx, s.Name); err != nil {
			t.Logf("deleting %s: %v", s.Name, err)
		}
	})
	return s
}

// plan makes a plan and leaves out what other tests have in the same cluster.
func plan(t *testing.T, a *kadm.Client, want ...topic.Spec) topic.Plan {
	t.Helper()
	p, err := topic.MakePlan(t.Context(), a, want, topic.Options{ReplicationFactor: 1})
	if err != nil {
		t.Fatal(err)
	}
	p.Changes = slices.DeleteFunc(p.Changes, func(c topic.Change) bool {
		return c.Action == topic.Extra && !slices.ContainsFunc(want, func(s topic.Spec) bool { return strings.HasPrefix(c.Topic, s.Name) })
	})
	return p
}

func apply(t *testing.T, a *kadm.Client, p topic.Plan, destroy ...string) {
	t.Helper()
	if err := topic.Apply(t.Context(), a, p, destroy...); err != nil {
		t.Fatal(err)
	}
}

func actions(p topic.Plan) []topic.Action {
	got := []topic.Action{}
	for _, c := range p.Changes {
		got = append(got, c.Action)
	}
	return got
}

func TestApplyThenPlanIsEmpty(t *testing.T) {
	t.Parallel()
	a := admin(t, devtest.Parts(t))
	s := spec(t, a)
	first := plan(t, a, s)
	if diff := cmp.Diff([]topic.Action{topic.Create}, actions(first)); diff != "" || !first.Drift() {
		t.Fatalf("first plan (-want +got):\n%s", diff)
	}
	apply(t, a, first)
	second := plan(t, a, s)
	if len(second.Changes) != 0 || second.Unchanged != 1 || second.Drift() {
		t.Errorf("plan after apply = %+v; want no change", second)
	}
	apply(t, a, first) // another one was faster
	apply(t, a, second)
}

func TestSettingsDrift(t *testing.T) {
	t.Parallel()
	a := admin(t, devtest.Parts(t))
	s := spec(t, a)
	apply(t, a, plan(t, a, s))
	// Somebody changes a setting, and sets one that nobody declares.
	_, err := a.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "max.message.bytes", Value: kadm.StringPtr("1000")},
		{Op: kadm.SetConfig, Name: "compression.type", Value: kadm.StringPtr("zstd")},
	}, s.Name)
	if err != nil {
		t.Fatal(err)
	}
	var p topic.Plan
	devtest.Eventually(t, 10*time.Second, "the broker shows the change", func() bool {
		p = plan(t, a, s)
		return len(p.Changes) == 1 && len(p.Changes[0].Diffs) == 2
	})
	want := []topic.Diff{
		{Setting: "max.message.bytes", Actual: "1000", Declared: "2097152"},
		{Setting: "compression.type", Actual: "zstd"},
	}
	if diff := cmp.Diff(want, p.Changes[0].Diffs); diff != "" || p.Changes[0].Action != topic.Alter {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
	apply(t, a, p)
	devtest.Eventually(t, 10*time.Second, "the drift is gone", func() bool { return !plan(t, a, s).Drift() })
}

func TestPartitionsNeverChangeInPlace(t *testing.T) {
	t.Parallel()
	a := admin(t, devtest.Parts(t))
	s := spec(t, a)
	apply(t, a, plan(t, a, s))
	s.Partitions = 3
	p := plan(t, a, s)
	if diff := cmp.Diff([]topic.Action{topic.Blocked}, actions(p)); diff != "" || !p.Drift() {
		t.Fatalf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]topic.Diff{{Setting: "partitions", Actual: "2", Declared: "3"}}, p.Changes[0].Diffs); diff != "" {
		t.Error(diff)
	}
	apply(t, a, p)
	found, err := a.ListTopics(t.Context(), s.Name)
	if err != nil || len(found[s.Name].Partitions) != 2 {
		t.Errorf("partitions after apply = %d, %v; want 2 as before", len(found[s.Name].Partitions), err)
	}
}

func TestLossIsNamed(t *testing.T) {
	t.Parallel()
	parts := devtest.Parts(t)
	if !parts.Real {
		t.Skip("nothing expires on the embedded broker")
	}
	a := admin(t, parts)
	s := spec(t, a)
	apply(t, a, plan(t, a, s))
	s.Retention = topic.Retention(time.Hour)
	p := plan(t, a, s)
	var loss *topic.LossError
	if err := topic.Apply(t.Context(), a, p); !errors.As(err, &loss) || !slices.Equal(loss.Topics, []string{s.Name}) {
		t.Fatalf("shortening the retention: %v; want a LossError that names %s", err, s.Name)
	}
	if !plan(t, a, s).Drift() {
		t.Error("the refused plan was applied")
	}
	apply(t, a, p, s.Name)
	devtest.Eventually(t, 10*time.Second, "the retention is shorter", func() bool { return !plan(t, a, s).Drift() })
}

func TestExtraTopicsAreReported(t *testing.T) {
	t.Parallel()
	parts := devtest.Parts(t)
	a := admin(t, parts)
	s := spec(t, a)
	apply(t, a, plan(t, a, s))
	p, err := topic.MakePlan(t.Context(), a, nil, topic.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Changes, func(c topic.Change) bool { return c.Topic == s.Name && c.Action == topic.Extra }) {
		t.Errorf("%s is declared by nobody and not reported", s.Name)
	}
	if p.Drift() {
		t.Error("topics that nobody declares count as drift")
	}
}

func TestEmbeddedBrokerKeepsEverything(t *testing.T) {
	t.Parallel()
	parts := devtest.Parts(t)
	if parts.Real {
		t.Skip("about the embedded broker")
	}
	a := admin(t, parts)
	s := spec(t, a)
	p := plan(t, a, s)
	if p.Cluster != topic.EmbeddedCluster {
		t.Errorf("cluster id of the embedded broker = %q; want %q", p.Cluster, topic.EmbeddedCluster)
	}
	apply(t, a, p)
	infos, err := topic.List(t.Context(), a, []topic.Spec{s})
	if err != nil || len(infos) != 1 || infos[0].Config["retention.ms"] != "-1" {
		t.Errorf("list = %+v, %v; want one topic that keeps everything", infos, err)
	}
}

func TestReplication(t *testing.T) {
	t.Parallel()
	a := admin(t, devtest.Parts(t))
	s := spec(t, a)
	brokers, err := a.ListBrokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := topic.MakePlan(t.Context(), a, []topic.Spec{s}, topic.Options{})
	if err != nil || p.ReplicationFactor != min(3, len(brokers)) {
		t.Errorf("default replication factor = %d, %v; want %d", p.ReplicationFactor, err, min(3, len(brokers)))
	}
	p, err = topic.MakePlan(t.Context(), a, []topic.Spec{s}, topic.Options{ReplicationFactor: 3})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(p.Changes[0].Diffs, topic.Diff{Setting: "min.insync.replicas", Declared: "2"}) {
		t.Errorf("three replicas without min.insync.replicas 2: %+v", p.Changes[0].Diffs)
	}
	apply(t, a, plan(t, a, s))
	p, err = topic.MakePlan(t.Context(), a, []topic.Spec{s}, topic.Options{ReplicationFactor: 3})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Changes, func(c topic.Change) bool {
		return c.Action == topic.Blocked && c.Topic == s.Name && c.Diffs[0] == topic.Diff{Setting: "replication.factor", Actual: "1", Declared: "3"}
	}) {
		t.Errorf("fewer replicas than declared are not reported: %+v", p.Changes)
	}
}

func TestListCounts(t *testing.T) {
	t.Parallel()
	parts := devtest.Parts(t)
	a := admin(t, parts)
	s, absent := spec(t, a), spec(t, a)
	apply(t, a, plan(t, a, s))
	c, err := kgo.NewClient(kgo.SeedBrokers(parts.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, partition := range []int32{0, 1, 1} {
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: s.Name, Partition: partition}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	infos, err := topic.List(t.Context(), a, []topic.Spec{s, absent})
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		switch info.Name {
		case s.Name:
			if info.Records != 3 || info.Partitions != 2 || info.Placement[1].End != 2 || !info.Exists {
				t.Errorf("%+v; want 3 records in 2 partitions, 2 of them in partition 1", info)
			}
		case absent.Name:
			if info.Exists || info.Partitions != 0 {
				t.Errorf("%+v; want a topic that does not exist", info)
			}
		}
	}
}

// afterAnswer does something once, when the first answer to a request of this key was
// read and is not looked at yet.
type afterAnswer struct {
	key  kmsg.Key
	once sync.Once
	do   func()
}

func (h *afterAnswer) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == h.key.Int16() {
		h.once.Do(h.do)
	}
}

// Somebody deletes a topic between two requests of one look: the look is taken again,
// and does not fail.
func TestTopicGoesMeanwhile(t *testing.T) {
	t.Parallel()
	parts := devtest.Parts(t)
	a := admin(t, parts)
	for name, tt := range map[string]struct {
		after kmsg.Key
		look  func(context.Context, *kadm.Client, topic.Spec) (gone bool, err error)
	}{
		"list": {kmsg.ListOffsets, func(ctx context.Context, a *kadm.Client, s topic.Spec) (bool, error) {
			infos, err := topic.List(ctx, a, []topic.Spec{s})
			return slices.ContainsFunc(infos, func(i topic.Info) bool { return i.Name == s.Name && !i.Exists }), err
		}},
		"plan": {kmsg.Metadata, func(ctx context.Context, a *kadm.Client, s topic.Spec) (bool, error) {
			p, err := topic.MakePlan(ctx, a, []topic.Spec{s}, topic.Options{ReplicationFactor: 1})
			return slices.ContainsFunc(p.Changes, func(c topic.Change) bool { return c.Topic == s.Name && c.Action == topic.Create }), err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, a)
			apply(t, a, plan(t, a, s))
			hook := &afterAnswer{key: tt.after, do: func() {
				if _, err := a.DeleteTopics(t.Context(), s.Name); err != nil {
					t.Error(err)
				}
			}}
			c, err := kgo.NewClient(kgo.SeedBrokers(parts.Brokers...), kgo.WithHooks(hook))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if gone, err := tt.look(t.Context(), kadm.NewClient(c), s); err != nil || !gone {
				t.Errorf("gone = %v, %v; want the topic as one that does not exist", gone, err)
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), -update writes it:\n%s", name, diff)
	}
}

func samplePlan() topic.Plan {
	return topic.Plan{Cluster: "c1", ReplicationFactor: 3, Unchanged: 4, Changes: []topic.Change{
		{Topic: "raw.shopify", Action: topic.Create, Diffs: []topic.Diff{{Setting: "partitions", Declared: "6"}, {Setting: "retention.ms", Declared: "2419200000"}}},
		{Topic: "commerce.order.events", Action: topic.Blocked, Diffs: []topic.Diff{{Setting: "partitions", Actual: "6", Declared: "12"}}, Reason: "keys would move"},
		{Topic: "commerce.order.events", Action: topic.Alter, Diffs: []topic.Diff{
			{Setting: "retention.ms", Actual: "7776000000", Declared: "2419200000"}, {Setting: "compression.type", Actual: "zstd"},
		}, Loses: "records beyond retention.ms 2419200000"},
		{Topic: "dlq.gone", Action: topic.Extra, Diffs: []topic.Diff{}, Reason: "nobody declares it"},
	}}
}

func sampleList() []topic.Info {
	return []topic.Info{
		{
			Name: "commerce.order.events", Class: topic.Transactional, Owner: "commerce", Declared: true, Exists: true, Partitions: 2,
			ReplicationFactor: 3, Records: 7, Facts: []string{"order.placed.v2"}, Doc: "Orders.",
			Key: topic.Key{Form: "<system>/<instance>:<order id>", Doc: "The order."}, Config: map[string]string{"retention.ms": "2419200000"},
			Placement: []topic.Partition{
				{ID: 0, Leader: 1, Replicas: []int32{1, 2, 3}, InSync: []int32{1, 2}, Start: 0, End: 4},
				{ID: 1, Leader: 2, Replicas: []int32{2, 3, 1}, InSync: []int32{2, 3, 1}, Start: 2, End: 5},
			},
		},
		{Name: "dlq.gone", Exists: true, Partitions: 3, ReplicationFactor: 1, Facts: []string{}, Config: map[string]string{}, Placement: []topic.Partition{}},
		{Name: "raw.shopify", Class: topic.RawClass, Owner: "platform", Declared: true, Facts: []string{"delivery.received.v1"}, Config: map[string]string{"retention.ms": "-1"}, Placement: []topic.Partition{}},
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"plan.txt":     func(b *bytes.Buffer) error { return samplePlan().WriteText(b) },
		"plan.json":    func(b *bytes.Buffer) error { return indent(b, samplePlan()) },
		"list.txt":     func(b *bytes.Buffer) error { return topic.WriteTable(b, sampleList()) },
		"list.json":    func(b *bytes.Buffer) error { return indent(b, sampleList()) },
		"describe.txt": func(b *bytes.Buffer) error { return sampleList()[0].WriteText(b) },
		"absent.txt":   func(b *bytes.Buffer) error { return sampleList()[2].WriteText(b) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.Bytes())
		})
	}
}

func indent(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
