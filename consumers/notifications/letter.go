package notifications

import (
	"fmt"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/refund"
)

// letter is a mail before it is written, the arguments of the effect: all that the
// templates need, formatted for the reader.
type letter struct {
	Key      string     `json:"key"`
	Template string     `json:"template"`
	OrderRef common.Ref `json:"order_ref"`
	Date     time.Time  `json:"date"` // of the mail: when Spine learned of the occasion
	Happened string     `json:"happened"`
	Reason   string     `json:"reason,omitempty"`
	Whole    bool       `json:"whole,omitempty"` // the whole order is cancelled
	Lines    []row      `json:"lines,omitempty"`
	Totals   []row      `json:"totals,omitempty"`
	Empty    bool       `json:"empty,omitempty"` // nothing to tell

	To            string `json:"to,omitempty"`
	Name          string `json:"name,omitempty"`
	Number        string `json:"number,omitempty"`
	RecipientHash string `json:"recipient_hash,omitempty"`
}

// row is a line of a table: what, how many, how much.
type row struct {
	Line     string `json:"line,omitempty"` // of the order, to look up its name
	Text     string `json:"text"`
	Quantity string `json:"quantity,omitempty"`
	Amount   string `json:"amount,omitempty"`
}

func (l *letter) address(c customer) {
	l.To, l.Name, l.Number, l.RecipientHash = c.Email, c.Name, c.Number, c.hash()
	for i := range l.Lines {
		if name := c.Articles[l.Lines[i].Line]; name != "" {
			l.Lines[i].Text = name // cancellations and refunds know the sku only
		}
	}
}

// Subject is the subject of the mail.
func (l *letter) Subject() string {
	switch l.Template {
	case confirmation:
		return "Your order " + l.Number
	case cancellation:
		return "Your order " + l.Number + " was cancelled"
	default:
		return "Refund for your order " + l.Number
	}
}

func confirm(e event.Of[order.PlacedV2]) (letter, error) {
	o := e.Data
	l, err := begin(confirmation, e.Event, o.OrderRef, "", o.PlacedAt)
	if err != nil {
		return l, err
	}
	for _, line := range o.Lines {
		price := line.Quantity.Mul(line.UnitPrice)
		l.Lines = append(l.Lines, row{line.LineID, plain(line.Name), line.Quantity.String(), amount(price, o.Currency)})
	}
	t := o.Totals
	l.total("Discount", t.Discount.Neg(), o.Currency)
	l.total("Shipping", t.Shipping, o.Currency)
	tax := "Tax"
	if o.PricesIncludeTax {
		tax = "Tax, included in the prices"
	}
	l.total(tax, t.Tax, o.Currency)
	l.total("Duties", t.Duties, o.Currency)
	l.total("Fees", t.Fees, o.Currency)
	l.total("Rounding", t.Rounding, o.Currency)
	l.Totals = append(l.Totals, row{Text: "Total", Amount: amount(t.GrandTotal, o.Currency)})
	return l, nil
}

func cancel(e event.Of[order.CancelledV1]) (letter, error) {
	c := e.Data
	occasion := "all"
	whole := c.Scope == order.CancelledV1ScopeAll
	if !whole {
		occasion = e.ID // the same for every report of one cancellation
	}
	l, err := begin(cancellation, e.Event, c.OrderRef, occasion, c.CancelledAt)
	if err != nil {
		return l, err
	}
	l.Whole = whole
	switch c.Reason {
	case order.CancelledV1ReasonCustomer:
		l.Reason = "It was cancelled at your request."
	case order.CancelledV1ReasonPayment:
		l.Reason = "The payment did not go through."
	case order.CancelledV1ReasonStock:
		l.Reason = "We are sorry: not everything is in stock."
	}
	if !whole {
		for _, line := range c.Lines {
			l.Lines = append(l.Lines, row{Line: line.LineID, Text: plain(line.SKU), Quantity: line.Quantity.String()})
		}
	}
	return l, nil
}

func giveBack(e event.Of[refund.IssuedV1]) (letter, error) {
	r := e.Data
	l, err := begin(refundNote, e.Event, r.OrderRef, r.RefundID, r.IssuedAt)
	if err != nil {
		return l, err
	}
	l.Empty = r.Amount.Sign() <= 0
	for _, line := range r.Lines {
		l.Lines = append(l.Lines, row{line.LineID, plain(line.SKU), line.Quantity.String(), amount(line.NetAmount.Add(line.TaxAmount), r.Currency)})
	}
	l.total("Shipping", r.ShippingAmount.Add(r.ShippingTax), r.Currency)
	var other money.Decimal
	for _, a := range r.Adjustments {
		other = other.Add(a.Amount).Add(a.TaxAmount)
	}
	l.total("Other", other, r.Currency)
	l.Totals = append(l.Totals, row{Text: "Refund", Amount: amount(r.Amount, r.Currency)})
	return l, nil
}

func begin(template string, e event.Event, ref common.Ref, occasion string, at time.Time) (letter, error) {
	zone, err := e.Instance.Location()
	if err != nil {
		return letter{}, fmt.Errorf("writing a mail: %w", err)
	}
	return letter{
		Key: keyOf(template, ref, occasion), Template: template, OrderRef: ref, Date: e.RecordedAt.UTC().Truncate(time.Second),
		Happened: at.In(zone).Format("2 January 2006, 15:04 MST"),
	}, nil
}

// total adds a row unless it is 0.
func (l *letter) total(text string, d money.Decimal, currency string) {
	if !d.IsZero() {
		l.Totals = append(l.Totals, row{Text: text, Amount: amount(d, currency)})
	}
}

// amount shows money with the decimal places of its currency, thousands apart: GBP
// 1,234.50, JPY 1,000, BHD 3.704. Further digits are shown, never dropped.
func amount(d money.Decimal, currency string) string {
	places, err := money.Exponent(currency)
	if err != nil {
		places = 0
	}
	text := d.Abs().Text(places)
	whole, fraction, _ := strings.Cut(text, ".")
	var b strings.Builder
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	if fraction != "" {
		b.WriteString("." + fraction)
	}
	sign := ""
	if d.Sign() < 0 {
		sign = "-"
	}
	return currency + " " + sign + b.String()
}
