package shopify

import (
	"fmt"

	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
)

// side is one of the two moneys of a set.
type side func(moneySet) money.Decimal

func shop(m moneySet) money.Decimal        { return m.Shop.Amount }
func presentment(m moneySet) money.Decimal { return m.Presentment.Amount }

// TotalsError says that the parts of an order do not add up to its total.
type TotalsError struct {
	Money    string // shop_money or presentment_money
	Currency string
	Parts    money.Decimal // what the parts add up to
	Total    money.Decimal // what total_price_set says
}

// Error names both sums.
func (e *TotalsError) Error() string {
	return fmt.Sprintf("total_price_set.%s: want what the parts add up to, %s %s, got %s", e.Money, e.Parts.Text(2), e.Currency, e.Total.Text(2))
}

// totals are the sums of an order in one of its currencies. They add up to the
// vendor's own total, or the order is not what we take it for: merchandise −
// discount + shipping + tips + fees, and what is not in the prices: tax, duties.
func (o orderState) totals(name string, of side) (common.Totals, error) {
	t := common.Totals{Tax: of(o.Tax), GrandTotal: of(o.Total)}
	for _, l := range o.Lines {
		gross := of(l.Price).Mul(l.quantity())
		if l.isTip() {
			t.Tips = t.Tips.Add(gross)
		} else {
			t.Merchandise = t.Merchandise.Add(gross)
		}
		t.Discount = t.Discount.Add(sum(l.Allocations, of))
		for _, duty := range l.Duties {
			t.Duties = t.Duties.Add(of(duty))
		}
	}
	for _, f := range o.Freight {
		t.Shipping = t.Shipping.Add(of(f.Price))
		t.Discount = t.Discount.Add(sum(f.Allocations, of))
	}
	if o.Duties != nil {
		t.Duties = of(*o.Duties)
	}
	if o.Fees != nil {
		t.Fees = of(*o.Fees)
	}
	parts := money.Sum(t.Merchandise, t.Discount.Neg(), t.Shipping, t.Tips, t.Fees)
	if !o.TaxesIncluded {
		parts = parts.Add(t.Tax)
	}
	if !o.DutiesIncluded {
		parts = parts.Add(t.Duties)
	}
	if !parts.Equal(t.GrandTotal) {
		currency := o.Currency
		if name == "presentment_money" {
			currency = o.PresentmentCurrency
		}
		return t, &TotalsError{Money: name, Currency: currency, Parts: parts, Total: t.GrandTotal}
	}
	for _, d := range []money.Decimal{t.Merchandise, t.Discount, t.Shipping, t.Duties, t.Tips} {
		if _, err := d.Units(amountScale); err != nil {
			return t, wrong("line_items", "amounts whose sums have at most 14 digits before the point")
		}
	}
	return t, nil
}

func sum(cuts []allocation, of side) money.Decimal {
	var total money.Decimal
	for _, c := range cuts {
		total = total.Add(of(c.Amount))
	}
	return total
}
