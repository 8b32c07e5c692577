package consumers_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/consumers"
	"github.com/eventspine/spine/consumers/internal/grouptest"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/producers/shopify"
)

// happened is an event with its payload.
type happened struct {
	event.Event
	fact event.Fact
}

// aDay is what a trading day of the demo shops comes down to: each fact once.
func aDay(t *testing.T, orders int) []happened {
	t.Helper()
	a := shopify.Adapter()
	shops, instances := []producer.Shop{}, map[string]event.Instance{}
	for _, in := range a.Day.Instances {
		instances[in.String()] = in
		shops = append(shops, producer.Shop{Instance: in, Secret: []byte("secret")})
	}
	var all []happened
	seen, before := map[string]bool{}, map[string]any{}
	received := time.Date(2026, 3, 13, 9, 0, 0, 0, time.UTC)
	for c := range a.Day.Calls(7, orders, shops) {
		d := producer.Delivery{
			Kind: c.Header.Get("X-Shopify-Topic"), Instance: instances[c.Instance], Header: c.Header, Body: c.Body, ReceivedAt: received.Add(c.After),
		}
		i := slices.IndexFunc(a.Objects, func(o producer.Object) bool { return slices.Contains(o.Kinds, d.Kind) })
		if c.Expect != 200 || i < 0 {
			continue
		}
		o := a.Objects[i]
		native, err := o.Decode(d.Body)
		if err != nil {
			continue // a day has its malformed bodies
		}
		object := ""
		if o.Snapshot {
			object = c.Instance + o.ID(native)
		}
		news, err := o.Facts(d, before[object], native)
		if err != nil {
			continue // and its wrong sums
		}
		if o.Snapshot {
			before[object] = native
		}
		for _, n := range news {
			e, fact, err := wire.Stamp(n, wire.Cause{Source: c.Instance, Origin: event.OriginWebhook, IDTime: a.IDTime, RecordedAt: d.ReceivedAt})
			if err != nil {
				t.Fatal(err)
			}
			e.Instance = d.Instance
			if !seen[e.ID] {
				seen[e.ID], all = true, append(all, happened{e, fact})
			}
		}
	}
	return all
}

// The groups know nothing of each other, and agree: what analytics counts as revenue is
// what invoicing has invoiced and not credited, less tax. Each event leaves one mark.
func TestGroups_agreeOnADay(t *testing.T) {
	t.Parallel()
	day := aDay(t, 300)
	kits := map[string]*grouptest.Kit{}
	for _, g := range consumers.All() {
		if cfg, ok := g.Config.(interface{ Defaults(dataDir string) }); ok {
			cfg.Defaults(t.TempDir())
		}
		if cfg, ok := g.Config.(interface{ Validate() error }); ok {
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		k := grouptest.SQLite(t, g)
		kits[g.Name] = k
		handled := 0
		for _, h := range day {
			if g.Ledger[h.fact.EventType()] == "" {
				continue
			}
			if _, err := k.Handle(t.Context(), h.Event, h.fact); err != nil {
				t.Fatalf("%s %s: %v", g.Name, h.Type, err)
			}
			handled++
		}
		marks := k.Query(t, `SELECT event_id FROM `+g.Name+`_effects`)
		slices.Sort(marks)
		if n := len(slices.Compact(slices.Clone(marks))); n != handled || len(marks) != handled {
			t.Errorf("%s handled %d events and shows %d marks of %d", g.Name, handled, len(marks), n)
		}
	}
	invoiced := kits["invoicing"].Query(t, `SELECT i.order_key, i.gross - i.tax - (i.credited_gross - i.credited_tax) FROM invoicing_invoices i ORDER BY i.order_key`)
	counted := kits["analytics"].Query(t, `SELECT order_key, SUM(amount) FROM analytics_revenue GROUP BY order_key ORDER BY order_key`)
	if len(invoiced) < 250 {
		t.Errorf("the day has %d invoices only", len(invoiced))
	}
	if diff := cmp.Diff(invoiced, counted); diff != "" {
		t.Errorf("-invoiced +counted\n%s", diff)
	}
}
