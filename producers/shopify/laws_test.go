package shopify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers/shopify"
	"github.com/eventspine/spine/schemas/order"
)

// change translates the step from one snapshot to the next.
func change(t *testing.T, before, after []byte) []event.New {
	t.Helper()
	o := object(t, "orders/updated")
	var old any
	if before != nil {
		var err error
		if old, err = o.Decode(before); err != nil {
			t.Fatal(err)
		}
	}
	now, err := o.Decode(after)
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.Facts(delivery("orders/updated", after), old, now)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// with is a body with some fields set.
func with(tb testing.TB, body []byte, fields map[string]any) []byte {
	tb.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var all map[string]any
	if err := d.Decode(&all); err != nil {
		tb.Fatal(err)
	}
	for name, value := range fields {
		if value == missing {
			delete(all, name)
		} else {
			all[name] = value
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// missing takes a field away.
const missing = "\x00missing"

func types(facts []event.New) []string {
	names := []string{}
	for _, f := range facts {
		names = append(names, f.Fact.EventType())
	}
	return names
}

// An order is placed once and cancelled once, whatever the deliveries are and
// whichever of them is the first.
func TestOrder_factsAreTransitions(t *testing.T) {
	t.Parallel()
	open := read(t, "testdata/orders-create.tax-included.json")
	later := with(t, open, map[string]any{"updated_at": "2026-03-14T12:00:00Z", "tags": "checked", "financial_status": "partially_refunded"})
	cancelled := with(t, later, map[string]any{"updated_at": "2026-03-14T13:00:00Z", "cancelled_at": "2026-03-14T13:00:00Z", "cancel_reason": "customer"})
	again := with(t, cancelled, map[string]any{"updated_at": "2026-03-14T14:00:00Z", "tags": "archived"})
	for _, c := range []struct {
		name          string
		before, after []byte
		want          []string
	}{
		{"first sight", nil, open, []string{"order.placed.v2"}},
		{"the same twice", open, open, []string{}},
		{"an update without a visible change", open, later, []string{}},
		{"a cancellation, told by an update", later, cancelled, []string{"order.cancelled.v1"}},
		{"an update of a cancelled order", cancelled, again, []string{}},
		{"first sight of a cancelled order", nil, cancelled, []string{"order.placed.v2", "order.cancelled.v1"}},
		{"first sight after an update", nil, later, []string{"order.placed.v2"}},
	} {
		if diff := cmp.Diff(c.want, types(change(t, c.before, c.after))); diff != "" {
			t.Errorf("%s (-want +got): %s", c.name, diff)
		}
	}
	// What a snapshot shows without a past is what was told on the way to it, with
	// the same identity.
	way := append(change(t, nil, open), change(t, later, cancelled)...)
	shown := change(t, nil, cancelled)
	for i := range way {
		if way[i].Entity != shown[i].Entity || way[i].Discriminator != shown[i].Discriminator || !way[i].At.Equal(shown[i].At) || !way[i].Born.Equal(shown[i].Born) {
			t.Errorf("%s has another identity when it is seen late: %+v, %+v", way[i].Fact.EventType(), way[i], shown[i])
		}
	}
}

func TestOrder_version(t *testing.T) {
	t.Parallel()
	o := object(t, "orders/create")
	body := read(t, "testdata/orders-cancelled.first-sight.json")
	native, err := o.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	d := delivery("orders/cancelled", body)
	d.Header.Set("X-Shopify-Triggered-At", "2026-03-15T08:00:01.123456789Z")
	got := o.Version(d, native)
	want := producer.Version{
		Source: time.Date(2026, 3, 14, 11, 20, 1, 0, time.UTC), Clock: time.Date(2026, 3, 15, 8, 0, 1, 123456000, time.UTC), Terminal: true,
	}
	if got != want {
		t.Errorf("version %+v, want %+v", got, want)
	}
	d.Header.Set("X-Shopify-Triggered-At", "yesterday")
	if got := o.Version(d, native); !got.Clock.IsZero() || !got.Source.Equal(want.Source) {
		t.Errorf("an unreadable clock gives %+v", got)
	}
	if got := o.ID(native); got != "5001" {
		t.Errorf("id %s", got)
	}
}

// realFixture is a real payload, where the folder of fixtures is beside the checkout.
func realFixture(tb testing.TB, name string) []byte {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above")
		}
		dir = filepath.Dir(dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, "..", "shared", "fixtures", "shopify", name))
	if errors.Is(err, os.ErrNotExist) {
		tb.Skipf("no real payloads beside the checkout: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestOrder_realPayload(t *testing.T) {
	t.Parallel()
	got, err := facts(t, "orders/create", realFixture(t, "webhook_orders_create_2025.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("facts %v, want one", types(got))
	}
	p, ok := got[0].Fact.(order.PlacedV2)
	if !ok {
		t.Fatalf("fact %T", got[0].Fact)
	}
	if got[0].Entity != "6200407294252" || p.OrderNumber != "#1071" || p.Currency != "HKD" || p.ShopCurrency != "HKD" || p.SalesChannel != "shopify_draft_order" {
		t.Errorf("order %s %s %s %s %s", got[0].Entity, p.OrderNumber, p.Currency, p.ShopCurrency, p.SalesChannel)
	}
	if at := time.Date(2025, 1, 24, 4, 10, 14, 0, time.UTC); !got[0].At.Equal(at) || !got[0].Born.Equal(at.Add(time.Second)) || !p.PlacedAt.Equal(at) {
		t.Errorf("at %s, born %s", got[0].At, got[0].Born)
	}
	for name, c := range map[string]struct {
		got  money.Decimal
		want string
	}{
		"merchandise": {p.Totals.Merchandise, "199"}, "discount": {p.Totals.Discount, "34.1"}, "shipping": {p.Totals.Shipping, "22"}, "grand total": {p.Totals.GrandTotal, "186.9"},
		"shop's grand total": {p.ShopTotals.GrandTotal, "186.9"}, "first net": {p.Lines[0].NetAmount, "79.9"}, "second net": {p.Lines[1].NetAmount, "85"},
		"manual discount": {p.Discounts[0].Amount, "29.1"}, "automatic discount": {p.Discounts[1].Amount, "5"},
	} {
		if c.got.String() != c.want {
			t.Errorf("%s is %s, want %s", name, c.got, c.want)
		}
	}
	if p.Lines[0].SKU != "variant:50398373085484" || !p.Lines[0].StockTracked || p.Lines[1].SKU != "variant:50451770802476" || p.Lines[1].StockTracked {
		t.Errorf("lines %+v", p.Lines)
	}
	if !p.Customer.IsGuest || p.Customer.Email != nil || p.ShippingAddress != nil || p.PaymentTerms.Status != order.PlacedV2PaymentStatusPaid {
		t.Errorf("customer %+v, paid %s", p.Customer, p.PaymentTerms.Status)
	}
	if p.Discounts[0].Kind != order.PlacedV2DiscountKindManual || p.Discounts[1].Kind != order.PlacedV2DiscountKindAutomatic {
		t.Errorf("discounts %+v", p.Discounts)
	}
}

func TestVerify_vectors(t *testing.T) {
	t.Parallel()
	var vectors []struct {
		BodyFile string `json:"body_file"`
		Secret   string `json:"secret"`
		Headers  map[string]string
		Valid    bool `json:"expect_valid"`
	}
	if err := json.Unmarshal(realFixture(t, "signature_vectors.json"), &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		r := producer.Request{Instance: instance(), Secrets: [][]byte{[]byte(v.Secret)}, Header: http.Header{}, Body: realFixture(t, v.BodyFile)}
		r.Instance.ShopDomain = v.Headers["x-shopify-shop-domain"]
		for name, value := range v.Headers {
			r.Header.Set(name, value)
		}
		hook := shopify.Adapter().Webhooks[0]
		if err := hook.Verify(r); (err == nil) != v.Valid {
			t.Errorf("%s: %v", v.BodyFile, err)
		}
		if kind, key := hook.Kind(r.Header, r.Body), hook.Key("orders/create", r.Header, r.Body); kind != "orders/create" || key != "6200407294252" {
			t.Errorf("kind %s, key %s", kind, key)
		}
	}
}
