package shopify_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers/shopify"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	secret, body := []byte("shpss_1"), []byte(`{"id":5001}`)
	valid := func() producer.Request {
		r := producer.Request{Instance: instance(), Secrets: [][]byte{secret}, Header: http.Header{}, Body: body}
		r.Header.Set("X-Shopify-Hmac-Sha256", producer.SignHMACSHA256(secret, body, producer.Base64))
		r.Header.Set("X-Shopify-Shop-Domain", "uk.myshopify.com")
		return r
	}
	for _, c := range []struct {
		name   string
		change func(*producer.Request)
		ok     bool
	}{
		{"as it was signed", func(*producer.Request) {}, true},
		{"domain in capitals", func(r *producer.Request) { r.Header.Set("X-Shopify-Shop-Domain", "UK.myshopify.com") }, true},
		{"signed with the previous secret", func(r *producer.Request) { r.Secrets = [][]byte{[]byte("new"), secret} }, true},
		{"an instance without a domain", func(r *producer.Request) { r.Instance.ShopDomain = "" }, true},
		{"one byte of the body", func(r *producer.Request) { r.Body = []byte(`{"id":5002}`) }, false},
		{"another secret", func(r *producer.Request) { r.Secrets = [][]byte{[]byte("other")} }, false},
		{"no secret", func(r *producer.Request) { r.Secrets = nil }, false},
		{"no signature", func(r *producer.Request) { r.Header.Del("X-Shopify-Hmac-Sha256") }, false},
		{"another shop", func(r *producer.Request) { r.Header.Set("X-Shopify-Shop-Domain", "us.myshopify.com") }, false},
		{"no shop", func(r *producer.Request) { r.Header.Del("X-Shopify-Shop-Domain") }, false},
		{"a signature in hexadecimal", func(r *producer.Request) {
			r.Header.Set("X-Shopify-Hmac-Sha256", producer.SignHMACSHA256(secret, body, producer.Hex))
		}, false},
	} {
		r := valid()
		c.change(&r)
		err := shopify.Adapter().Webhooks[0].Verify(r)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && !errors.Is(err, producer.ErrSignature) {
			t.Errorf("%s: %v is not ErrSignature", c.name, err)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, body, want string }{
		{"orders/create", `{"line_items":[{"id":1}],"id":5001}`, "5001"},
		{"orders/cancelled", `{"id":820982911946154508}`, "820982911946154508"},
		{"orders/edited", `{"order_edit":{"id":6001,"order_id":5001}}`, "5001"},
		{"order_transactions/create", `{"id":8001,"order_id":5001}`, "5001"},
		{"refunds/create", `{"id":9001,"order_id":5001}`, "5001"},
		{"products/update", `{"id":1}`, ""},
		{"orders/create", `{"id": nonsense`, ""},
		{"orders/create", ``, ""},
		{"orders/edited", `{"order_edit":[]}`, ""},
	} {
		if got := shopify.Adapter().Webhooks[0].Key(c.kind, http.Header{}, []byte(c.body)); got != c.want {
			t.Errorf("key of %s %s: %q, want %q", c.kind, c.body, got, c.want)
		}
	}
}

// wrongBodies are bodies that must be refused, and what the reason must name.
func wrongBodies(tb testing.TB) []struct{ kind, body, names string } {
	tb.Helper()
	order, refund := read(tb, "testdata/orders-create.multi-currency.json"), read(tb, "testdata/refunds-create.partial.json")
	sale, edit := read(tb, "testdata/order_transactions-create.sale.json"), read(tb, "testdata/orders-edited.both-ways.json")
	set := func(base []byte, name string, value any) string {
		return string(with(tb, base, map[string]any{name: value}))
	}
	swap := func(base []byte, old, other string) string {
		if !strings.Contains(string(base), old) {
			tb.Fatalf("%s is not in the body", old)
		}
		return strings.Replace(string(base), old, other, 1)
	}
	return []struct{ kind, body, names string }{
		{"orders/create", "", "body"},
		{"orders/create", `{"id": 5001, "name"`, "name"},
		{"orders/create", `[]`, "body"},
		{"orders/create", `null`, "body"},
		{"orders/create", string(order) + "{}", "body"},
		{"orders/create", swap(order, `"id": 5001,`, `"id": 5001, "id": 5001,`), "id"},
		{"orders/create", set(order, "id", missing), "id"},
		{"orders/create", set(order, "id", "5001"), "id"},
		{"orders/create", set(order, "id", json.Number("1e400")), "id"},
		{"orders/create", set(order, "id", json.Number("92233720368547758080")), "id"},
		{"orders/create", set(order, "name", nil), "name"},
		{"orders/create", set(order, "updated_at", "yesterday"), "updated_at"},
		{"orders/create", set(order, "processed_at", missing), "processed_at"},
		{"orders/create", set(order, "taxes_included", "yes"), "taxes_included"},
		{"orders/create", set(order, "currency", "XBT"), "currency"},
		{"orders/create", set(order, "presentment_currency", "USD"), "presentment_money.currency_code"},
		{"orders/create", set(order, "line_items", "three"), "line_items"},
		{"orders/create", set(order, "line_items", []any{}), "line_items"},
		{"orders/create", set(order, "line_items", missing), "line_items"},
		{"orders/create", swap(order, `"quantity": 2`, `"quantity": -2`), "line_items[0].quantity"},
		{"orders/create", swap(order, `"quantity": 2`, `"quantity": 1.5`), "line_items[0].quantity"},
		{"orders/create", swap(order, `"quantity": 2`, `"quantity": 99999999999`), "line_items[0].quantity"},
		{"orders/create", swap(order, `"amount": "9.25"`, `"amount": "9,25"`), "line_items[0].price_set.presentment_money.amount"},
		{"orders/create", swap(order, `"amount": "9.25"`, `"amount": "9.2500001"`), "line_items[0].price_set.presentment_money.amount"},
		{"orders/create", swap(order, `"amount": "1.85"`, `"amount": "1.85001"`), "line_items[0].discount_allocations[0].amount_set.presentment_money.amount"},
		{"orders/create", swap(order, `"amount": "9.25"`, `"amount": "NaN"`), "line_items[0].price_set.presentment_money.amount"},
		{"orders/create", swap(order, `"amount": "9.25"`, `"amount": "`+strings.Repeat("9", 60)+`"`), "line_items[0].price_set.presentment_money.amount"},
		{"orders/create", swap(order, `"rate": 0.2`, `"rate": 0.12345678`), "line_items[0].tax_lines[0].rate"},
		{"orders/create", swap(order, `"rate": 0.2`, `"rate": -0.2`), "line_items[0].tax_lines[0].rate"},
		{"orders/create", swap(order, `"discount_application_index": 0`, `"discount_application_index": 7`), "line_items[0].discount_allocations[0].discount_application_index"},
		{"orders/create", swap(order, `"Ada Archer"`, "\"Ada \xff\""), "body"},
		{"orders/create", `{"id":5001,"line_items":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "line_items"},
		{"orders/updated", swap(order, `"29.78"`, `"29.79"`), "29.78 EUR"},
		{"orders/updated", swap(order, `"29.78"`, `"29.79"`), "29.79"},
		{"orders/updated", swap(order, `"32.20"`, `"32.19"`), "32.20 USD"},
		{"orders/updated", swap(order, `"32.20"`, `"32.19"`), "total_price_set.shop_money"},
		{"orders/edited", set(edit, "order_edit", nil), "order_edit"},
		{"orders/edited", swap(edit, `"delta": 2`, `"delta": 0`), "order_edit.line_items.additions[0].delta"},
		{"orders/edited", swap(edit, `"delta": 1`, `"delta": -1`), "order_edit.line_items.removals[0].delta"},
		{"orders/edited", swap(edit, `"order_id": 5001`, `"order_id": null`), "order_edit.order_id"},
		{"order_transactions/create", set(sale, "amount", "-1.00"), "amount"},
		{"order_transactions/create", set(sale, "amount", "1.00001"), "amount"},
		{"order_transactions/create", set(sale, "amount", missing), "amount"},
		{"order_transactions/create", set(sale, "currency", "pounds"), "currency"},
		{"order_transactions/create", set(sale, "processed_at", nil), "processed_at"},
		{"order_transactions/create", set(sale, "order_id", missing), "order_id"},
		{"refunds/create", set(set1(tb, refund), "transactions", []any{}), "transactions"},
		{"refunds/create", swap(refund, `"currency": "GBP"`, `"currency": "EUR"`), "refund_line_items[0].subtotal_set.presentment_money.currency_code"},
		{"refunds/create", swap(refund, `"quantity": 1`, `"quantity": -1`), "refund_line_items[0].quantity"},
		{"refunds/create", set(refund, "transactions", "none"), "transactions"},
		{"refunds/create", swap(refund, `"line_item":`, `"line":`), "refund_line_items[0].line_item"},
	}
}

// set1 is a refund of nothing.
func set1(tb testing.TB, refund []byte) []byte {
	tb.Helper()
	return with(tb, refund, map[string]any{"refund_line_items": []any{}})
}

// What cannot be right is refused with a reason that names the field, and no more
// of the customer than that.
func TestFacts_badBodies(t *testing.T) {
	t.Parallel()
	for i, c := range wrongBodies(t) {
		t.Run(fmt.Sprintf("%d %s", i, c.names), func(t *testing.T) {
			t.Parallel()
			got, err := facts(t, c.kind, []byte(c.body))
			if err == nil {
				t.Fatalf("facts %v of a bad body", types(got))
			}
			var decode *producer.DecodeError
			var totals *shopify.TotalsError
			if !errors.As(err, &decode) && !errors.As(err, &totals) {
				t.Errorf("%v is a %T, want *producer.DecodeError or *shopify.TotalsError", err, err)
			}
			if !strings.Contains(err.Error(), c.names) {
				t.Errorf("%v does not name %s", err, c.names)
			}
			for _, personal := range []string{"ada@example.com", "Archer", "Quay"} {
				if strings.Contains(err.Error(), personal) {
					t.Errorf("%v tells who the customer is", err)
				}
			}
		})
	}
}

// A cancellation is told even where the totals of the order add up no longer: they
// are no part of it.
func TestOrder_cancelledWithOddTotals(t *testing.T) {
	t.Parallel()
	open := read(t, "testdata/orders-create.multi-currency.json")
	odd := with(t, []byte(strings.Replace(string(open), `"29.78"`, `"1.00"`, 1)), map[string]any{"cancelled_at": "2026-03-15T08:00:00Z"})
	if got := types(change(t, open, odd)); len(got) != 1 || got[0] != "order.cancelled.v1" {
		t.Errorf("facts %v", got)
	}
}

// FuzzFacts feeds bytes to every kind: whatever comes out is an error of ours or
// facts that say the same again; never a panic.
func FuzzFacts(f *testing.F) {
	kinds := []string{"orders/create", "orders/edited", "order_transactions/create", "refunds/create"}
	for _, file := range bodies(f) {
		for i := range kinds {
			f.Add(i, read(f, file))
		}
	}
	for _, c := range wrongBodies(f) {
		f.Add(0, []byte(c.body))
	}
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		k := kinds[(kind%len(kinds)+len(kinds))%len(kinds)]
		_ = shopify.Adapter().Webhooks[0].Key(k, http.Header{}, body)
		got, err := facts(t, k, body)
		if err != nil {
			var decode *producer.DecodeError
			var totals *shopify.TotalsError
			if !errors.As(err, &decode) && !errors.As(err, &totals) {
				t.Fatalf("%v is a %T", err, err)
			}
			return
		}
		again, err := facts(t, k, body)
		if err != nil || string(show(t, got)) != string(show(t, again)) {
			t.Fatalf("says something else the next time: %v", err)
		}
		for _, n := range got {
			if _, ok := n.Fact.(event.Stamped); !ok || n.Entity == "" || n.At.IsZero() {
				t.Fatalf("incomplete %+v", n)
			}
		}
	})
}
