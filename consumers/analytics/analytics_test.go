package analytics_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/consumers/analytics"
	"github.com/eventspine/spine/consumers/internal/grouptest"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/refund"
)

func handle(t *testing.T, k *grouptest.Kit, e event.Event, fact event.Fact) {
	t.Helper()
	if _, err := k.Handle(t.Context(), e, fact); err != nil {
		t.Fatal(err)
	}
}

func want[T any](t *testing.T, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func anOrder(t *testing.T, id, placed, price string) grouptest.Order {
	t.Helper()
	return grouptest.Order{Instance: grouptest.UK(), ID: id, At: at(t, placed), Lines: []grouptest.Line{{ID: "1", SKU: "S", Quantity: "1", Price: price, Rate: "0.20"}}}
}

func byDay(t *testing.T, k *grouptest.Kit) []string {
	t.Helper()
	return k.Query(t, `SELECT day, orders, by_order_day, by_booked_day FROM analytics_revenue_by_day ORDER BY day`)
}

// K26: two views of revenue around a change of the clock; net of 20 % tax.
func TestRevenue_knownAnswer(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, analytics.Group, func(k *grouptest.Kit) {
		t := k.T
		a := anOrder(t, "A", "2026-03-28T23:40:00Z", "100.00")
		b := anOrder(t, "B", "2026-03-29T00:30:00Z", "50.00")
		c := anOrder(t, "C", "2026-03-28T22:00:00Z", "80.00")
		handle(t, k, a.PlacedEvent(), a.Placed())
		handle(t, k, b.PlacedEvent(), b.Placed())
		re, r := a.Refund("r1", "36.00", at(t, "2026-03-30T09:00:00Z"), grouptest.Refunded{ID: "1", Quantity: "0", Net: "30.00", Tax: "6.00"})
		handle(t, k, re, r)
		late := c.PlacedEvent()
		late.RecordedAt = at(t, "2026-03-30T10:00:00Z")
		handle(t, k, late, c.Placed())
		ce, cancelled := b.Cancelled(at(t, "2026-03-30T23:30:00Z"))
		handle(t, k, ce, cancelled)
		want(t, byDay(t, k), []string{
			"2026-03-28|2|150.0000|180.0000", "2026-03-29|1|0.0000|50.0000",
			"2026-03-30|0|0.0000|-30.0000", "2026-03-31|0|0.0000|-50.0000", // 00:30 BST
		})
		asOf := at(t, "2026-03-29T12:00:00Z").UnixMicro()
		want(t, k.Query(t, `SELECT SUM(amount) FROM analytics_revenue WHERE booked_day = '2026-03-28' AND recorded_at <= $1`, asOf), []string{"1000000"})
		want(t, k.Query(t, `SELECT day, instance, currency, sku, kind, sold, taken_back, revenue FROM analytics_revenue_by_order_day ORDER BY day, sku`), []string{
			"2026-03-28|shopify/uk|GBP|S|ARTICLE|180.0000|-30.0000|150.0000", "2026-03-29|shopify/uk|GBP|S|ARTICLE|50.0000|-50.0000|0.0000",
		})
		want(t, k.Query(t, `SELECT day, sku, sold, taken_back FROM analytics_revenue_by_booked_day WHERE day >= '2026-03-30' ORDER BY day`),
			[]string{"2026-03-30|S|0.0000|-30.0000", "2026-03-31|S|0.0000|-50.0000"})
		want(t, k.Query(t, `SELECT fact, effect FROM analytics_effects ORDER BY fact, order_key`), []string{
			"order.cancelled.v1|COUNTED", "order.placed.v2|COUNTED", "order.placed.v2|COUNTED", "order.placed.v2|COUNTED", "refund.issued.v1|COUNTED",
		})
	})
}

func TestParts_addUpToTheOrder(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, analytics.Group())
	o := anOrder(t, "A", "2026-03-14T11:20:00Z", "24.50")
	o.Lines = append(o.Lines, grouptest.Line{ID: "tip", SKU: "custom:tip", Quantity: "1", Price: "3", Tip: true})
	o.Shipping, o.ShippingRate, o.Fees = "5.00", "0.20", "1.50"
	placed := o.Placed()
	placed.Totals.GrandTotal = placed.Totals.GrandTotal.Add(grouptest.D("12")) // duties on top
	handle(t, k, o.PlacedEvent(), placed)
	want(t, k.Query(t, `SELECT kind, sku, amount FROM analytics_revenue_view ORDER BY part_no`), []string{
		"ARTICLE|S|24.5000", "TIP|custom:tip|3.0000", "SHIPPING||5.0000", "FEES||1.5000", "REST||12.0000",
	})
	ce, c := o.Cancelled(at(t, "2026-03-15T11:20:00Z"))
	handle(t, k, ce, c)
	want(t, byDay(t, k), []string{"2026-03-14|1|0.0000|46.0000", "2026-03-15|0|0.0000|-46.0000"})
}

// A cancellation with its refund counts once: on the day of the one that happened first,
// whichever comes first.
func TestCancellationWithRefund(t *testing.T) {
	t.Parallel()
	for _, refundFirst := range []bool{false, true} {
		k := grouptest.SQLite(t, analytics.Group())
		o := anOrder(t, "A", "2026-03-14T11:20:00Z", "100")
		handle(t, k, o.PlacedEvent(), o.Placed())
		ce, c := o.Cancelled(at(t, "2026-03-15T10:00:00Z"))
		re, r := o.Refund("r", "120", at(t, "2026-03-16T10:00:00Z"), grouptest.Refunded{ID: "1", Quantity: "1", Net: "100", Tax: "20"})
		if refundFirst {
			handle(t, k, re, r)
			handle(t, k, ce, c)
		} else {
			handle(t, k, ce, c)
			handle(t, k, re, r)
		}
		want(t, byDay(t, k), []string{"2026-03-14|1|0.0000|100.0000", "2026-03-15|0|0.0000|-100.0000"})
		want(t, k.Query(t, `SELECT fact, effect FROM analytics_effects ORDER BY fact`),
			[]string{"order.cancelled.v1|COUNTED", "order.placed.v2|COUNTED", "refund.issued.v1|KEPT"})
	}
}

func TestLeftOut(t *testing.T) {
	t.Parallel()
	grouptest.Each(t, analytics.Group, func(k *grouptest.Kit) {
		t := k.T
		test := anOrder(t, "test", "2026-03-14T11:20:00Z", "100")
		e := test.PlacedEvent()
		e.Test = true
		handle(t, k, e, test.Placed())
		re, r := test.Refund("r", "120", at(t, "2026-03-16T10:00:00Z")) // doesn't know that it is a test
		handle(t, k, re, r)
		foreign := anOrder(t, "A", "2026-03-14T11:20:00Z", "100")
		handle(t, k, foreign.PlacedEvent(), foreign.Placed())
		re, r = foreign.Refund("r", "120", at(t, "2026-03-16T10:00:00Z"))
		r.Currency = "EUR"
		handle(t, k, re, r)
		want(t, byDay(t, k), []string{"2026-03-14|1|100.0000|100.0000"})
	})
}

// Whatever the order in which facts come, and however often, the rows are the same.
func TestPermutations_endEqual(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, analytics.Group())
	rapid.Check(t, func(r *rapid.T) {
		type input struct {
			e event.Event
			f event.Fact
		}
		var inputs []input
		for i := range 2 {
			o := anOrder(t, fmt.Sprint("o", i), "2026-03-14T11:20:00Z", "100")
			o.Lines = append(o.Lines, grouptest.Line{ID: "2", SKU: "T", Quantity: "3", Price: "3.35", Discount: "0.05", Rate: "0.05"})
			o.Shipping, o.ShippingRate = "5.00", "0.20"
			inputs = append(inputs, input{o.PlacedEvent(), o.Placed()})
			for j := range rapid.IntRange(0, 4).Draw(r, "withdrawals") {
				when := o.At.Add(time.Duration(rapid.IntRange(0, 80).Draw(r, "hours"))*time.Hour + time.Duration(j)*time.Second)
				line := rapid.SampledFrom([]string{"1", "2", "unknown"}).Draw(r, "line")
				n := fmt.Sprint(rapid.IntRange(0, 3).Draw(r, "quantity"))
				cents := func(most int64) string { return fmt.Sprintf("%d.%02d", rapid.Int64Range(0, most).Draw(r, "amount"), j) }
				switch rapid.IntRange(0, 4).Draw(r, "kind") {
				case 0:
					e, f := o.Cancelled(when)
					inputs = append(inputs, input{e, f})
				case 1:
					e, f := o.Cancelled(when, grouptest.Line{ID: line, Quantity: n})
					inputs = append(inputs, input{e, f})
				default:
					how := rapid.SampledFrom([]refund.IssuedV1Restock{refund.IssuedV1RestockCancel, refund.IssuedV1RestockReturn}).Draw(r, "restock")
					e, f := o.Refund(fmt.Sprint("r", j), cents(150), when, grouptest.Refunded{ID: line, Quantity: n, Net: cents(90), Tax: cents(15), Restock: how})
					f.ShippingAmount = grouptest.D(cents(6))
					inputs = append(inputs, input{e, f})
				}
			}
		}
		inputs = append(inputs, inputs[rapid.IntRange(0, len(inputs)-1).Draw(r, "duplicate")])
		var first []string
		for range 3 {
			k.Reset(t)
			for _, i := range rapid.Permutation(indexes(len(inputs))).Draw(r, "arrival") {
				in := inputs[i]
				if _, err := k.Handle(t.Context(), in.e, in.f); err != nil {
					r.Fatal(err)
				}
			}
			rows := k.Query(t, `SELECT * FROM analytics_revenue ORDER BY order_key, cause, part_no`)
			if first == nil {
				first = rows
			}
			if diff := cmp.Diff(first, rows); diff != "" {
				r.Fatalf("another arrival ends in other rows: %s", diff)
			}
			if bad := k.Query(t, `SELECT order_key, SUM(amount) FROM analytics_revenue GROUP BY order_key HAVING SUM(amount) < 0`); len(bad) > 0 {
				r.Fatalf("more is taken back than was sold: %v", bad)
			}
		}
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
