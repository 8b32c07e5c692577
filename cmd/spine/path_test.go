package main_test

import (
	"encoding/json"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/app/books"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers"
	"github.com/eventspine/spine/schemas/notification"
	"github.com/eventspine/spine/schemas/order"
)

// hongKong is a shop of Hong Kong, with stock for one article of the real payload.
func hongKong(t *testing.T) *place {
	t.Helper()
	name := "hk"
	if realParts() { // topics are shared, names are not
		name += "-" + strconv.FormatUint(uint64(rand.Uint32()), 36)
	}
	shop := producer.Shop{Secret: []byte("shpss_test_4f1c2d"), Instance: event.Instance{
		System: "shopify", Name: name, BaseCurrency: "HKD", TimeZone: "Asia/Hong_Kong", LegalEntity: "HK01", Warehouses: []string{"wms/" + name},
		ShopDomain: "acme-test.myshopify.com", PaymentDays: 14,
	}}
	p := newPlace(t, []producer.Shop{shop})
	// Two pools: what other instances left in shared topics is not served by ours.
	p.groups = "groups:\n  inventory:\n    levels: [{sku: \"variant:50398373085484\", warehouse: wms/" + name + ", on_hand: \"10\"}]\n" +
		"    pools: {ours: {warehouses: [wms/" + name + "]}, theirs: {warehouses: [wms/elsewhere]}}\n"
	if !realParts() {
		p.configure(t)
		p.live(t, p.devArgs()...)
		return p
	}
	p.brokers, p.registry, p.database = os.Getenv("SPINE_TEST_BROKERS"), os.Getenv("SPINE_TEST_REGISTRY"), devtest.Database(t)
	p.configure(t)
	p.must(t, "topics", "apply", "--yes")
	p.must(t, "schema", "register")
	p.live(t, append([]string{"run"}, p.args()...)...)
	return p
}

// TestPath goes the straight path with one order at a time, on both sets of parts.
func TestPath(t *testing.T) {
	parallel(t)
	p := hongKong(t)
	t.Run("a real order", func(t *testing.T) { realOrder(t, p) })
	t.Run("an order with an address, twice, and forged", func(t *testing.T) { orderWithAddress(t, p) })
}

func realOrder(t *testing.T, p *place) {
	t.Helper()
	const id = "6200407294252"
	accept(t, p, signed(p.shops[0], "orders/create", fixture(t, "shopify/webhook_orders_create_2025.json")))
	key := p.shops[0].Instance.String() + ":" + id

	lines := strings.Split(strings.TrimSpace(p.must(t, "tail", "order.placed.v2", "--key", key, "--offset", "start", "--strict", "-o", "json")), "\n")
	var seen struct {
		Topic string `json:"topic"`
		Key   string `json:"key"`
		Event struct {
			Type          string `json:"type"`
			Source        string `json:"source"`
			Subject       string `json:"subject"`
			Time          string `json:"time"`
			CorrelationID string `json:"correlation_id"`
		} `json:"event"`
		Data struct {
			Currency string `json:"currency"`
			Totals   struct {
				GrandTotal string `json:"grand_total"`
			} `json:"totals"`
			Lines []struct {
				SKU          string `json:"sku"`
				StockTracked bool   `json:"stock_tracked"`
			} `json:"lines"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(lines[0]), &seen); err != nil || len(lines) != 1 {
		t.Fatalf("spine tail shows %d events (%v), want one:\n%s", len(lines), err, strings.Join(lines, "\n"))
	}
	got := []string{
		seen.Topic, seen.Key, seen.Event.Type, seen.Event.Source, seen.Event.Subject, seen.Event.Time, seen.Event.CorrelationID,
		seen.Data.Currency, seen.Data.Totals.GrandTotal,
	}
	want := []string{
		"commerce.order.events", key, "order.placed.v2", p.shops[0].Instance.String(), "order/" + id, "2025-01-24T04:10:14.000000Z", "order:" + key,
		"HKD", "186.9000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spine tail (-want +got):\n%s", diff)
	}
	if len(seen.Data.Lines) != 2 || seen.Data.Lines[0].SKU != "variant:50398373085484" || !seen.Data.Lines[0].StockTracked || seen.Data.Lines[1].StockTracked {
		t.Errorf("lines of the order: %+v, want two, the first one of a tracked article", seen.Data.Lines)
	}

	db := p.store(t)
	for what, q := range map[string][2]string{
		"reservation":  {`SELECT line_id, warehouse, reserved, released FROM inventory_reservations WHERE order_key = $1`, "15518907892012|wms/" + p.shops[0].Instance.Name + "|10000|0"},
		"stock":        {`SELECT sku, on_hand, reserved FROM inventory_levels WHERE 'shopify' || SUBSTR(warehouse, 4) || ':6200407294252' = $1`, "variant:50398373085484|100000|10000"},
		"invoice":      {`SELECT number, currency, gross, issue_date FROM invoicing_invoices WHERE order_key = $1`, "HK01-INV-000001|HKD|1869000|2025-01-24"},
		"revenue":      {`SELECT order_day, currency, CAST(SUM(amount) AS BIGINT) FROM analytics_revenue WHERE order_key = $1 GROUP BY order_day, currency`, "2025-01-24|HKD|1869000"},
		"notification": {`SELECT template, status, event_id <> '' FROM notifications_messages WHERE order_key = $1`, "order-confirmation|NO_RECIPIENT|1"},
	} {
		if diff := cmp.Diff([]string{q[1]}, rowsOf(t, db.SQL(), q[0], key), boolsAlike()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	if mails := mailsIn(t, p); len(mails) > 0 {
		t.Errorf("mails without a recipient: %v", mails)
	}
}

func orderWithAddress(t *testing.T, p *place) {
	t.Helper()
	call := orderOf(t, p.shops[0])
	accept(t, p, call)
	l := openLedger(t, p, nil)
	placed := l.facts[slices.IndexFunc(l.facts, func(f happened) bool { return f.Type == order.PlacedV2{}.EventType() && f.Entity != "6200407294252" })]
	fact, ok := placed.Data.(*order.PlacedV2)
	if !ok || fact.Customer.Email == nil {
		t.Fatalf("the order came without its address: %+v", placed.Data)
	}
	mails := mailsIn(t, p)
	if len(mails) != 1 {
		t.Fatalf("%d mails, want one: %v", len(mails), mails)
	}
	text, err := os.Open(mails[0])
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	letter, err := mail.ReadMessage(text)
	if err != nil {
		t.Fatal(err)
	}
	if to, err := letter.Header.AddressList("To"); err != nil || len(to) != 1 || to[0].Address != *fact.Customer.Email {
		t.Errorf("the mail goes to %v (%v), want %s", to, err, *fact.Customer.Email)
	}
	if n := len(of[notification.SentV1](l)); n != 1 {
		t.Errorf("%d facts notification.sent.v1, want 1", n)
	}

	// The same request again.
	before, duplicates := state(t, p), outcomes(t, p)[books.DuplicateDelivery]
	counted := p.metric(t, "spine_translated_total", `outcome="duplicate"`)
	accept(t, p, call)
	if diff := cmp.Diff(before, state(t, p)); diff != "" {
		t.Errorf("the same request changed something (-before +after):\n%s", diff)
	}
	if n := outcomes(t, p)[books.DuplicateDelivery]; n != duplicates+1 {
		t.Errorf("%d duplicates, want %d", n, duplicates+1)
	}
	if n := p.metric(t, "spine_translated_total", `outcome="duplicate"`); n != counted+1 {
		t.Errorf("the duplicate counter is %v, want %v", n, counted+1)
	}

	// One byte changed.
	deliveries, refused := len(openLedger(t, p, nil).stock.Deliveries), p.metric(t, "spine_deliveries_total", `outcome="signature_invalid"`)
	forged := call
	forged.Body = slices.Clone(call.Body)
	forged.Body[len(forged.Body)/2] ^= 1
	if a := p.call(t, forged); a.status != http.StatusUnauthorized || !strings.Contains(a.body, `"code":"signature_invalid"`) {
		t.Errorf("a changed byte is answered %d %s, want 401", a.status, a.body)
	}
	p.settle(t, patience())
	if diff := cmp.Diff(before, state(t, p)); diff != "" {
		t.Errorf("a forged request changed something (-before +after):\n%s", diff)
	}
	if n := len(openLedger(t, p, nil).stock.Deliveries); n != deliveries {
		t.Errorf("a forged request was kept: %d deliveries, want %d", n, deliveries)
	}
	if n := p.metric(t, "spine_deliveries_total", `outcome="signature_invalid"`); n != refused+1 {
		t.Errorf("forged requests counted: %v, want %v", n, refused+1)
	}
	if r := books.Balance(openLedger(t, p, nil).stock); !r.Balanced {
		t.Errorf("the books do not balance: %+v %v", r.Totals, r.Findings)
	}
}

// accept sends a call, which has to be accepted, and waits until all is done.
func accept(t *testing.T, p *place, c producer.Call) {
	t.Helper()
	a := p.call(t, c)
	var said struct {
		Received bool   `json:"received"`
		Delivery string `json:"delivery"`
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil || a.status != http.StatusOK || !said.Received || said.Delivery == "" {
		t.Fatalf("answered %d %s (%v), want 200 and the id of a delivery", a.status, a.body, err)
	}
	p.settle(t, patience())
}

// orderOf is an order of a day of the shop by somebody with an address.
func orderOf(t *testing.T, shop producer.Shop) producer.Call {
	t.Helper()
	for c := range dayOf(shop, 50) {
		var body struct {
			Email string `json:"email"`
			Test  bool   `json:"test"`
		}
		if c.Header.Get("X-Shopify-Topic") != "orders/create" || c.Note != "" {
			continue
		}
		if err := json.Unmarshal(c.Body, &body); err != nil {
			t.Fatal(err)
		}
		if body.Email != "" && !body.Test {
			return c
		}
	}
	t.Fatal("nobody with an address buys on this day")
	return producer.Call{}
}

// dayOf is a day of one shop.
func dayOf(shop producer.Shop, orders int) iter.Seq[producer.Call] {
	for _, a := range producers.All() {
		if a.System == shop.Instance.System {
			return a.Day.Calls(1, orders, []producer.Shop{shop})
		}
	}
	return func(func(producer.Call) bool) {}
}

// mailsIn are the mails about our orders: their names tell the instance.
func mailsIn(t *testing.T, p *place) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.data(), "mail", "*.shopify."+p.shops[0].Instance.Name+".*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// state is what the groups did: their tables, the mails, the facts of the stream.
func state(t *testing.T, p *place) map[string][]string {
	t.Helper()
	db := p.store(t)
	names := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if db.Dialect() == once.PostgreSQL {
		names = `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`
	}
	all := map[string][]string{"mails": mailsIn(t, p)}
	for _, table := range rowsOf(t, db.SQL(), names) {
		group, _, _ := strings.Cut(table, "_")
		if slices.ContainsFunc(fleetOfMain().Groups, func(g consumer.Group) bool { return g.Name == group }) && !strings.HasSuffix(table, "_goose") {
			rows := rowsOf(t, db.SQL(), `SELECT * FROM `+table)
			slices.Sort(rows)
			all[table] = rows
		}
	}
	for _, f := range openLedger(t, p, nil).facts {
		all["facts"] = append(all["facts"], f.Type+" "+f.ID)
	}
	slices.Sort(all["facts"])
	return all
}

// outcomes counts what became of the deliveries.
func outcomes(t *testing.T, p *place) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, outcome := range rowsOf(t, p.store(t).SQL(), `SELECT outcome FROM translate_outcomes WHERE instance = $1`, p.shops[0].Instance.String()) {
		n[outcome]++
	}
	return n
}
