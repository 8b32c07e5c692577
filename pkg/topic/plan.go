package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// EmbeddedCluster is the cluster id of the embedded broker. It keeps everything, so
// a plan for it asks for retention.ms = -1 whatever is declared.
const EmbeddedCluster = "spine-embedded"

// Action is what a plan has to say about a topic.
type Action string

// The actions. Create and Alter are what Apply does; Blocked needs a person;
// Extra is a topic of our form that nobody declares.
const (
	Create  Action = "create"
	Alter   Action = "alter"
	Blocked Action = "blocked"
	Extra   Action = "extra"
)

// Diff is one setting that differs. Declared is "" for a setting that somebody set
// and nobody declares: it goes back to the default of the cluster. Actual is ""
// for a topic that does not exist yet.
type Diff struct {
	Setting  string `json:"setting"`
	Actual   string `json:"actual"`
	Declared string `json:"declared"`
}

// Change is what differs for one topic.
type Change struct {
	Topic  string `json:"topic"`
	Action Action `json:"action"`
	Diffs  []Diff `json:"diffs"`
	Reason string `json:"reason,omitempty"` // why it is blocked, or what the extra is
	// Loses says which records an alteration lets Kafka delete; "" = none. Apply does
	// it only for topics that are named.
	Loses string `json:"loses,omitempty"`

	partitions int32
	replicas   int16
}

// Plan is the difference between what is declared and what stands. Its JSON is a
// contract.
type Plan struct {
	Cluster           string   `json:"cluster"`
	ReplicationFactor int      `json:"replication_factor"`
	Changes           []Change `json:"changes"`
	Unchanged         int      `json:"unchanged"`
}

// Drift says whether declared and actual differ. Topics that nobody declares are
// no drift: they may be somebody's.
func (p Plan) Drift() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Action != Extra })
}

// Options of a plan.
type Options struct {
	ReplicationFactor int // 0 = 3, or the number of brokers where there are fewer
}

// MakePlan compares the declared topics with a cluster. It changes nothing.
func MakePlan(ctx context.Context, admin *kadm.Client, want []Spec, o Options) (Plan, error) {
	return steady(ctx, func(ctx context.Context) (Plan, error) { return makePlan(ctx, admin, want, o) })
}

// steady looks again when a topic came or went between two answers of the cluster: a
// new one that a broker does not know yet, or one that somebody deleted meanwhile.
func steady[T any](ctx context.Context, look func(context.Context) (T, error)) (T, error) {
	const looks = 5
	ctx = kadm.WithAuthorizedOps(ctx) // else the client answers from what it knew up to 5 s ago
	for i := 1; ; i++ {
		seen, err := look(ctx)
		if i == looks || !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return seen, err
		}
		select {
		case <-time.After(time.Duration(i) * 100 * time.Millisecond):
		case <-ctx.Done():
			return seen, err
		}
	}
}

func makePlan(ctx context.Context, admin *kadm.Client, want []Spec, o Options) (Plan, error) {
	meta, err := admin.Metadata(ctx)
	if err != nil {
		return Plan{}, fmt.Errorf("reading the topics of the cluster: %w", err)
	}
	p := Plan{Cluster: meta.Cluster, ReplicationFactor: o.ReplicationFactor, Changes: []Change{}}
	if p.ReplicationFactor == 0 {
		p.ReplicationFactor = min(3, len(meta.Brokers))
	}
	var existing []string
	for _, s := range want {
		if meta.Topics.Has(s.Name) {
			existing = append(existing, s.Name)
		}
	}
	configs, err := describe(ctx, admin, existing)
	if err != nil {
		return Plan{}, err
	}
	declared := map[string]bool{}
	for _, s := range want {
		declared[s.Name] = true
		changes := p.compare(s, meta.Topics[s.Name], configs[s.Name])
		if len(changes) == 0 {
			p.Unchanged++
		}
		p.Changes = append(p.Changes, changes...)
	}
	for _, name := range meta.Topics.Names() {
		if ours(name) && !declared[name] {
			p.Changes = append(p.Changes, Change{
				Topic: name, Action: Extra, Diffs: []Diff{},
				Reason: "nobody declares it: declare it, or delete it when nothing reads it any more",
			})
		}
	}
	return p, nil
}

// compare returns what differs for one topic: nothing, or one change per action.
func (p Plan) compare(s Spec, actual kadm.TopicDetail, configs map[string]kadm.Config) []Change {
	want := p.settings(s)
	if configs == nil {
		c := Change{Topic: s.Name, Action: Create, partitions: int32(s.Partitions), replicas: int16(p.ReplicationFactor)}
		c.Diffs = append(c.Diffs, Diff{Setting: "partitions", Declared: strconv.Itoa(s.Partitions)},
			Diff{Setting: "replication.factor", Declared: strconv.Itoa(p.ReplicationFactor)})
		for _, k := range slices.Sorted(maps.Keys(want)) {
			c.Diffs = append(c.Diffs, Diff{Setting: k, Declared: want[k]})
		}
		return []Change{c}
	}
	var changes []Change
	if n := len(actual.Partitions); n != s.Partitions {
		changes = append(changes, Change{
			Topic: s.Name, Action: Blocked,
			Diffs:  []Diff{{"partitions", strconv.Itoa(n), strconv.Itoa(s.Partitions)}},
			Reason: "the number of partitions never changes in place, because keys would move and lose their order: declare a topic of another name and move readers over, or declare what stands",
		})
	}
	if n := actual.Partitions.NumReplicas(); n < p.ReplicationFactor {
		changes = append(changes, Change{
			Topic: s.Name, Action: Blocked,
			Diffs:  []Diff{{"replication.factor", strconv.Itoa(n), strconv.Itoa(p.ReplicationFactor)}},
			Reason: "replicas are moved by the cluster's own tools: kafka-reassign-partitions",
		})
	}
	alter := Change{Topic: s.Name, Action: Alter, Diffs: drift(want, configs)}
	if len(alter.Diffs) > 0 {
		alter.Loses = loses(alter.Diffs)
		changes = append(changes, alter)
	}
	return changes
}

// settings are those of the declaration, made to fit the cluster.
func (p Plan) settings(s Spec) map[string]string {
	m := s.Settings()
	if p.ReplicationFactor >= 3 {
		// promise: accepted. acks=all means two copies.
		if _, own := m["min.insync.replicas"]; !own {
			m["min.insync.replicas"] = "2"
		}
	}
	if p.Cluster == EmbeddedCluster {
		m["retention.ms"] = "-1"
	}
	return m
}

// drift compares settings by their effective value: a default of the cluster that
// is what was declared is no difference. Settings that somebody made on the topic
// and nobody declares are differences, too.
func drift(want map[string]string, configs map[string]kadm.Config) []Diff {
	var diffs []Diff
	for _, k := range slices.Sorted(maps.Keys(want)) {
		c := configs[k]
		if actual := c.MaybeValue(); actual != want[k] {
			diffs = append(diffs, Diff{k, actual, want[k]})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(configs)) {
		c := configs[k]
		if _, declared := want[k]; !declared && c.Source == kmsg.ConfigSourceDynamicTopicConfig && !c.Sensitive {
			diffs = append(diffs, Diff{Setting: k, Actual: c.MaybeValue()})
		}
	}
	return diffs
}

// loses names the records that go when diffs are applied.
func loses(diffs []Diff) string {
	var lost []string
	for _, d := range diffs {
		switch d.Setting {
		case "retention.ms", "retention.bytes":
			if shorter(d.Actual, d.Declared) {
				lost = append(lost, "records beyond "+d.Setting+" "+d.Declared)
			}
		case "cleanup.policy":
			if !strings.Contains(d.Actual, "delete") {
				lost = append(lost, "records beyond retention.ms")
			}
		}
	}
	return strings.Join(lost, "; ")
}

// shorter says whether a limit becomes tighter; -1 is none.
func shorter(actual, declared string) bool {
	a, errA := strconv.ParseInt(actual, 10, 64)
	d, errD := strconv.ParseInt(declared, 10, 64)
	if errA != nil || errD != nil || d < 0 {
		return false
	}
	return a < 0 || d < a
}

func describe(ctx context.Context, admin *kadm.Client, names []string) (map[string]map[string]kadm.Config, error) {
	found := map[string]map[string]kadm.Config{}
	if len(names) == 0 {
		return found, nil
	}
	configs, err := admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("reading the settings of topics: %w", err)
	}
	for _, r := range configs {
		if r.Err != nil {
			return nil, fmt.Errorf("reading the settings of topic %s: %w", r.Name, r.Err)
		}
		m := map[string]kadm.Config{}
		for _, c := range r.Configs {
			m[c.Key] = c
		}
		found[r.Name] = m
	}
	return found, nil
}
