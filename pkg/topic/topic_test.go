package topic_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/topic"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas"
	"github.com/eventspine/spine/topics"
)

const good = `name: commerce.order.events
class: transactional
aggregate: order
owner: commerce
doc: Orders.
key: {form: "<system>/<instance>:<order id>", doc: The order.}
partitions: 12
retention: 28d
facts: [order.placed.v1, order.placed.v2]
config: {max.message.bytes: "2097152"}
`

func load(t *testing.T, files map[string]string) (*topic.Set, error) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return topic.Load(fsys)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	set, err := load(t, map[string]string{"commerce.order.events.yaml": good, "README.md": "no topic"})
	if err != nil {
		t.Fatal(err)
	}
	want := topic.Spec{
		Name: "commerce.order.events", Class: topic.Transactional, Aggregate: "order", Owner: "commerce", Doc: "Orders.",
		Key:        topic.Key{Form: "<system>/<instance>:<order id>", Doc: "The order."},
		Partitions: 12, Retention: topic.Retention(28 * 24 * time.Hour), Facts: []string{"order.placed.v1", "order.placed.v2"},
		Config: map[string]string{"max.message.bytes": "2097152"},
	}
	got, ok := set.Spec("commerce.order.events")
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	settings := map[string]string{
		"cleanup.policy": "delete", "retention.ms": "2419200000", "segment.ms": "86400000", "max.message.bytes": "2097152",
	}
	if diff := cmp.Diff(settings, got.Settings()); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if w := got.Window(); w != 29*24*time.Hour {
		t.Errorf("window = %s; want retention and a segment, 29 days", w)
	}
	target, ok := set.Route("order.placed.v2")
	if diff := cmp.Diff(wire.Target{Topic: "commerce.order.events", Aggregate: "order"}, target); !ok || diff != "" {
		t.Errorf("route: %v\n%s", ok, diff)
	}
	if _, ok := set.Route("order.placed.v3"); ok {
		t.Error("a fact that no topic lists has a route")
	}
}

// A group remembers as long as its topic can redeliver: for good where the topic keeps
// everything, or nobody knows how long.
func TestSetWindow(t *testing.T) {
	t.Parallel()
	set, err := load(t, map[string]string{
		"commerce.order.events.yaml": good,
		"commerce.archive.events.yaml": strings.NewReplacer("commerce.order", "commerce.archive", "28d", "forever",
			"order.placed", "archive.filled").Replace(good),
		"commerce.parcel.events.yaml": strings.NewReplacer("commerce.order", "commerce.parcel", "28d", "7d",
			"order.placed", "parcel.sent", "max.message.bytes: \"2097152\"", "segment.ms: \"3600000\"").Replace(good),
	})
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	for name, want := range map[string]time.Duration{
		"commerce.order.events":   29 * day,
		"commerce.parcel.events":  7*day + time.Hour,
		"commerce.archive.events": 0,
		"raw.shopify":             29 * day,
		"other.topic.events":      0,
	} {
		if got := set.Window(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	const file = "commerce.order.events.yaml"
	change := func(before, after string) map[string]string {
		if !strings.Contains(good, before) {
			panic("the change does not apply: " + before)
		}
		return map[string]string{file: strings.Replace(good, before, after, 1)}
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"unknown field":        {change("owner:", "owners:"), file + ":4:1: unknown field"},
		"duplicate field":      {change("doc: Orders.", "doc: Orders.\ndoc: Again."), file + ":6:1: "},
		"no YAML":              {map[string]string{file: "a: [b"}, file},
		"empty":                {map[string]string{file: ""}, file},
		"two documents":        {map[string]string{file: good + "---\nname: x\n"}, "more than one document"},
		"other name":           {map[string]string{"orders.yaml": good}, "named after its topic"},
		"name without kind":    {map[string]string{"orders.yaml": strings.Replace(good, "commerce.order.events", "orders", 1)}, "want <domain>.<aggregate>.events"},
		"class":                {change("transactional", "important"), `class "important"`},
		"derived class":        {change("transactional", "raw"), `class "raw"`},
		"aggregate":            {change("aggregate: order", "aggregate: Order ID"), "aggregate"},
		"owner":                {change("owner: commerce", `owner: ""`), "owner is missing"},
		"doc":                  {change("doc: Orders.", ""), "doc is missing"},
		"key":                  {change("doc: The order.", `doc: ""`), "key needs form and doc"},
		"partitions":           {change("partitions: 12", "partitions: 0"), "partitions 0"},
		"retention unit":       {change("28d", "4w"), `retention "4w"`},
		"no retention":         {change("retention: 28d\n", ""), "retention is missing"},
		"no facts":             {change("[order.placed.v1, order.placed.v2]", "[]"), "facts is empty"},
		"fact without version": {change("order.placed.v1", "order.placed"), "order.placed"},
		"fact twice":           {change("order.placed.v1", "order.placed.v2"), "order.placed.v2 stands twice"},
		"compaction":           {change("max.message.bytes: \"2097152\"", "cleanup.policy: compact"), "not compacted"},
		"second retention":     {change("max.message.bytes", "retention.ms"), "retention.ms is the field retention"},
		"setting":              {change("max.message.bytes", "maxMessageBytes"), "not a topic setting"},
		"fact in two topics": {map[string]string{
			file: good, "commerce.payment.events.yaml": strings.ReplaceAll(good, "commerce.order.events", "commerce.payment.events"),
		}, "order.placed.v1 lives in commerce.order.events and in commerce.payment.events"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, c.files)
			if err == nil {
				t.Fatal("loaded; want an error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "d", "0d", "-1d", "+1d", "1.5d", "1dd", "28", "36501d", "Forever", "1h2d"} {
		if r, err := topic.ParseRetention(s); err == nil {
			t.Errorf("retention %q = %s; want an error", s, r)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		r := topic.Retention(time.Duration(rapid.IntRange(1, 36500).Draw(t, "hours")) * time.Hour)
		back, err := topic.ParseRetention(r.String())
		if err != nil || back != r {
			t.Errorf("%s reads as %s, %v", r, back, err)
		}
	})
	if back, err := topic.ParseRetention(topic.Forever.String()); err != nil || back != topic.Forever {
		t.Errorf("forever reads as %s, %v", back, err)
	}
}

// TestEveryFactHasATopic joins the declared topics with the schemas.
func TestEveryFactHasATopic(t *testing.T) {
	t.Parallel()
	set, err := topic.Load(topics.Files)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := schema.Load(schemas.Files)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range facts.Facts() {
		known[f.Type.String()] = true
		target, ok := set.Route(f.Type.String())
		if !ok {
			t.Errorf("%s has no topic: list it under facts in a file of topics/", f.Type)
			continue
		}
		spec, _ := set.Spec(target.Topic)
		if f.Retention != spec.Retention.String() {
			t.Errorf("%s may stay %s, its topic %s keeps it %s: make them equal", f.Type, f.Retention, spec.Name, spec.Retention)
		}
	}
	for _, spec := range set.Specs() {
		for _, f := range spec.Facts {
			if !known[f] {
				t.Errorf("%s lists %s, which has no schema: remove it or add the schema", spec.Name, f)
			}
		}
	}
}

func TestDerivedTopics(t *testing.T) {
	t.Parallel()
	set, err := topic.Load(topics.Files)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range set.All([]string{"shopify", "shopify"}, []string{"translate", "inventory"}) {
		names = append(names, s.Name)
	}
	want := []string{
		"commerce.order.events", "finance.invoice.events", "inventory.reservation.events", "notify.notification.events",
		"raw.shopify", "dlq.inventory", "dlq.translate",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
	raw := topic.Raw("shopify")
	if raw.Retention.String() != "28d" || raw.Partitions != 6 {
		t.Errorf("raw.shopify: %s, %d partitions; want 28d, 6", raw.Retention, raw.Partitions)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(good)
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := load(t, map[string]string{"commerce.order.events.yaml": text})
		if err == nil && len(set.Specs()) != 1 {
			t.Errorf("%d topics from one file", len(set.Specs()))
		}
	})
}
