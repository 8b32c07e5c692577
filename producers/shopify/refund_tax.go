package shopify

import "github.com/eventspine/spine/pkg/money"

// taxInside tells whether subtotals contain their tax, which the body does not say.
// They do where the subtotals alone are what was paid back, and do not where it takes
// the taxes too. Where somebody changed the amount, the rates of the lines decide.
func (r refundState) taxInside(amount money.Decimal) bool {
	subtotals, taxes := r.sums()
	switch {
	case taxes.IsZero() || amount.Equal(subtotals.Add(taxes)):
		return false
	case amount.Equal(subtotals):
		return true
	}
	var tax, inside, outside money.Decimal
	for _, l := range r.Lines {
		var rate money.Decimal
		for _, t := range l.Item.Taxes {
			rate = rate.Add(t.Rate)
		}
		top := presentment(l.Subtotal).Mul(rate)
		part, err := top.Div(rate.Add(money.FromUnits(1, 0)), amountScale, money.HalfUp)
		if err != nil {
			return false // a rate of −1 is none
		}
		tax, inside, outside = tax.Add(presentment(l.Tax)), inside.Add(part), outside.Add(top)
	}
	return tax.Sub(inside).Abs().Cmp(tax.Sub(outside).Abs()) < 0
}

// sums are the subtotals and the taxes of all parts.
func (r refundState) sums() (subtotals, taxes money.Decimal) {
	for _, l := range r.Lines {
		subtotals, taxes = subtotals.Add(presentment(l.Subtotal)), taxes.Add(presentment(l.Tax))
	}
	for _, f := range r.Shipping {
		subtotals, taxes = subtotals.Add(presentment(f.Subtotal)), taxes.Add(presentment(f.Tax))
	}
	return subtotals, taxes
}
