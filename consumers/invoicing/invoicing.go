// Package invoicing writes an invoice for every order and credits it when the order is
// cancelled or refunded.
//
// # Invoice
//
// order.placed.v2 becomes one invoice, published as invoice.created.v1: a line per line
// of the order and per shipping charge, and a line each for fees and duties where they
// are part of the total. Its gross is the order's grand total to the cent.
//
// Tax is computed by the tax policy of the instance from the rates of the order:
// LINE_HALF_UP (default) and LINE_HALF_EVEN round each line, DOCUMENT_HALF_UP rounds the
// sum per rate and shares it among the lines by largest remainder. Prices that include
// tax are taken apart: tax = gross × rate ÷ (1 + rates). Where the result is further from
// the order's own tax than rounding explains (a unit of the currency per taxed line, at
// least 2, at most 10), the shop did something else than rate × amount, and its taxes
// stand as they are (tax_basis SHOP instead of POLICY). What is then missing to the grand
// total is in totals.rounding; more than rounding explains, as with an order that came
// without its taxes, stands as a line of its own, "Difference to the order total". It is
// never silent.
//
// # Dates
//
// The day of issue is the local day of placed_at in the zone of the instance if that is
// a business day and the time is before 17:00, else the next business day. The due date
// is payment_days calendar days later, moved to the following business day if need be.
// Calendars: gb-eng (England and Wales), us-federal, and Monday to Friday where none is
// set.
//
// # Numbers
//
// Invoices and credit notes have series of their own per legal entity (the instance,
// where none is configured): UK01-INV-000001, UK01-CN-000001. The counter is a row that is
// locked within the transaction of the document, so that numbers have no gaps.
//
// # Credit
//
// What is credited is a function of the set of all cancellations and refunds of the
// order, so that it does not matter in which order they come, nor whether before the
// order. Per line of the order, with g = its gross on the invoice:
//
//	K  value of the cancelled quantity: g × quantity ÷ ordered
//	R  money refunded for goods that had not left, N money for goods that came back
//	   (a refund of less than its lines says is spread over them in proportion)
//	c  = min(g, max(K, R) + N)          a cancellation with a refund credits once
//
// Refunded shipping is credited against what is not a line of the order, other money
// (goodwill, more than a line was worth) against what remains of the invoice. The sum
// never passes the invoice; a cancellation of scope ALL credits all of it. The tax of a
// part is tax × c ÷ g, rounded on the running total, so that the last refund takes what
// the others left. Each cancellation or refund gets one credit note about what it adds to
// the sum, published as credit-note.issued.v1, and none if it adds nothing. How the sum is
// split between the credit notes depends on which came first; the sum does not.
//
// A refund in another currency than the invoice is kept and not credited. Test orders
// get no invoice. Payments (payment.received.v1) are kept for the balance.
//
// # Tables
//
// Money is BIGINT in 10⁻⁴ units, prices and rates in 10⁻⁶ units, times are BIGINT
// microseconds since 1970, dates ISO text. Each table has a view named <table>_view that
// shows decimals and timestamps.
//
//	invoicing_counters           last number per legal entity and series (INV, CN)
//	invoicing_orders             an order that was handled: INVOICED or TEST
//	invoicing_invoices           the invoice of an order, with what is credited so far
//	invoicing_invoice_lines      its lines
//	invoicing_withdrawals        cancellations and refunds, natural key: the refund or cancellation
//	invoicing_withdrawal_lines   what they take back per line
//	invoicing_credit_notes       credit notes, at most one per withdrawal
//	invoicing_credit_note_lines  their lines
//	invoicing_payments           captured payments, natural key: payment and capture
//	invoicing_balances           view: gross, credited, paid, refunded and open per invoice
//	invoicing_effects            view: one row per event that left its mark (event_id, fact, order_key, effect)
package invoicing

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
	creditnote "github.com/eventspine/spine/schemas/credit-note"
	"github.com/eventspine/spine/schemas/invoice"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
	"github.com/eventspine/spine/schemas/refund"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Group is the group invoicing.
func Group() consumer.Group {
	h := handlers{calendars: calendars()}
	return consumer.Group{
		Name:   "invoicing",
		Owner:  "finance",
		Tables: tables(),
		On: []consumer.Handler{
			consumer.On(h.placed),
			consumer.On(h.cancelled),
			consumer.On(h.refunded),
			consumer.On(h.paid),
		},
		Emits:  []event.Fact{invoice.CreatedV1{}, creditnote.IssuedV1{}},
		Ledger: ledger(),
		Reports: []consumer.Report{
			{Title: "Invoices", Query: "SELECT legal_entity, currency, invoices, gross, tax, rounding, credit_notes, credited FROM invoicing_totals ORDER BY legal_entity, currency"},
		},
	}
}

// ledger says per fact, older majors among them, where the tables show its events.
func ledger() map[string]string {
	all := map[string]string{}
	for _, fact := range []string{"order.placed.v1", "order.placed.v2", "order.cancelled.v1", "refund.issued.v1", "payment.received.v1"} {
		all[fact] = "SELECT event_id FROM invoicing_effects WHERE fact = '" + fact + "'"
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

const (
	source     = "spine/invoicing"
	scale      = 4 // decimal places of money and quantities in SQL
	priceScale = 6 // of prices and rates
)

func orderKey(ref common.Ref) string { return event.Key(ref.System+"/"+ref.Instance, ref.ID) }

// units is an amount as it stands in SQL.
func units(what string, d money.Decimal, places int) (int64, error) {
	n, err := d.Units(places)
	if err != nil {
		return 0, consumer.Reject(fmt.Sprintf("%s: %s", what, err))
	}
	return n, nil
}

func decimal(n int64) money.Decimal { return money.FromUnits(n, scale) }

type handlers struct{ calendars map[string]workdays }

// placed invoices an order, once.
func (h handlers) placed(ctx context.Context, tx consumer.Tx, e event.Of[order.PlacedV2]) error {
	key := orderKey(e.Data.OrderRef)
	outcome := "INVOICED"
	if e.Test {
		outcome = "TEST"
	}
	isNew, err := insertOrder(ctx, tx, key, e.Event, outcome, e.Data.PlacedAt)
	if err != nil || !isNew || e.Test {
		return err // promise: once, also for an order that comes as another event
	}
	doc, err := draft(e.Data, e.Instance)
	if err != nil {
		return err
	}
	if doc.Issued, doc.Due, err = h.dates(e.Data.PlacedAt, e.Instance); err != nil {
		return err
	}
	if doc.Paid, err = paid(ctx, tx, key, doc.Currency); err != nil {
		return err
	}
	if err := insertInvoice(ctx, tx, &doc); err != nil {
		return err
	}
	if err := tx.Publish(event.New{Fact: doc.fact(), Entity: key, Key: event.Key(source, key), At: e.Data.PlacedAt}); err != nil {
		return err
	}
	ws, err := withdrawals(ctx, tx, key)
	if err != nil {
		return err
	}
	// What was taken back before the order came is credited now.
	for k := range ws {
		if err := h.credit(ctx, tx, e.Instance, &doc, ws[:k+1]); err != nil {
			return err
		}
	}
	return nil
}

// cancelled credits the cancelled quantities.
func (h handlers) cancelled(ctx context.Context, tx consumer.Tx, e event.Of[order.CancelledV1]) error {
	c := e.Data
	w := withdrawal{Key: "cancellation:ALL", EventID: e.ID, At: c.CancelledAt, Cause: creditnote.IssuedV1CauseCancelledOrder, All: c.Scope == order.CancelledV1ScopeAll}
	if !w.All {
		if len(c.Lines) == 0 {
			return consumer.Reject("scope " + string(c.Scope) + " without lines: cannot tell what is cancelled")
		}
		w.Key = "cancellation:" + e.ID // an id is the same for every report of one cancellation
		for _, l := range c.Lines {
			w.add(l.LineID, byCancellation, l.Quantity, money.Decimal{})
		}
	}
	return h.withdraw(ctx, tx, e.Event, c.OrderRef, w)
}

// refunded credits the money that went back.
func (h handlers) refunded(ctx context.Context, tx consumer.Tx, e event.Of[refund.IssuedV1]) error {
	w, err := fromRefund(e.Data)
	if err != nil {
		return err
	}
	w.EventID = e.ID
	return h.withdraw(ctx, tx, e.Event, e.Data.OrderRef, w)
}

// withdraw keeps a cancellation or refund, and credits it if its invoice is here.
func (h handlers) withdraw(ctx context.Context, tx consumer.Tx, e event.Event, ref common.Ref, w withdrawal) error {
	key := orderKey(ref)
	isNew, err := insertWithdrawal(ctx, tx, key, e, w)
	if err != nil || !isNew || e.Test {
		return err // promise: once
	}
	doc, found, err := loadInvoice(ctx, tx, ref)
	if err != nil || !found {
		return err // the order will find it
	}
	ws, err := withdrawals(ctx, tx, key)
	if err != nil {
		return err
	}
	// The new one goes last: what it adds is its own credit note.
	for i := range ws {
		if ws[i].Key == w.Key {
			ws = append(append(ws[:i:i], ws[i+1:]...), ws[i])
			break
		}
	}
	return h.credit(ctx, tx, e.Instance, &doc, ws)
}

// paid keeps a captured payment for the balance of its order's invoice.
func (h handlers) paid(ctx context.Context, tx consumer.Tx, e event.Of[payment.ReceivedV1]) error {
	if e.Data.OrderRef == nil {
		return nil // of an invoice that is not ours
	}
	return insertPayment(ctx, tx, orderKey(*e.Data.OrderRef), e)
}

// dates are the day of issue and the due date of a document that happened at a time.
func (h handlers) dates(at time.Time, in event.Instance) (issued, due event.Date, err error) {
	days, ok := h.calendars[in.Calendar]
	if !ok {
		return issued, due, fmt.Errorf("dating a document of %s: calendar %q is not known: want gb-eng, us-federal or none", in, in.Calendar)
	}
	loc, err := in.Location()
	if err != nil {
		return issued, due, fmt.Errorf("dating a document: %w", err)
	}
	issued = days.issue(at, loc)
	return issued, days.due(issued, in.PaymentDays), nil
}
