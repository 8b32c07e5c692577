package day

import "time"

// arrive is a customer who buys: the order, its payment, and what becomes of it. Of
// a lost one only the end is told.
func (p *play) arrive(st *stage, at time.Duration, lost bool) {
	burst := at >= burstStart && at < burstStart+burstLength
	s := p.sell(st, at, burst)
	create := message{topic: "orders/create", body: &s.wireOrder, delay: 500 * time.Millisecond, event: p.uuid()}
	if burst {
		create.note = noteBurst
	}
	if s.total.doc.Sign() <= 0 { // given away: nothing to pay
		s.FinancialStatus = "paid"
		p.send(st, at, create)
		return
	}
	if lost {
		p.lose(s, at)
		return
	}
	switch {
	case p.chance(75):
		p.payNow(s, at, create)
	case p.chance(60):
		p.authorize(s, at, create)
	default:
		p.payLater(s, at, create)
	}
	p.live(s, at)
}

// payNow is a card: payment and order come at once, in either order, and the order
// comes twice, by two topics.
func (p *play) payNow(s *sale, at time.Duration, create message) {
	s.pay(p.transaction(s, at, "sale", "success"))
	money := message{topic: "order_transactions/create", body: s.paid, delay: 1200 * time.Millisecond}
	if p.chance(30) {
		money.delay, money.note = 300*time.Millisecond, noteEarly
	}
	if p.chance(3) { // the first word of the order is the last to come
		create.delay, create.note = p.between(30*time.Second, 4*time.Minute), noteStale
		p.at(at+2*time.Second, func(at time.Duration) {
			s.touch(at)
			p.tell(s, at, "orders/updated", "")
		})
	} else {
		paid := create
		paid.topic, paid.delay, paid.note = "orders/paid", 900*time.Millisecond, noteSecond
		p.send(s.stage, at, paid)
	}
	p.send(s.stage, at, create)
	p.send(s.stage, at, money)
}

// authorize is money that is reserved first and taken later.
func (p *play) authorize(s *sale, at time.Duration, create message) {
	first := p.transaction(s, at, "authorization", "success")
	s.FinancialStatus = "authorized"
	p.send(s.stage, at, create)
	p.send(s.stage, at, message{topic: "order_transactions/create", body: first, delay: time.Second, note: noteNoFact})
	p.at(at+p.between(10*time.Minute, 2*time.Hour), func(at time.Duration) {
		if s.CancelledAt != nil {
			return
		}
		capture := p.transaction(s, at, "capture", "success")
		capture.ParentID = &first.ID
		p.receive(s, at, capture)
	})
}

// payLater is a bank transfer, which half of the customers send on the same day.
func (p *play) payLater(s *sale, at time.Duration, create message) {
	s.Gateways = []string{"Bank Deposit"}
	pending := p.transaction(s, at, "sale", "pending")
	p.send(s.stage, at, create)
	p.send(s.stage, at, message{topic: "order_transactions/create", body: pending, delay: time.Second, note: noteNoFact})
	if !p.chance(50) {
		return
	}
	p.at(at+p.between(time.Hour, 5*time.Hour), func(at time.Duration) {
		if s.CancelledAt != nil {
			return
		}
		sale := p.transaction(s, at, "sale", "success")
		sale.ParentID = &pending.ID
		p.receive(s, at, sale)
	})
}

// receive takes the money of an order that stood open.
func (p *play) receive(s *sale, at time.Duration, t *wireTransaction) {
	s.pay(t)
	s.touch(at)
	p.send(s.stage, at, message{topic: "order_transactions/create", body: t, delay: 400 * time.Millisecond})
	p.tell(s, at, "orders/paid", "")
	p.tell(s, at, "orders/updated", noteSecond)
}

func (s *sale) pay(t *wireTransaction) { s.paid, s.FinancialStatus = t, "paid" }

// tell sends the order as it is now.
func (p *play) tell(s *sale, at time.Duration, topic, note string) {
	delay := 500 * time.Millisecond
	if note != "" {
		delay = 900 * time.Millisecond
	}
	p.send(s.stage, at, message{topic: topic, body: &s.wireOrder, delay: delay, note: note})
}

func (p *play) transaction(s *sale, at time.Duration, kind, status string) *wireTransaction {
	t := &wireTransaction{
		ID: p.id(), OrderID: s.ID, Kind: kind, Gateway: s.Gateways[0], Status: status, CreatedAt: s.stamp(at), ProcessedAt: s.stamp(at), Test: s.Test,
		Amount: s.total.doc.Text(s.docExp), Currency: s.doc, SourceName: s.SourceName,
	}
	if t.Gateway == "shopify_payments" {
		authorization := "auth-" + p.uuid()[:8]
		t.Authorization = &authorization
		t.Details = &wirePay{CardNumber: "•••• •••• •••• 4242", CardCompany: "Visa", Method: "visa"}
	}
	return t
}

// live is what happens to an order after it was placed: to most, nothing.
func (p *play) live(s *sale, at time.Duration) {
	switch soon := at + p.between(3*time.Minute, time.Hour); {
	case p.chance(10):
		p.at(soon, func(at time.Duration) { p.tag(s, at) })
	case p.chance(3):
		p.at(soon, func(at time.Duration) { p.edit(s, at) })
	case p.chance(4):
		p.at(soon, func(at time.Duration) { p.cancel(s, at, "orders/cancelled") })
	case p.chance(8):
		p.at(at+p.between(2*time.Hour, 5*time.Hour), func(at time.Duration) { p.partialRefund(s, at) })
	case p.chance(2):
		p.at(at+p.between(2*time.Hour, 5*time.Hour), func(at time.Duration) { p.fullRefund(s, at, "return") })
	}
}
