package analytics

import (
	"fmt"
	"slices"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/refund"
)

// sale is an order.
type sale struct {
	Key      string
	Instance string
	Currency string
	Places   int // decimal places of the currency
	Day      event.Date
	Recorded time.Time
	Test     bool
	Parts    []part
}

// part is what an order consists of. Part 0 is other money that was given back: it has
// no amount of its own.
type part struct {
	Line     string // of the order; "" = none
	Kind     string // ARTICLE, TIP, SHIPPING, FEES, REST; OTHER for part 0
	SKU      string // "" = none
	Quantity money.Decimal
	Net      money.Decimal
	Gross    money.Decimal
}

// partsOf takes an order apart. Together the parts are its grand total: what is not a
// line, shipping or a fee (duties, rounding) is the rest.
func partsOf(o order.PlacedV2) ([]part, error) {
	one := money.FromUnits(1, 0)
	parts := []part{{Kind: "OTHER"}}
	rest := o.Totals.GrandTotal
	add := func(p part) {
		parts = append(parts, p)
		rest = rest.Sub(p.Gross)
	}
	seen := map[string]bool{}
	for i, l := range o.Lines {
		if seen[l.LineID] {
			return nil, consumer.Reject(fmt.Sprintf("lines[%d].line_id: stands twice in the order", i))
		}
		seen[l.LineID] = true
		kind := "ARTICLE"
		if l.IsTip {
			kind = "TIP"
		}
		add(part{Line: l.LineID, Kind: kind, SKU: l.SKU, Quantity: l.Quantity, Net: l.NetAmount, Gross: l.NetAmount.Add(l.TaxAmount)})
	}
	shipping := part{Kind: "SHIPPING", Quantity: one}
	for _, s := range o.ShippingLines {
		shipping.Net, shipping.Gross = shipping.Net.Add(s.NetAmount), shipping.Gross.Add(s.NetAmount)
		for _, t := range s.TaxLines {
			shipping.Gross = shipping.Gross.Add(t.Amount)
		}
	}
	if !shipping.Gross.IsZero() {
		add(shipping)
	}
	if !o.Totals.Fees.IsZero() {
		add(part{Kind: "FEES", Quantity: one, Net: o.Totals.Fees, Gross: o.Totals.Fees})
	}
	if !rest.IsZero() {
		add(part{Kind: "REST", Quantity: one, Net: rest, Gross: rest})
	}
	return parts, nil
}

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
	Kind     string // CANCELLATION or REFUND
	At       time.Time
	Day      event.Date
	Recorded time.Time
	All      bool
	Currency string // of a refund; "" for a cancellation, which is about quantities
	Shipping money.Decimal
	Other    money.Decimal // money that is neither for a line nor for shipping
	Lines    []taken
}

// taken is what a withdrawal takes back of one line.
type taken struct {
	LineID   string
	How      how
	Quantity money.Decimal
	Amount   money.Decimal // gross; 0 for a cancellation
}

func (w *withdrawal) add(t taken) {
	for i := range w.Lines {
		if l := &w.Lines[i]; l.LineID == t.LineID && l.How == t.How {
			l.Quantity, l.Amount = l.Quantity.Add(t.Quantity), l.Amount.Add(t.Amount)
			return
		}
	}
	w.Lines = append(w.Lines, t)
}

// fromRefund takes a refund apart. The money that went back decides: where it is less
// than the lines and shipping say, it is spread over them in proportion.
func fromRefund(r refund.IssuedV1) (withdrawal, error) {
	w := withdrawal{Key: "refund:" + r.RefundID, Kind: "REFUND", At: r.IssuedAt, Currency: r.Currency}
	places, err := money.Exponent(r.Currency)
	if err != nil {
		return w, consumer.Reject("currency: " + err.Error())
	}
	amount := r.Amount.Round(places, money.HalfUp)
	shares := []money.Decimal{r.ShippingAmount.Add(r.ShippingTax).Round(places, money.HalfUp)}
	for _, l := range r.Lines {
		shares = append(shares, l.NetAmount.Add(l.TaxAmount).Round(places, money.HalfUp))
	}
	if amount.Sign() < 0 || slices.ContainsFunc(shares, func(d money.Decimal) bool { return d.Sign() < 0 }) {
		return w, consumer.Reject("amount, lines and shipping: an amount is negative")
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
		t := taken{LineID: l.LineID, How: byRefund, Quantity: l.Quantity, Amount: shares[i+1]}
		if l.Restock == refund.IssuedV1RestockReturn {
			t.How = byReturn
		}
		w.add(t)
	}
	return w, nil
}

// movement is a row of revenue.
type movement struct {
	Cause    string // "placed", or the key of the withdrawal
	Kind     string // SALE, CANCELLATION or REFUND
	Part     int
	Booked   event.Date
	Recorded time.Time
	Amount   money.Decimal // net, in the currency of the order
}

// movements is all that an order did to revenue. ws is in the order in which it happened.
func (o sale) movements(ws []withdrawal) []movement {
	var all []movement
	for i, p := range o.Parts {
		if i > 0 && !p.Net.IsZero() {
			all = append(all, movement{"placed", "SALE", i, o.Day, o.Recorded, p.Net})
		}
	}
	known := o.Recorded
	before := make([]money.Decimal, len(o.Parts))
	for k, w := range ws {
		if w.Recorded.After(known) {
			known = w.Recorded
		}
		after := o.withdrawn(ws[:k+1])
		for i := range o.Parts {
			if diff := after[i].Sub(before[i]); !diff.IsZero() {
				all = append(all, movement{w.Key, w.Kind, i, w.Day, known, diff.Neg()})
			}
		}
		before = after
	}
	return all
}

// refunds is the money of the refunds of an order.
type refunds struct {
	lines           map[string]struct{ refund, returned money.Decimal }
	shipping, other money.Decimal
}

func (o sale) refunds(ws []withdrawal) refunds {
	sum := refunds{lines: map[string]struct{ refund, returned money.Decimal }{}}
	for _, w := range ws {
		if w.Currency != o.Currency {
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

// withdrawn is the net amount that a set of withdrawals takes from each part: the law of
// the package comment.
func (o sale) withdrawn(ws []withdrawal) []money.Decimal {
	net := make([]money.Decimal, len(o.Parts))
	if slices.ContainsFunc(ws, func(w withdrawal) bool { return w.All }) {
		for i, p := range o.Parts {
			net[i] = p.Net
		}
		return net
	}
	back := o.refunds(ws)
	var leftNet, leftGross money.Decimal // what remains for other money
	for i, p := range o.Parts {
		var gross money.Decimal
		switch {
		case p.Line != "":
			r := back.lines[p.Line]
			delete(back.lines, p.Line)
			gross = smaller(p.Gross, larger(o.cancelledValue(p, ws), r.refund).Add(r.returned))
			back.other = back.other.Add(beyond(r.refund.Add(r.returned), p.Gross))
		case p.Kind == "SHIPPING":
			gross = smaller(p.Gross, back.shipping)
			back.shipping = back.shipping.Sub(gross)
		}
		net[i] = o.share(p.Net, gross, p.Gross)
		leftNet, leftGross = leftNet.Add(p.Net).Sub(net[i]), leftGross.Add(p.Gross).Sub(gross)
	}
	for _, r := range back.lines { // lines that the order doesn't have, of an edit
		back.other = back.other.Add(r.refund).Add(r.returned)
	}
	net[0] = o.share(leftNet, smaller(larger(money.Decimal{}, leftGross), back.other.Add(back.shipping)), leftGross)
	return net
}

// share is the net share of a part of gross: what is left of it after its tax, which is
// rounded as on a credit note.
func (o sale) share(net, part, gross money.Decimal) money.Decimal {
	if part.Equal(gross) {
		return net
	}
	tax, err := gross.Sub(net).Mul(part).Div(gross, o.Places, money.HalfUp)
	if err != nil {
		return money.Decimal{} // nothing of nothing
	}
	return part.Sub(tax)
}

// cancelledValue is the value of the cancelled quantity of a line.
func (o sale) cancelledValue(p part, ws []withdrawal) money.Decimal {
	var n money.Decimal
	for _, w := range ws {
		for _, l := range w.Lines {
			if l.How == byCancellation && l.LineID == p.Line {
				n = n.Add(l.Quantity)
			}
		}
	}
	value, err := p.Gross.Mul(smaller(n, p.Quantity)).Div(p.Quantity, o.Places, money.HalfUp)
	if err != nil {
		return money.Decimal{} // nothing was ordered
	}
	return value
}

func smaller(a, b money.Decimal) money.Decimal {
	if a.Cmp(b) <= 0 {
		return a
	}
	return b
}

func larger(a, b money.Decimal) money.Decimal {
	if a.Cmp(b) >= 0 {
		return a
	}
	return b
}

// beyond is what of a is more than b.
func beyond(a, b money.Decimal) money.Decimal { return larger(money.Decimal{}, a.Sub(b)) }
