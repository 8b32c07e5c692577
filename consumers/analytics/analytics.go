// Package analytics counts revenue by day, from the beginning of the stream.
//
// # What it counts
//
// Revenue is what customers owe, less tax: articles after discounts, shipping, tips, fees,
// and what else stands in the total of an order. order.placed.v2 adds to it,
// order.cancelled.v1 and refund.issued.v1 take from it. Every movement has two days, both
// business dates in the time zone of the instance:
//
//   - order_day: the day of the order that it belongs to. By it, a day shows what became
//     of its orders (the cohort view).
//   - booked_day: the day on which it happened itself. By it, a day shows what was
//     booked on it (the view of the books).
//
// # What is taken back
//
// Per line of the order, with g = its gross:
//
//	K  value of the cancelled quantity: g × quantity ÷ ordered
//	R  money refunded for goods that had not left, N money for goods that came back
//	   (a refund of less than its lines says is spread over them in proportion)
//	c  = min(g, max(K, R) + N)          a cancellation with a refund counts once
//
// Refunded shipping is taken from shipping, other money (goodwill) from what remains of
// the order, and stands as a part of its own, kind OTHER. A cancellation of scope ALL takes all that is
// left. Revenue falls by the net share of c. The cancellations and refunds of an order are
// taken in the order in which they happened, not in which they came: whenever a fact of an
// order arrives, its movements are computed anew from all that is known of it. So late and
// out-of-order facts, and those that come before their order, end in the same numbers.
//
// A refund in another currency than its order is kept and not counted. Test orders are left
// out.
//
// # Tables
//
// Money and quantities are BIGINT in 10⁻⁴ units, times BIGINT microseconds since 1970,
// days ISO text. Each table has a view named <table>_view that shows decimals and
// timestamps.
//
//	analytics_orders            an order: its day, zone, currency
//	analytics_order_parts       its lines, shipping, fees, and the rest of its total
//	analytics_withdrawals       cancellations and refunds, natural key: the refund or cancellation
//	analytics_withdrawal_lines  what they take back per line
//	analytics_revenue           the movements: one per part and sale, cancellation or refund.
//	                            recorded_at is when the last fact that it rests on was
//	                            received, so that rows up to a time are what was known then
//
// To read:
//
//	analytics_revenue_by_order_day   view: day, instance, currency, sku, kind, sold, taken_back, revenue
//	analytics_revenue_by_booked_day  view: the same by booked day
//	analytics_revenue_by_day         view: day, instance, currency, orders, by_order_day, by_booked_day
//	analytics_effects                view: one row per event that left its mark (event_id, fact, order_key, effect)
package analytics

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/refund"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Group is the group analytics.
func Group() consumer.Group {
	return consumer.Group{
		Name:     "analytics",
		Owner:    "data",
		Start:    consumer.FromBeginning,
		Backfill: true,
		Tables:   tables(),
		On: []consumer.Handler{
			consumer.On(placed),
			consumer.On(cancelled),
			consumer.On(refunded),
		},
		Ledger: ledger(),
		Reports: []consumer.Report{
			{Title: "Revenue by day, net of tax", Query: "SELECT day, instance, currency, orders, by_order_day, by_booked_day FROM analytics_revenue_by_day ORDER BY day, instance, currency"},
		},
	}
}

// ledger says per fact, older majors among them, where the tables show its events.
func ledger() map[string]string {
	all := map[string]string{}
	for _, fact := range []string{"order.placed.v1", "order.placed.v2", "order.cancelled.v1", "refund.issued.v1"} {
		all[fact] = "SELECT event_id FROM analytics_effects WHERE fact = '" + fact + "'"
	}
	return all
}

func tables() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded: cannot happen
	}
	return sub
}

// scale is the number of decimal places of money and quantities in SQL.
const scale = 4

func orderKey(ref common.Ref) string { return event.Key(ref.System+"/"+ref.Instance, ref.ID) }

// units is an amount as it stands in SQL.
func units(what string, d money.Decimal) (int64, error) {
	n, err := d.Units(scale)
	if err != nil {
		return 0, consumer.Reject(fmt.Sprintf("%s: %s", what, err))
	}
	return n, nil
}

func decimal(n int64) money.Decimal { return money.FromUnits(n, scale) }

// placed keeps an order and counts it.
func placed(ctx context.Context, tx consumer.Tx, e event.Of[order.PlacedV2]) error {
	zone, err := e.Instance.Location()
	if err != nil {
		return fmt.Errorf("counting an order: %w", err)
	}
	o := sale{
		Key: orderKey(e.Data.OrderRef), Instance: e.Data.OrderRef.System + "/" + e.Data.OrderRef.Instance, Currency: e.Data.Currency,
		Day: event.DateOf(e.Data.PlacedAt, zone), Recorded: e.RecordedAt, Test: e.Test,
	}
	if o.Places, err = money.Exponent(o.Currency); err != nil {
		return consumer.Reject("currency: " + err.Error())
	}
	if o.Parts, err = partsOf(e.Data); err != nil {
		return err
	}
	isNew, err := insertOrder(ctx, tx, e.Event, o, e.Data.PlacedAt)
	if err != nil || !isNew {
		return err // promise: once, also for an order that comes as another event
	}
	return count(ctx, tx, o)
}

// cancelled takes the cancelled quantities back.
func cancelled(ctx context.Context, tx consumer.Tx, e event.Of[order.CancelledV1]) error {
	c := e.Data
	// An event id is the same for every report of one cancellation.
	w := withdrawal{Key: "cancellation:" + e.ID, Kind: "CANCELLATION", At: c.CancelledAt, Recorded: e.RecordedAt, All: c.Scope == order.CancelledV1ScopeAll}
	if !w.All {
		if len(c.Lines) == 0 {
			return consumer.Reject("scope " + string(c.Scope) + " without lines: cannot tell what is cancelled")
		}
		for _, l := range c.Lines {
			w.add(taken{LineID: l.LineID, How: byCancellation, Quantity: l.Quantity})
		}
	}
	return withdraw(ctx, tx, e.Event, orderKey(c.OrderRef), w)
}

// refunded takes the money back that was given back.
func refunded(ctx context.Context, tx consumer.Tx, e event.Of[refund.IssuedV1]) error {
	w, err := fromRefund(e.Data)
	if err != nil {
		return err
	}
	w.Recorded = e.RecordedAt
	return withdraw(ctx, tx, e.Event, orderKey(e.Data.OrderRef), w)
}

// withdraw keeps a cancellation or refund, and counts its order anew if that is here.
func withdraw(ctx context.Context, tx consumer.Tx, e event.Event, key string, w withdrawal) error {
	zone, err := e.Instance.Location()
	if err != nil {
		return fmt.Errorf("counting a withdrawal: %w", err)
	}
	w.Day = event.DateOf(w.At, zone)
	isNew, err := insertWithdrawal(ctx, tx, key, e, w)
	if err != nil || !isNew || e.Test {
		return err // promise: once
	}
	o, found, err := loadOrder(ctx, tx, key)
	if err != nil || !found {
		return err // the order will find it
	}
	return count(ctx, tx, o)
}

// count writes the movements of an order anew.
func count(ctx context.Context, tx consumer.Tx, o sale) error {
	if o.Test {
		return nil
	}
	ws, err := withdrawals(ctx, tx, o.Key)
	if err != nil {
		return err
	}
	return replaceMovements(ctx, tx, o, o.movements(ws))
}
