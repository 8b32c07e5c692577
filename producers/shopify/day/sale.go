package day

import (
	"fmt"
	"time"
)

// sale is one order of a Day: the body that describes it now, and the amounts
// behind it.
type sale struct {
	*stage
	till
	wireOrder
	market  market
	lines   []charge // each is of the line in the same place of the body
	freight []charge // of the shipping lines
	total   pair
	paid    *wireTransaction
}

// charge is what the customer pays for, and what makes up its amount.
type charge struct {
	price    pair
	quantity int64
	cuts     []cut
	tax      pair
	untaxed  bool
	tip      bool
}

type cut struct {
	index  int // of the discount
	amount pair
}

func (c charge) gross() pair { return c.price.times(c.quantity) }

func (c charge) discounted() pair {
	left := c.gross()
	for _, d := range c.cuts {
		left = left.minus(d.amount)
	}
	return left
}

// stamp is a time as the vendor writes it: to the second, with the shop's offset.
func (s *sale) stamp(at time.Duration) string {
	return clock(at).In(s.zone).Format(time.RFC3339)
}

// touch says that the order changed.
func (s *sale) touch(at time.Duration) { s.UpdatedAt = s.stamp(at) }

// sell makes an order. In a burst all want the same few things.
func (p *play) sell(st *stage, at time.Duration, burst bool) *sale {
	s := &sale{stage: st, market: st.home[p.rand.IntN(len(st.home))]}
	if len(st.abroad) > 0 && p.chance(12) {
		s.market = st.abroad[p.rand.IntN(len(st.abroad))]
	}
	s.till = newTill(st.Instance.BaseCurrency, s.market)
	st.orders++
	s.ID, s.OrderNumber, s.GraphQL, s.Name = p.id(), st.orders, "", fmt.Sprintf("#%d", st.orders)
	s.GraphQL = gid("Order", s.ID)
	s.CreatedAt, s.ProcessedAt = s.stamp(at), s.stamp(at-time.Duration(p.rand.Int64N(2))*time.Second)
	s.touch(at)
	s.Currency, s.PresentmentCurr, s.TaxesIncluded = s.base, s.doc, st.included
	s.Confirmed, s.SourceName, s.FinancialStatus, s.Test = true, "web", "pending", p.chance(1)
	s.DiscountApplied, s.Refunds, s.ShippingLines, s.Gateways = []wireApplication{}, []wireRefund{}, []wireShipping{}, []string{"shopify_payments"}
	counter := s.doc == s.base && p.chance(6) // sold over the counter: nobody knows to whom
	p.fill(s, burst)
	p.discount(s)
	if counter {
		s.SourceName = "pos"
		p.tip(s)
	} else {
		p.buyer(s)
		p.ship(s)
	}
	s.settle()
	return s
}

func gid(kind string, id int64) string { return fmt.Sprintf("gid://shopify/%s/%d", kind, id) }

// buyer says who buys, and where to.
func (p *play) buyer(s *sale) {
	who := p.person()
	s.Email, s.BuyerAccepts = who.email(), p.chance(30)
	email, locale, phone := s.Email, "en-"+s.market.country, fmt.Sprintf("+44 7700 900%03d", p.rand.IntN(1000))
	s.CustomerLocale = &locale
	s.Customer = &wireCustomer{ID: who.id, Email: &email, FirstName: who.first, LastName: who.last, Currency: s.Currency}
	if p.chance(30) {
		s.Phone = &phone
	}
	s.ShippingAddress = &wireAddress{
		FirstName: who.first, LastName: who.last, Name: who.first + " " + who.last,
		Address1: fmt.Sprintf("%d Quay Street", 1+p.rand.IntN(90)), City: "Porthaven", Zip: fmt.Sprintf("PH%d", 10+p.rand.IntN(80)), CountryCode: s.market.country,
	}
	if region := s.market.region; region != "" {
		s.ShippingAddress.ProvinceCode = &region
	}
	s.BillingAddress = s.ShippingAddress
}
