package catalog_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/catalog"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/topic"
	"github.com/eventspine/spine/schemas"
	"github.com/eventspine/spine/topics"
)

var update = flag.Bool("update", false, "write the golden files")

// fact is a fact type of its name.
type fact string

// EventType implements event.Fact.
func (f fact) EventType() string { return string(f) }

// on is a handler of a fact, as consumer.On makes it.
func on(name string, upcasts ...string) consumer.Handler {
	h := consumer.Handler{Type: name}
	for _, u := range upcasts {
		h.Upcasts = append(h.Upcasts, event.Upcast{From: u})
	}
	return h
}

// fleet is one in which everything fits together.
func fleet(t *testing.T) catalog.Fleet {
	t.Helper()
	facts, err := schema.Load(schemas.Files)
	if err != nil {
		t.Fatal(err)
	}
	specs, err := topic.Load(topics.Files)
	if err != nil {
		t.Fatal(err)
	}
	return catalog.Fleet{
		Schemas: facts, Topics: specs, Inbox: 31 * 24 * time.Hour,
		Adapters: []producer.Adapter{{System: "shopify", Objects: []producer.Object{
			{Name: "order", Kinds: []string{"orders/create", "orders/updated"}, Emits: []string{"order.placed.v2", "order.cancelled.v1"}},
			{Kinds: []string{"orders/edited"}, Emits: []string{"order.edited.v1"}},
			{Kinds: []string{"order_transactions/create"}, Emits: []string{"payment.received.v1"}},
			{Kinds: []string{"refunds/create"}, Emits: []string{"refund.issued.v1"}},
		}}},
		Groups: []consumer.Group{
			{
				Name: "inventory", Owner: "operations", On: []consumer.Handler{on("order.placed.v2", "order.placed.v1"), on("order.cancelled.v1"), on("refund.issued.v1")},
				Emits: []event.Fact{fact("stock.reserved.v1"), fact("stock.reservation-released.v1"), fact("stock.shortage-detected.v1")},
			},
			{
				Name: "invoicing", Owner: "finance", Start: consumer.FromBeginning, On: []consumer.Handler{on("order.placed.v2")},
				Emits: []event.Fact{fact("invoice.created.v1"), fact("credit-note.issued.v1")},
			},
			{
				Name: "notifications", Owner: "support", On: []consumer.Handler{on("order.placed.v2"), on("invoice.created.v1")},
				Emits: []event.Fact{fact("notification.sent.v1")}, Effects: []consumer.Effect{{Name: "mail"}},
			},
		},
	}
}

func findings(c catalog.Catalog, s catalog.Severity) []string {
	got := []string{}
	for _, f := range c.Findings {
		if f.Severity == s {
			got = append(got, f.Rule+" "+f.Subject)
		}
	}
	return got
}

func TestJoin(t *testing.T) {
	t.Parallel()
	c := catalog.New(fleet(t))
	if diff := cmp.Diff([]string{}, findings(c, catalog.Error)); diff != "" {
		t.Errorf("errors of a fleet that fits (-want +got):\n%s\n%+v", diff, c.Findings)
	}
	placed, ok := c.Fact("order.placed")
	if !ok || placed.Fact != "order.placed.v2" {
		t.Fatalf("order.placed without a version = %q, %v; want the newest", placed.Fact, ok)
	}
	if placed.Topic != "commerce.order.events" || !slices.Equal(placed.EmittedBy, []string{"shopify"}) ||
		!slices.Equal(placed.ReadBy, []string{"inventory", "invoicing", "notifications"}) {
		t.Errorf("order.placed.v2 = %+v", placed)
	}
	old, _ := c.Fact("order.placed.v1")
	if !slices.Equal(old.ReadBy, []string{"inventory"}) || len(old.EmittedBy) != 0 || old.Deprecated == "" {
		t.Errorf("order.placed.v1: deprecated %q, emitted by %v, read by %v; want deprecated, nobody, inventory (upcast)", old.Deprecated, old.EmittedBy, old.ReadBy)
	}
	invoice, _ := c.Fact("invoice.created.v1")
	if !slices.Equal(invoice.EmittedBy, []string{"spine/invoicing"}) {
		t.Errorf("invoice.created.v1 is emitted by %v", invoice.EmittedBy)
	}
	inventory, ok := c.Group("inventory")
	if !ok || inventory.DeadLetters != "dlq.inventory" || !slices.Equal(inventory.Topics, []string{"commerce.order.events"}) {
		t.Errorf("inventory = %+v", inventory)
	}
	shopify, ok := c.System("shopify")
	if !ok || shopify.Topic != "raw.shopify" || len(shopify.Kinds) != 5 || len(shopify.Emits) != 5 {
		t.Errorf("shopify = %+v", shopify)
	}
	for _, missing := range []bool{has(c.Fact("order.place")), has(c.System("x")), has(c.Group("x"))} {
		if missing {
			t.Error("something is found under a name that nothing has")
		}
	}
}

func has[T any](_ T, ok bool) bool { return ok }

func TestFields(t *testing.T) {
	t.Parallel()
	placed, _ := catalog.New(fleet(t)).Fact("order.placed.v2")
	got := map[string]string{}
	for _, f := range placed.Fields {
		got[f.Path] = f.Type
		if f.Doc == "" || f.PII == "" {
			t.Errorf("%s has no doc or no pii", f.Path)
		}
	}
	for path, want := range map[string]string{
		"meta": "EventMeta", "meta.event_id": "uuid", "meta.occurred_at": "timestamp-micros", "meta.causation_id": "string?",
		"totals.grand_total": "decimal(19,4)", "lines[].quantity": "decimal(19,4)",
	} {
		if got[path] != want {
			t.Errorf("%s is %q, want %q", path, got[path], want)
		}
	}
	if !slices.Contains(placed.Personal, "contact") {
		t.Errorf("personal data of an order = %v; want contact among it", placed.Personal)
	}
}

// recursive is a type that contains itself, and other shapes that fleets may have.
const recursive = `{"type":"record","name":"TreeGrownV1","namespace":"spine.tree","doc":"A tree has grown.","fields":[
 {"name":"meta","type":"spine.common.EventMeta","doc":"Identity.","pii":"none"},
 {"name":"root","doc":"The root node.","pii":"none","type":{"type":"record","name":"Node","doc":"A node.","fields":[
  {"name":"label","type":["null","string"],"default":null,"doc":"What it is called.","pii":"identity"},
  {"name":"children","type":{"type":"array","items":"Node"},"default":[],"doc":"Nodes below.","pii":"none"}]}},
 {"name":"by_name","type":{"type":"map","values":"long"},"default":{},"doc":"Counts by name.","pii":"none"}],
 "owner":"x","system_of_record":"x","identity":["meta"],"key":"{x}","retention":"28d","producers":[]}`

func TestFieldsOfATypeThatContainsItself(t *testing.T) {
	t.Parallel()
	f := fleet(t)
	var err error
	f.Schemas, err = schema.Load(schemas.Files, fstest.MapFS{"tree/grown.v1.avsc": {Data: []byte(recursive)}})
	if err != nil {
		t.Skipf("the schema loader refuses recursive types: %v", err)
	}
	grown, _ := catalog.New(f).Fact("tree.grown.v1")
	var paths []string
	for _, field := range grown.Fields {
		if !strings.HasPrefix(field.Path, "meta.") {
			paths = append(paths, field.Path+" "+field.Type)
		}
	}
	want := []string{"meta EventMeta", "root Node", "root.label string?", "root.children Node[]", "by_name map of long"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*catalog.Fleet)
		want   string
	}{
		"fact without topic":       {func(f *catalog.Fleet) { f.Topics = &topic.Set{} }, "fact-without-topic order.edited.v1"},
		"topic without schema":     {func(f *catalog.Fleet) { f.Schemas = &schema.Set{} }, "topic-fact-without-schema commerce.order.events"},
		"reads what is unknown":    {func(f *catalog.Fleet) { f.Groups[0].On = append(f.Groups[0].On, on("order.lost.v1")) }, "reads-unknown-fact inventory"},
		"emits what is unknown":    {func(f *catalog.Fleet) { f.Groups[0].Emits = append(f.Groups[0].Emits, fact("order.lost.v1")) }, "emits-unknown-fact inventory"},
		"emits what is deprecated": {func(f *catalog.Fleet) { f.Adapters[0].Objects[0].Emits[0] = "order.placed.v1" }, "emits-deprecated-fact shopify"},
		"emits a fact twice":       {func(f *catalog.Fleet) { f.Adapters[0].Objects[1].Emits[0] = "order.placed.v2" }, "fact-emitted-twice shopify"},
		"forgets too early":        {func(f *catalog.Fleet) { f.Inbox = 29*24*time.Hour - 1 }, "inbox-too-short inventory"},
		"nobody emits":             {func(f *catalog.Fleet) { f.Adapters[0].Objects = f.Adapters[0].Objects[:1] }, "fact-not-emitted refund.issued.v1"},
		"nobody reads":             {func(f *catalog.Fleet) { f.Groups[2].On = nil }, "fact-not-read invoice.created.v1"},
		"producer is not named":    {func(f *catalog.Fleet) { f.Adapters[0].System = "woo" }, "producer-not-named order.placed.v2"},
		"producer does not emit":   {func(f *catalog.Fleet) { f.Adapters[0].System = "woo" }, "producer-does-not-emit order.placed.v2"},
		"retention differs": {func(f *catalog.Fleet) {
			spec := `{name: commerce.order.events, class: transactional, aggregate: order, owner: x, doc: x, key: {form: x, doc: x}, partitions: 1, retention: 90d, facts: [order.placed.v2]}`
			f.Topics, _ = topic.Load(fstest.MapFS{"commerce.order.events.yaml": {Data: []byte(spec)}})
		}, "retention-differs order.placed.v2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := catalog.New(fleet(t))
			f := fleet(t)
			c.change(&f)
			after := catalog.New(f)
			all := func(c catalog.Catalog) []string {
				return append(findings(c, catalog.Error), findings(c, catalog.Warning)...)
			}
			if slices.Contains(all(before), c.want) || !slices.Contains(all(after), c.want) {
				t.Errorf("findings = %q\nbefore = %q\nwant %q after the change only", all(after), all(before), c.want)
			}
		})
	}
}

func TestInboxWithoutEnd(t *testing.T) {
	t.Parallel()
	f := fleet(t)
	f.Inbox = 0
	if got := findings(catalog.New(f), catalog.Error); len(got) != 0 {
		t.Errorf("errors of groups that never forget: %q", got)
	}
}

// sample stands for a catalog, so that the golden files change with the form only.
func sample() catalog.Catalog {
	return catalog.Catalog{
		Facts: []catalog.Fact{
			{
				Fact: "order.placed.v1", Topic: "commerce.order.events", Key: "{order_ref}", Owner: "commerce", SystemOfRecord: "the store",
				Doc: "An order was placed.", Retention: "28d", Deprecated: "order.placed.v2", EmittedBy: []string{}, ReadBy: []string{"inventory"},
				Personal: []string{}, Fields: []catalog.Field{},
			},
			{
				Fact: "order.placed.v2", Topic: "commerce.order.events", Key: "{order_ref}", Owner: "commerce", SystemOfRecord: "the store",
				Doc: "An order was placed.", Retention: "28d", EmittedBy: []string{"shopify"}, ReadBy: []string{"inventory", "invoicing"},
				Personal: []string{"contact"}, Fields: []catalog.Field{
					{Path: "customer", Type: "Customer?", PII: "none", Doc: "Who placed it."},
					{Path: "customer.email", Type: "string?", PII: "contact", Doc: "Where to write to."},
				},
			},
		},
		Systems: []catalog.System{{System: "shopify", Topic: "raw.shopify", Kinds: []string{"orders/create"}, Emits: []string{"order.placed.v2"}}},
		Groups: []catalog.Group{{
			Group: "inventory", Owner: "operations", Start: "now", Reads: []string{"order.placed.v2"}, Upcasts: []string{"order.placed.v1"},
			Emits: []string{"stock.reserved.v1"}, Effects: []string{}, Topics: []string{"commerce.order.events"}, DeadLetters: "dlq.inventory",
		}},
		Findings: []catalog.Finding{
			{Rule: "emits-unknown-fact", Severity: catalog.Error, Subject: "inventory", Message: "it emits stock.reserved.v1, which has no schema"},
		},
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	c := sample()
	for name, write := range map[string]func(io.Writer) error{
		"list.txt":   c.WriteTable,
		"fact.txt":   c.Facts[1].WriteText,
		"system.txt": c.Systems[0].WriteText,
		"group.txt":  c.Groups[0].WriteText,
		"list.json": func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(c)
		},
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

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), -update writes it:\n%s", name, diff)
	}
}
