package day

import "github.com/eventspine/spine/pkg/money"

// pair is one amount in both moneys of an order.
type pair struct{ shop, doc money.Decimal }

func (a pair) plus(b pair) pair  { return pair{a.shop.Add(b.shop), a.doc.Add(b.doc)} }
func (a pair) minus(b pair) pair { return pair{a.shop.Sub(b.shop), a.doc.Sub(b.doc)} }
func (a pair) times(n int64) pair {
	return pair{a.shop.Mul(money.FromUnits(n, 0)), a.doc.Mul(money.FromUnits(n, 0))}
}

// till knows the two currencies of an order: the shop's, and the one that the
// customer pays in.
type till struct {
	base, doc       string
	baseExp, docExp int
	rate            money.Decimal
}

func newTill(base string, m market) till {
	t := till{base: base, doc: base, rate: money.FromUnits(1, 0)}
	if rate, err := money.Parse(m.rate); err == nil && m.currency != "" {
		t.doc, t.rate = m.currency, rate
	}
	t.baseExp, _ = money.Exponent(t.base) // known: newStage looked
	t.docExp, _ = money.Exponent(t.doc)   // known: stands in the code
	return t
}

// of is an amount in minor units of the shop's currency, in both.
func (t till) of(units int64) pair {
	amount := money.FromUnits(units, t.baseExp)
	return pair{amount, amount.Mul(t.rate).Round(t.docExp, money.HalfUp)}
}

// part is num/den of an amount, rounded in each currency for itself.
func (t till) part(a pair, num, den money.Decimal) pair {
	shop, err := a.shop.Mul(num).Div(den, t.baseExp, money.HalfUp)
	doc, err2 := a.doc.Mul(num).Div(den, t.docExp, money.HalfUp)
	if err != nil || err2 != nil {
		return pair{} // a share of nothing
	}
	return pair{shop, doc}
}

// taxOf is the tax of an amount, inside of it or on top.
func (t till) taxOf(a pair, rate string, all money.Decimal, included bool) pair {
	r, err := money.Parse(rate)
	if err != nil {
		return pair{}
	}
	one := money.FromUnits(1, 0)
	if included {
		return t.part(a, r, one.Add(all))
	}
	return t.part(a, r, one)
}

// set is the vendor's form of a pair.
func (t till) set(a pair) wireSet {
	return wireSet{
		Shop: wireMoney{a.shop.Text(t.baseExp), t.base}, Presentment: wireMoney{a.doc.Text(t.docExp), t.doc},
	}
}

// text is the amount in the shop's currency, as the vendor's plain fields have it.
func (t till) text(a pair) string { return a.shop.Text(t.baseExp) }
