package shopify

import (
	"fmt"
	"iter"

	"github.com/eventspine/spine/pkg/money"
)

// The scales of the facts: an amount that does not fit is an error, never rounded.
const amountScale, priceScale, rateScale = 4, 6, 6

// check looks at what a decoder cannot see: the currencies of all amounts, whether
// they fit, rates and quantities.
func (o orderState) check() error {
	if len(o.Lines) == 0 {
		return wrong("line_items", "at least one line")
	}
	for _, c := range []struct{ path, code string }{{"currency", o.Currency}, {"presentment_currency", o.PresentmentCurrency}} {
		if _, err := money.Exponent(c.code); err != nil {
			return wrong(c.path, "a currency of ISO 4217")
		}
	}
	for i, l := range o.Lines {
		if err := l.check(fmt.Sprintf("line_items[%d]", i), o.Currency, o.PresentmentCurrency); err != nil {
			return err
		}
	}
	for i, f := range o.Freight {
		if err := checkRates(fmt.Sprintf("shipping_lines[%d]", i), f.Taxes); err != nil {
			return err
		}
	}
	for path, set := range o.sets() {
		if err := set.check(path, o.Currency, o.PresentmentCurrency, amountScale); err != nil {
			return err
		}
	}
	return nil
}

func (l line) check(path, shopCurrency, documentCurrency string) error {
	if err := checkQuantity(path+".quantity", l.Quantity); err != nil {
		return err
	}
	if err := l.Price.check(path+".price_set", shopCurrency, documentCurrency, priceScale); err != nil {
		return err
	}
	for _, of := range []side{shop, presentment} {
		if _, err := of(l.Price).Mul(l.quantity()).Units(amountScale); err != nil {
			return wrong(path+".price_set", "a price that has at most 4 decimal places and 14 digits before them when it is taken times the quantity")
		}
	}
	return checkRates(path, l.Taxes)
}

func checkQuantity(path string, n int64) error {
	if n < 0 || n > 1_000_000_000 {
		return wrong(path, "a quantity from 0 to 1,000,000,000")
	}
	return nil
}

func checkRates(path string, taxes []taxLine) error {
	for i, t := range taxes {
		if units, err := t.Rate.Units(rateScale); err != nil || units < 0 || units >= 1_000_000_000 {
			return wrong(fmt.Sprintf("%s.tax_lines[%d].rate", path, i), "a fraction with at most 6 decimal places")
		}
	}
	return nil
}

// check wants both amounts in the currencies of the order, and exact at the scale.
func (m moneySet) check(path, shopCurrency, documentCurrency string, scale int) error {
	if err := m.Shop.check(path+".shop_money", shopCurrency, scale); err != nil {
		return err
	}
	return m.Presentment.check(path+".presentment_money", documentCurrency, scale)
}

func (a amount) check(path, currency string, scale int) error {
	if a.Currency != currency {
		return wrong(path+".currency_code", "the currency of the document, "+currency)
	}
	if _, err := a.Amount.Units(scale); err != nil {
		return wrong(path+".amount", fmt.Sprintf("at most %d decimal places and %d digits before them", scale, 18-scale))
	}
	return nil
}

// sets are the amounts that the fact is made of, by their path, but for the prices
// of lines.
func (o orderState) sets() iter.Seq2[string, moneySet] {
	return func(yield func(string, moneySet) bool) {
		more := yield("total_price_set", o.Total) && yield("total_tax_set", o.Tax) &&
			(o.Duties == nil || yield("original_total_duties_set", *o.Duties)) && (o.Fees == nil || yield("original_total_additional_fees_set", *o.Fees))
		for i := 0; more && i < len(o.Lines); i++ {
			path := fmt.Sprintf("line_items[%d]", i)
			more = parts(path, o.Lines[i].Allocations, o.Lines[i].Taxes, yield)
			for k, duty := range o.Lines[i].Duties {
				more = more && yield(fmt.Sprintf("%s.duties[%d]", path, k), duty)
			}
		}
		for i := 0; more && i < len(o.Freight); i++ {
			path := fmt.Sprintf("shipping_lines[%d]", i)
			more = yield(path+".price_set", o.Freight[i].Price) && parts(path, o.Freight[i].Allocations, o.Freight[i].Taxes, yield)
		}
	}
}

func parts(path string, cuts []allocation, taxes []taxLine, yield func(string, moneySet) bool) bool {
	for i, c := range cuts {
		if !yield(fmt.Sprintf("%s.discount_allocations[%d].amount_set", path, i), c.Amount) {
			return false
		}
	}
	for i, t := range taxes {
		if !yield(fmt.Sprintf("%s.tax_lines[%d].price_set", path, i), t.Price) {
			return false
		}
	}
	return true
}
