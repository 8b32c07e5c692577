package day

import "time"

// tag is staff at work: nothing that a fact would tell. Every fourth time there are
// two updates in one second, and the second one comes first.
func (p *play) tag(s *sale, at time.Duration) {
	s.Tags = "checked"
	s.touch(at)
	if !p.chance(25) {
		p.tell(s, at, "orders/updated", noteUnchanged)
		return
	}
	p.send(s.stage, at, message{topic: "orders/updated", body: &s.wireOrder, delay: 20 * time.Second, note: noteStale})
	s.Tags = "checked, vip"
	p.send(s.stage, at+300*time.Millisecond, message{topic: "orders/updated", body: &s.wireOrder, delay: 500 * time.Millisecond, note: noteUnchanged})
}

// edit adds an article to an order, or takes a unit off it.
func (p *play) edit(s *sale, at time.Duration) {
	note := "on the customer's wish"
	var e wireEdit
	e.Edit.ID, e.Edit.OrderID, e.Edit.CreatedAt, e.Edit.CommittedAt, e.Edit.StaffNote = p.id(), s.ID, s.stamp(at), s.stamp(at), &note
	e.Edit.LineItems.Additions, e.Edit.LineItems.Removals = []wireDelta{}, []wireDelta{}
	if line := &s.LineItems[0]; line.CurrentQuantity > 1 && p.chance(50) {
		line.CurrentQuantity--
		line.Fulfillable--
		e.Edit.LineItems.Removals = append(e.Edit.LineItems.Removals, wireDelta{line.ID, 1})
	} else {
		pick := p.rand.IntN(len(catalogue()))
		p.add(s, pick, catalogue()[pick], 1)
		s.settle()
		e.Edit.LineItems.Additions = append(e.Edit.LineItems.Additions, wireDelta{s.LineItems[len(s.LineItems)-1].ID, 1})
	}
	s.touch(at)
	p.send(s.stage, at, message{topic: "orders/edited", body: e, delay: 300 * time.Millisecond})
	p.tell(s, at, "orders/updated", noteUnchanged)
}

// cancel ends an order. What was paid is given back, what was only reserved is let
// go. One in six is told by an update alone.
func (p *play) cancel(s *sale, at time.Duration, topic string) {
	reasons := [...]string{"customer", "fraud", "inventory", "declined", "other"}
	cancelled, reason := s.stamp(at), reasons[p.rand.IntN(len(reasons))]
	s.CancelledAt, s.CancelReason = &cancelled, &reason
	s.touch(at)
	switch {
	case s.paid != nil:
		p.fullRefund(s, at, "cancel")
	case s.FinancialStatus == "authorized":
		s.FinancialStatus = "voided"
		p.send(s.stage, at, message{topic: "order_transactions/create", body: p.transaction(s, at, "void", "success"), delay: 200 * time.Millisecond, note: noteNoFact})
	}
	if topic == "" { // nothing was told before
		p.tell(s, at, "orders/cancelled", noteCancelled)
		return
	}
	if !p.chance(16) {
		p.tell(s, at, topic, "")
	}
	p.tell(s, at, "orders/updated", noteSecond)
}

// lose is an order that is told too late: the source gave up on its deliveries,
// and the first that comes is its cancellation.
func (p *play) lose(s *sale, at time.Duration) {
	p.at(at+p.between(20*time.Minute, time.Hour), func(at time.Duration) { p.cancel(s, at, "") })
}
