package day

import "github.com/eventspine/spine/pkg/money"

// settle makes the taxes and totals of what stands in the order: the sums of its
// parts, in both currencies, so that they add up to the cent.
func (s *sale) settle() {
	var goods, cuts, taxes, shipping, tips pair
	for i := range s.lines {
		c := &s.lines[i]
		s.LineItems[i].Cuts, s.LineItems[i].TaxLines = s.render(c)
		cuts, taxes = cuts.plus(c.gross().minus(c.discounted())), taxes.plus(c.tax)
		if c.tip {
			tips = tips.plus(c.gross())
		} else {
			goods = goods.plus(c.gross())
		}
	}
	left := goods.minus(cuts)
	for i := range s.freight {
		c := &s.freight[i]
		s.ShippingLines[i].Cuts, s.ShippingLines[i].TaxLines = s.render(c)
		cuts, taxes, shipping = cuts.plus(c.gross().minus(c.discounted())), taxes.plus(c.tax), shipping.plus(c.gross())
	}
	s.total = goods.minus(cuts).plus(shipping).plus(tips)
	if !s.TaxesIncluded {
		s.total = s.total.plus(taxes)
	}
	if s.market.duty > 0 {
		duty := s.part(left, money.FromUnits(s.market.duty, 4), money.FromUnits(1, 0))
		set := s.set(duty)
		s.DutiesSet, s.total = &set, s.total.plus(duty)
	}
	s.TotalLineItems, s.SubtotalPrice, s.TotalTip = s.text(goods), s.text(left), s.text(tips)
	s.TotalDiscounts, s.TotalDiscountsSet = s.text(cuts), s.set(cuts)
	s.TotalTax, s.TotalTaxSet = s.text(taxes), s.set(taxes)
	s.TotalPrice, s.TotalPriceSet, s.TotalShippingSet = s.text(s.total), s.set(s.total), s.set(shipping)
}

// render taxes a charge and writes its discounts and taxes in the vendor's form.
func (s *sale) render(c *charge) ([]wireCut, []wireTax) {
	cuts, taxes := []wireCut{}, []wireTax{}
	for _, d := range c.cuts {
		cuts = append(cuts, wireCut{Amount: s.text(d.amount), AmountSet: s.set(d.amount), Index: d.index})
	}
	c.tax = pair{}
	if c.untaxed {
		return cuts, taxes
	}
	var all money.Decimal
	for _, t := range s.market.taxes {
		r, err := money.Parse(t.rate)
		if err == nil {
			all = all.Add(r)
		}
	}
	for _, t := range s.market.taxes {
		amount := s.taxOf(c.discounted(), t.rate, all, s.TaxesIncluded)
		taxes = append(taxes, wireTax{Price: s.text(amount), PriceSet: s.set(amount), Rate: rate(t.rate), Title: t.title})
		c.tax = c.tax.plus(amount)
	}
	return cuts, taxes
}
