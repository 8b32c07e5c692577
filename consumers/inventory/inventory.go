// Package inventory reserves stock for orders and sets it free again.
//
// # What it does
//
//   - order.placed.v2: each line whose stock the store counts (stock_tracked; never a
//     sku custom:…) is reserved in full or not at all, in the pool of warehouses that
//     serves the instance. What is reserved is published as stock.reserved.v1 with its
//     warehouses, what cannot be served in full as stock.shortage-detected.v1; an order
//     can get both. One warehouse that can serve a line alone is taken before the line
//     is split; warehouses are tried in the order of preference of the instance.
//   - order.cancelled.v1 with restock, and refund.issued.v1 whose lines go back to
//     stock (CANCEL, RETURN), set reserved stock free: stock.reservation-released.v1.
//
// # How much is released
//
// Per line, for the set of all cancellations and refunds of the order:
//
//	due      = max(cancelled, refunded with CANCEL) + refunded with RETURN
//	released = min(reserved, due)
//
// cancelled is everything for a cancellation of scope ALL. A cancellation and a refund
// with CANCEL speak of the same goods, so that a cancellation with a refund releases
// once; RETURN is about goods that had left. Since due depends on the set and not on
// the order of events, a cancellation or a refund that comes before its order.placed is
// kept and ends in the same numbers: a line that is withdrawn in full by then is not
// reserved at all, others are reserved and then released in part.
//
// # Stock
//
// Levels come from the configuration (stock: a CSV file with the columns sku,
// warehouse, on_hand; or levels: the same inline) and are inserted when an article is
// first touched; after that the table stands. reserved never passes on_hand, unless the
// pool allows oversell. Test orders reserve nothing.
//
//	groups:
//	  inventory:
//	    stock: stock.csv
//	    pools: {main: {warehouses: [wms/east, wms/west], oversell: false}}
//
// The pool of an instance is the one that holds its warehouses (that of the first one
// it prefers, should they stand in several). Without pools there is one, main, with all
// warehouses of the stock; an instance that names no warehouse is served by the only
// pool, if there is one. Where no pool serves it, every line is a shortage in pool none.
//
// # Tables
//
// Quantities are BIGINT in 10⁻⁴ units, times BIGINT microseconds since 1970. Each table
// has a view named <table>_view that shows decimals and timestamps.
//
//	inventory_levels            stock per sku and warehouse: on_hand, reserved
//	inventory_orders            an order that was handled, its pool and outcome
//	inventory_lines             its stock-tracked lines: ordered, reserved, released
//	inventory_reservations      what is reserved where, and how much of it is released
//	inventory_withdrawals       cancellations and refunds, natural key: the refund or cancellation
//	inventory_withdrawal_lines  what they take back per line
//	inventory_effects           view: one row per event that left its mark (event_id, fact, order_key, effect)
package inventory

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/refund"
	"github.com/eventspine/spine/schemas/stock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Group is the group inventory.
func Group() consumer.Group {
	cfg := &Config{}
	h := handlers{cfg}
	return consumer.Group{
		Name:   "inventory",
		Owner:  "logistics",
		Tables: tables(),
		Config: cfg,
		On: []consumer.Handler{
			consumer.On(h.placed),
			consumer.On(h.cancelled),
			consumer.On(h.refunded),
		},
		Emits:  []event.Fact{stock.ReservedV1{}, stock.ShortageDetectedV1{}, stock.ReservationReleasedV1{}},
		Ledger: ledger(),
		Reports: []consumer.Report{
			{Title: "Orders by what stock they got", Query: "SELECT pool, outcome, COUNT(*) AS orders FROM inventory_orders GROUP BY pool, outcome ORDER BY pool, outcome"},
			{Title: "Articles with the least stock", Query: "SELECT v.sku, v.warehouse, v.on_hand, v.reserved, v.available FROM inventory_levels_view v JOIN inventory_levels l ON l.sku = v.sku AND l.warehouse = v.warehouse ORDER BY l.on_hand - l.reserved, v.sku, v.warehouse LIMIT 10"},
		},
	}
}

// ledger says per fact, older majors among them, where the tables show its events.
func ledger() map[string]string {
	all := map[string]string{}
	for _, fact := range []string{"order.placed.v1", "order.placed.v2", "order.cancelled.v1", "refund.issued.v1"} {
		all[fact] = "SELECT event_id FROM inventory_effects WHERE fact = '" + fact + "'"
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

// scale is the number of decimal places of quantities in SQL.
const scale = 4

// units is a quantity as it stands in SQL.
func units(what string, d money.Decimal) (int64, error) {
	n, err := d.Units(scale)
	if err != nil {
		return 0, consumer.Reject(fmt.Sprintf("%s: want a quantity with at most %d decimal places that fits 64 bits", what, scale))
	}
	if n < 0 {
		return 0, consumer.Reject(what + ": is negative")
	}
	return n, nil
}

func decimal(n int64) money.Decimal { return money.FromUnits(n, scale) }

func orderKey(ref common.Ref) string { return event.Key(ref.System+"/"+ref.Instance, ref.ID) }

type handlers struct{ cfg *Config }

// placed reserves what can be reserved, once per order.
func (h handlers) placed(ctx context.Context, tx consumer.Tx, e event.Of[order.PlacedV2]) error {
	o := anOrder{Ref: e.Data.OrderRef, Key: orderKey(e.Data.OrderRef), At: e.Data.PlacedAt}
	pool, err := h.cfg.poolOf(e.Instance)
	if err != nil {
		return err
	}
	isNew, err := insertOrder(ctx, tx, o, e.Event, pool.Name)
	if err != nil || !isNew {
		return err // promise: once, also for an order that comes as another event
	}
	if e.Test {
		return setOutcome(ctx, tx, o.Key, "TEST")
	}
	if o.Lines, err = trackedLines(e.Data); err != nil {
		return err
	}
	ws, err := withdrawals(ctx, tx, o.Key)
	if err != nil {
		return err
	}
	shortages, oversold, after, err := h.reserve(ctx, tx, pool, &o, ws)
	if err != nil {
		return err
	}
	if err := errors.Join(
		announceReserved(tx, o, pool.Name, after, oversold),
		announceShortage(tx, o, shortages),
	); err != nil {
		return err
	}
	if err := errors.Join(insertLines(ctx, tx, o), setOutcome(ctx, tx, o.Key, outcome(o, len(shortages)))); err != nil {
		return err
	}
	// What was taken back before the order came is applied now.
	for k := range ws {
		if err := release(ctx, tx, &o, ws[:k+1]); err != nil {
			return err
		}
	}
	return nil
}

func outcome(o anOrder, short int) string {
	reserved := 0
	for _, l := range o.Lines {
		if l.Reserved > 0 {
			reserved++
		}
	}
	switch {
	case reserved > 0 && short > 0:
		return "PARTIAL"
	case reserved > 0:
		return "RESERVED"
	case short > 0:
		return "SHORT"
	}
	return "NOTHING"
}

func trackedLines(o order.PlacedV2) ([]line, error) {
	var lines []line
	seen := map[string]bool{}
	for i, l := range o.Lines {
		if seen[l.LineID] {
			return nil, consumer.Reject(fmt.Sprintf("lines[%d].line_id: stands twice in the order", i))
		}
		seen[l.LineID] = true
		if !l.StockTracked || strings.HasPrefix(l.SKU, "custom:") {
			continue
		}
		n, err := units(fmt.Sprintf("lines[%d].quantity", i), l.Quantity)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			lines = append(lines, line{ID: l.LineID, SKU: l.SKU, Ordered: n})
		}
	}
	return lines, nil
}

// cancelled withdraws the cancelled quantities.
func (h handlers) cancelled(ctx context.Context, tx consumer.Tx, e event.Of[order.CancelledV1]) error {
	c := e.Data
	w := withdrawal{Key: "cancellation:ALL", At: c.CancelledAt, Reason: stock.ReservationReleasedV1ReasonCancelled, All: c.Scope == order.CancelledV1ScopeAll}
	if !w.All {
		if len(c.Lines) == 0 {
			return consumer.Reject("scope " + string(c.Scope) + " without lines: cannot tell what is cancelled")
		}
		w.Key = "cancellation:" + e.ID // an id is the same for every report of one cancellation
	}
	if !c.Restock {
		w.All = false // the goods are not sold again: they stay reserved
	} else if !w.All {
		for i, l := range c.Lines {
			n, err := units(fmt.Sprintf("lines[%d].quantity", i), l.Quantity)
			if err != nil {
				return err
			}
			w.add(l.LineID, byCancellation, n)
		}
	}
	return withdraw(ctx, tx, e.Event, c.OrderRef, w)
}

// refunded withdraws the lines of a refund that go back to stock.
func (h handlers) refunded(ctx context.Context, tx consumer.Tx, e event.Of[refund.IssuedV1]) error {
	w := withdrawal{Key: "refund:" + e.Data.RefundID, At: e.Data.IssuedAt, Reason: stock.ReservationReleasedV1ReasonRefunded}
	for i, l := range e.Data.Lines {
		how := byRefund
		switch l.Restock {
		case refund.IssuedV1RestockCancel:
		case refund.IssuedV1RestockReturn:
			how = byReturn
		default:
			continue
		}
		n, err := units(fmt.Sprintf("lines[%d].quantity", i), l.Quantity)
		if err != nil {
			return err
		}
		w.add(l.LineID, how, n)
	}
	return withdraw(ctx, tx, e.Event, e.Data.OrderRef, w)
}

// withdraw keeps a cancellation or refund, and applies it if its order is here.
func withdraw(ctx context.Context, tx consumer.Tx, e event.Event, ref common.Ref, w withdrawal) error {
	if e.Test {
		w.All, w.Lines = false, nil
	}
	key := orderKey(ref)
	isNew, err := insertWithdrawal(ctx, tx, key, e, w)
	if err != nil || !isNew {
		return err // promise: once
	}
	o, found, err := loadOrder(ctx, tx, ref)
	if err != nil || !found {
		return err // the order will find it
	}
	ws, err := withdrawals(ctx, tx, key)
	if err != nil {
		return err
	}
	// The new one goes last: what it releases is announced as its own.
	for i := range ws {
		if ws[i].Key == w.Key {
			ws = append(append(ws[:i:i], ws[i+1:]...), ws[i])
			break
		}
	}
	return release(ctx, tx, &o, ws)
}
