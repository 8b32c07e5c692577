package invoicing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
	creditnote "github.com/eventspine/spine/schemas/credit-note"
	"github.com/eventspine/spine/schemas/refund"
)

// how a line was taken back.
type how string

const (
	byCancellation how = "CANCELLATION"
	byRefund       how = "REFUND"
	byReturn       how = "RETURN" // a refund for goods that came back
)

// withdrawal is a cancellation or a refund.
type withdrawal struct {
	Key      string // natural key inside the order
	EventID  string
	At       time.Time
	Cause    creditnote.IssuedV1Cause
	All      bool
	Currency string // of a refund; "" for a cancellation, which is about quantities
	Shipping money.Decimal
	Other    money.Decimal // money that is neither for a line nor for shipping
	Lines    []withdrawn
}

// withdrawn is what a withdrawal takes back of one line.
type withdrawn struct {
	LineID   string
	How      how
	Quantity money.Decimal
	Amount   money.Decimal // gross; 0 for a cancellation
}

func (w *withdrawal) add(lineID string, by how, quantity, amount money.Decimal) {
	for i := range w.Lines {
		if l := &w.Lines[i]; l.LineID == lineID && l.How == by {
			l.Quantity, l.Amount = l.Quantity.Add(quantity), l.Amount.Add(amount)
			return
		}
	}
	w.Lines = append(w.Lines, withdrawn{lineID, by, quantity, amount})
}

// quantity is how much of a line this withdrawal names.
func (w withdrawal) quantity(lineID string) (q money.Decimal) {
	for _, l := range w.Lines {
		if l.LineID == lineID {
			q = q.Add(l.Quantity)
		}
	}
	return q
}

// fromRefund takes a refund apart. The money that went back decides: where it is less
// than the lines and shipping say, it is spread over them in proportion.
func fromRefund(r refund.IssuedV1) (withdrawal, error) {
	w := withdrawal{Key: "refund:" + r.RefundID, At: r.IssuedAt, Cause: creditnote.IssuedV1CauseRefund, Currency: r.Currency}
	places, err := money.Exponent(r.Currency)
	if err != nil {
		return w, consumer.Reject("currency: " + err.Error())
	}
	if r.Amount.Sign() < 0 {
		return w, consumer.Reject("amount: is negative")
	}
	amount := r.Amount.Round(places, money.HalfUp)
	shares := []money.Decimal{r.ShippingAmount.Add(r.ShippingTax).Round(places, money.HalfUp)}
	for _, l := range r.Lines {
		shares = append(shares, l.NetAmount.Add(l.TaxAmount).Round(places, money.HalfUp))
	}
	if slices.ContainsFunc(shares, func(d money.Decimal) bool { return d.Sign() < 0 }) {
		return w, consumer.Reject("lines and shipping: an amount is negative")
	}
	w.Other = amount.Sub(money.Sum(shares...))
	if w.Other.Sign() < 0 {
		w.Other = money.Decimal{}
		if shares, err = money.Allocate(amount, shares, places); err != nil {
			return w, fmt.Errorf("spreading refund %s: %w", r.RefundID, err)
		}
	}
	w.Shipping = shares[0]
	for i, l := range r.Lines {
		by := byRefund
		if l.Restock == refund.IssuedV1RestockReturn {
			by = byReturn
		}
		w.add(l.LineID, by, l.Quantity, shares[i+1])
	}
	return w, nil
}

// part is what can be credited of an invoice: a line of the order, or the rest.
type part struct {
	Line docLine
	amounts
}

// parts are the lines of the order on the invoice, and the rest of it: shipping, fees,
// duties, rounding. Together they are the invoice. A rest below zero, which rounding can
// bring about, is taken from the largest lines.
func (d *document) parts() (lines []part, rest part) {
	rest.Gross = d.Rounding
	for _, l := range d.Lines {
		a := amounts{l.Net.Add(l.Tax), l.Tax}
		if l.Origin == nil {
			rest.amounts = rest.plus(a)
			if rest.Line.ID == "" {
				rest.Line = l
			}
			continue
		}
		lines = append(lines, part{l, a})
	}
	bySize := make([]*part, len(lines))
	for i := range lines {
		bySize[i] = &lines[i]
	}
	slices.SortStableFunc(bySize, func(a, b *part) int { return b.Gross.Cmp(a.Gross) })
	for _, p := range bySize {
		if rest.net().Sign() >= 0 {
			break
		}
		take := smaller(p.net(), rest.net().Neg())
		p.Gross, rest.Gross = p.Gross.Sub(take), rest.Gross.Add(take)
	}
	return lines, rest
}

// credited is what a set of withdrawals credits of an invoice.
type credited struct {
	Lines []amounts // as parts
	Rest  amounts
	Other amounts // against what the others leave
}

func (c credited) sum() amounts {
	all := c.Rest.plus(c.Other)
	for _, a := range c.Lines {
		all = all.plus(a)
	}
	return all
}

// creditOf is the law of the package comment. It depends on the set alone and never
// shrinks when a withdrawal is added.
func (d *document) creditOf(ws []withdrawal) credited {
	lines, rest := d.parts()
	c := credited{Lines: make([]amounts, len(lines))}
	if slices.ContainsFunc(ws, func(w withdrawal) bool { return w.All }) {
		for i, p := range lines {
			c.Lines[i] = p.amounts
		}
		c.Rest = rest.amounts
		return c
	}
	left := rest.amounts // what remains for other money
	gone := d.refunded(ws)
	shipping, other := gone.shipping, gone.other
	for i, p := range lines {
		r := gone.lines[*p.Line.Origin]
		delete(gone.lines, *p.Line.Origin)
		gross := smaller(p.Gross, larger(d.cancelledValue(p, ws), r.refund).Add(r.returned))
		c.Lines[i] = d.share(p.amounts, gross)
		left = left.plus(p.minus(c.Lines[i]))
		other = other.Add(beyond(r.refund.Add(r.returned), p.Gross))
	}
	for _, r := range gone.lines { // lines that the invoice doesn't know, of an edit
		other = other.Add(r.refund).Add(r.returned)
	}
	c.Rest = d.share(rest.amounts, smaller(rest.Gross, shipping))
	left = left.minus(c.Rest)
	other = other.Add(beyond(shipping, rest.Gross))
	c.Other = d.share(left, smaller(left.Gross, other))
	return c
}

// beyond is what of a is more than b.
func beyond(a, b money.Decimal) money.Decimal { return larger(money.Decimal{}, a.Sub(b)) }

// share is the part of an amount that has the given gross: tax in proportion.
func (d *document) share(of amounts, gross money.Decimal) amounts {
	tax, err := of.Tax.Mul(gross).Div(of.Gross, d.Places, money.HalfUp)
	if err != nil {
		return amounts{} // nothing of nothing
	}
	return amounts{gross, tax}
}

// refundedMoney is the sum of the refunds of an order.
type refundedMoney struct {
	lines           map[string]lineRefund
	shipping, other money.Decimal
}

type lineRefund struct{ refund, returned money.Decimal }

func (d *document) refunded(ws []withdrawal) refundedMoney {
	sum := refundedMoney{lines: map[string]lineRefund{}}
	for _, w := range ws {
		if w.Currency != d.Currency {
			continue
		}
		sum.shipping, sum.other = sum.shipping.Add(w.Shipping), sum.other.Add(w.Other)
		for _, l := range w.Lines {
			r := sum.lines[l.LineID]
			if l.How == byReturn {
				r.returned = r.returned.Add(l.Amount)
			} else {
				r.refund = r.refund.Add(l.Amount)
			}
			sum.lines[l.LineID] = r
		}
	}
	return sum
}

// cancelledValue is the value of the cancelled quantity of a line.
func (d *document) cancelledValue(p part, ws []withdrawal) money.Decimal {
	var n money.Decimal
	for _, w := range ws {
		for _, l := range w.Lines {
			if l.How == byCancellation && l.LineID == *p.Line.Origin {
				n = n.Add(l.Quantity)
			}
		}
	}
	value, err := p.Gross.Mul(smaller(n, p.Line.Quantity)).Div(p.Line.Quantity, d.Places, money.HalfUp)
	if err != nil {
		return money.Decimal{} // nothing was ordered
	}
	return value
}

// note is a credit note.
type note struct {
	Number   string
	Sequence int64
	Issued   event.Date
	Lines    []noteLine
	amounts
}

type noteLine struct {
	Line     string // of the invoice; "" = of no single one
	Text     string
	Quantity money.Decimal
	TaxCode  string
	amounts
}

// credit issues the credit note of the last withdrawal: what it adds to the others.
func (h handlers) credit(ctx context.Context, tx consumer.Tx, in event.Instance, d *document, ws []withdrawal) error {
	w := ws[len(ws)-1]
	before, after := d.creditOf(ws[:len(ws)-1]), d.creditOf(ws)
	n := note{amounts: after.sum().minus(before.sum())}
	if n.Gross.Sign() <= 0 {
		return nil // it adds nothing: the cancellation of a refund, or the refund of a cancellation
	}
	var err error
	if n.Issued, _, err = h.dates(w.At, in); err != nil {
		return err
	}
	if n.Issued.Days() < d.Issued.Days() {
		n.Issued = d.Issued // never dated before its invoice
	}
	done, err := creditedQuantities(ctx, tx, orderKey(d.Order))
	if err != nil {
		return err
	}
	n.Lines = d.noteLines(w, before, after, n.amounts, done)
	if err := insertNote(ctx, tx, d, w, &n); err != nil {
		return err
	}
	key := orderKey(d.Order)
	return tx.Publish(event.New{Fact: d.noteFact(w, n), Entity: key + "/" + w.Key, Key: event.Key(source, key), At: w.At})
}

// noteLines says what a credit note is about. done is the quantity that is credited
// already, per line of the invoice.
func (d *document) noteLines(w withdrawal, before, after credited, sum amounts, done map[string]money.Decimal) []noteLine {
	parts, rest := d.parts()
	var lines []noteLine
	add := func(id, text, code string, quantity money.Decimal, a amounts) {
		if !a.isZero() {
			lines = append(lines, noteLine{id, text, quantity, code, a})
		}
	}
	for i, p := range parts {
		q := w.quantity(*p.Line.Origin)
		left := larger(money.Decimal{}, p.Line.Quantity.Sub(done[p.Line.ID]))
		if q = smaller(q, left); w.All {
			q = left
		}
		add(p.Line.ID, p.Line.Description, p.Line.TaxCode, q, after.Lines[i].minus(before.Lines[i]))
	}
	one := money.FromUnits(1, 0)
	add(rest.Line.ID, "Shipping and charges", rest.Line.TaxCode, one, after.Rest.minus(before.Rest))
	add("", "Other money given back", "", one, after.Other.minus(before.Other))
	if slices.ContainsFunc(lines, func(l noteLine) bool { return !l.positive() }) {
		// Earlier money that was for no line is now for this one: only the sum is new.
		return []noteLine{{Text: "Further money given back", Quantity: one, amounts: sum}}
	}
	return lines
}

// noteFact is the credit note as the stream sees it.
func (d *document) noteFact(w withdrawal, n note) creditnote.IssuedV1 {
	f := creditnote.IssuedV1{
		CreditNoteRef: common.Ref{System: "spine", Instance: "invoicing", Object: "credit-note", ID: orderKey(d.Order) + "/" + w.Key},
		Number:        n.Number, IssueDate: n.Issued, Currency: d.Currency, CustomerRef: d.Customer, OriginalInvoiceRef: d.ref(),
		Cause: w.Cause, CauseEventID: &w.EventID, FxToBase: d.FxToBase,
		Totals:      creditnote.IssuedV1CreditNoteTotals{Net: n.net(), Tax: n.Tax, Gross: n.Gross},
		Allocations: []creditnote.IssuedV1Allocation{{InvoiceRef: d.ref(), Amount: n.Gross}},
	}
	for _, l := range n.Lines {
		f.Lines = append(f.Lines, creditnote.IssuedV1Line{
			OriginLineID: l.Line, Description: l.Text, Quantity: l.Quantity, NetAmount: l.net(), TaxCode: l.TaxCode, TaxAmount: l.Tax,
		})
	}
	return f
}
