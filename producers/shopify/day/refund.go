package day

import (
	"time"

	"github.com/eventspine/spine/pkg/money"
)

// partialRefund gives back a part of one line. Some keep a fee for it, some give
// more than the goods were worth.
func (p *play) partialRefund(s *sale, at time.Duration) {
	if s.paid == nil || s.CancelledAt != nil {
		return
	}
	i := p.rand.IntN(len(s.lines))
	quantity := 1 + p.rand.Int64N(s.LineItems[i].CurrentQuantity)
	restock := [...]string{"return", "no_restock", "cancel"}[p.rand.IntN(3)]
	r, amount := p.refund(s, at)
	amount = amount.plus(p.giveBack(s, r, i, quantity, restock))
	switch {
	case p.chance(15):
		fee := s.part(amount, money.FromUnits(10, 2), money.FromUnits(1, 0))
		amount = amount.minus(fee)
		r.Adjustments = append(r.Adjustments, p.discrepancy(s, r, fee))
	case p.chance(15):
		amount = amount.plus(s.of(s.level))
		r.Adjustments = append(r.Adjustments, p.discrepancy(s, r, pair{}.minus(s.of(s.level))))
	}
	p.issue(s, at, r, amount, "partially_refunded")
}

// fullRefund gives back everything that was paid and is not given back yet.
func (p *play) fullRefund(s *sale, at time.Duration, restock string) {
	if s.paid == nil || len(s.Refunds) > 0 || restock != "cancel" && s.CancelledAt != nil {
		return
	}
	r, _ := p.refund(s, at)
	for i := range s.lines {
		if n := s.LineItems[i].CurrentQuantity; n > 0 {
			p.giveBack(s, r, i, n, restock)
		}
	}
	for _, c := range s.freight {
		r.Shipping = append(r.Shipping, wireRefundShipping{ID: p.id(), SubtotalSet: s.set(c.discounted()), TaxSet: s.set(c.tax)})
	}
	p.issue(s, at, r, s.total, "refunded")
}

func (p *play) refund(s *sale, at time.Duration) (*wireRefund, pair) {
	return &wireRefund{
		ID: p.id(), OrderID: s.ID, CreatedAt: s.stamp(at), ProcessedAt: s.stamp(at), Restock: true,
		LineItems: []wireRefundLine{}, Shipping: []wireRefundShipping{}, Transactions: []wireTransaction{}, Adjustments: []wireAdjustment{},
	}, pair{}
}

// giveBack enters units of a line into a refund and answers what they are worth.
// Where prices contain tax, so does the subtotal.
func (p *play) giveBack(s *sale, r *wireRefund, i int, quantity int64, restock string) pair {
	line, c := &s.LineItems[i], s.lines[i]
	n, of := money.FromUnits(quantity, 0), money.FromUnits(c.quantity, 0)
	subtotal, tax := s.part(c.discounted(), n, of), s.part(c.tax, n, of)
	line.CurrentQuantity -= quantity
	line.Fulfillable = line.CurrentQuantity
	location := int64(95_000_000_001)
	r.LineItems = append(r.LineItems, wireRefundLine{
		ID: p.id(), LineItemID: line.ID, LocationID: &location, Quantity: quantity, RestockType: restock,
		Subtotal: rate(subtotal.doc.String()), SubtotalSet: s.set(subtotal), TotalTax: rate(tax.doc.String()), TotalTaxSet: s.set(tax), LineItem: *line,
	})
	if s.TaxesIncluded {
		return subtotal
	}
	return subtotal.plus(tax)
}

// discrepancy is what the vendor notes beside a refund that differs from its lines:
// the sign is its own.
func (p *play) discrepancy(s *sale, r *wireRefund, by pair) wireAdjustment {
	return wireAdjustment{
		ID: p.id(), OrderID: s.ID, RefundID: r.ID, Amount: s.text(by), TaxAmount: "0.00", Kind: "refund_discrepancy", Reason: "Refund discrepancy", AmountSet: s.set(by),
	}
}

// issue pays a refund out and tells of it.
func (p *play) issue(s *sale, at time.Duration, r *wireRefund, amount pair, status string) {
	if s.total.doc.Cmp(amount.doc) < 0 {
		amount = s.total // never more than was paid
	}
	t := p.transaction(s, at, "refund", "success")
	t.ParentID, t.Amount = &s.paid.ID, amount.doc.Text(s.docExp)
	if p.chance(10) {
		t.Status = "pending"
	}
	r.Transactions = append(r.Transactions, *t)
	s.Refunds, s.FinancialStatus = append(s.Refunds, *r), status
	s.touch(at)
	p.send(s.stage, at, message{topic: "refunds/create", body: r, delay: 300 * time.Millisecond})
	if s.CancelledAt == nil {
		p.tell(s, at, "orders/updated", noteUnchanged)
	}
}
