package shopify

import (
	"fmt"

	"github.com/eventspine/spine/pkg/money"
)

// check finds the currency of a refund, which is that of its transactions, and sees
// that all amounts are in it and fit. A refund in which nothing carries money is an
// error.
func (r refundState) check() (currency string, err error) {
	total := money.Decimal{}
	for i, t := range r.Transactions {
		path := fmt.Sprintf("transactions[%d].", i)
		if err := t.check(path); err != nil {
			return "", err
		}
		if currency != "" && t.Currency != currency {
			return "", wrong(path+"currency", "the currency of the first transaction, "+currency)
		}
		currency, total = t.Currency, total.Add(t.Amount)
	}
	for _, part := range r.parts() {
		if currency == "" {
			currency = part.set.Presentment.Currency
		}
		if err := part.set.Presentment.check(part.path+".presentment_money", currency, amountScale); err != nil {
			return "", err
		}
		total = total.Add(part.set.Presentment.Amount.Abs())
	}
	for i, l := range r.Lines {
		if err := checkQuantity(fmt.Sprintf("refund_line_items[%d].quantity", i), l.Quantity); err != nil {
			return "", err
		}
	}
	if currency == "" {
		return "", wrong("transactions", "something that carries money: a transaction, a refunded line or refunded shipping")
	}
	if _, err := money.Exponent(currency); err != nil {
		return "", wrong("refund_line_items", "amounts in a currency of ISO 4217")
	}
	if _, err := total.Units(amountScale); err != nil {
		return "", wrong("transactions", "amounts whose sum has at most 14 digits before the point")
	}
	return currency, nil
}

type part struct {
	path string
	set  moneySet
}

func (r refundState) parts() []part {
	var parts []part
	for i, l := range r.Lines {
		path := fmt.Sprintf("refund_line_items[%d].", i)
		parts = append(parts, part{path + "subtotal_set", l.Subtotal}, part{path + "total_tax_set", l.Tax})
	}
	for i, f := range r.Shipping {
		path := fmt.Sprintf("refund_shipping_lines[%d].", i)
		parts = append(parts, part{path + "subtotal_amount_set", f.Subtotal}, part{path + "tax_amount_set", f.Tax})
	}
	return parts
}
