package invoicing

import (
	"fmt"
	"strings"

	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
)

// policy says where and how tax is rounded.
type policy struct {
	name       string
	mode       money.Mode
	onDocument bool
}

func policyOf(name string) (policy, error) {
	switch name {
	case "", "LINE_HALF_UP":
		return policy{name: "LINE_HALF_UP", mode: money.HalfUp}, nil
	case "LINE_HALF_EVEN":
		return policy{name: name, mode: money.HalfEven}, nil
	case "DOCUMENT_HALF_UP":
		return policy{name: name, mode: money.HalfUp, onDocument: true}, nil
	}
	return policy{}, fmt.Errorf("tax_policy %q: want LINE_HALF_UP, LINE_HALF_EVEN or DOCUMENT_HALF_UP", name)
}

// tolerance is the largest difference that rounding explains: a unit of the currency per
// rounding, at least 2, at most 10.
func tolerance(roundings, places int) money.Decimal {
	return money.FromUnits(int64(min(10, max(2, roundings))), places)
}

// taxable is one tax on one line. Its amount is base × rate ÷ divisor; the divisor is 1
// for a tax on top, 1 + all rates of the line for a tax that the price contains.
type taxable struct {
	line          int
	code          string
	base          money.Decimal
	rate, divisor money.Decimal
}

// applyTax replaces the taxes of the lines by those of the policy, if they differ from
// what the shop charged by no more than rounding. It says whose taxes stand.
func applyTax(lines []docLine, rule policy, places int) string {
	taxables, charged, ok := taxablesOf(lines)
	if !ok {
		return "SHOP"
	}
	amounts, err := compute(taxables, rule, places)
	if err != nil {
		return "SHOP" // a rate that makes no sense
	}
	computed := money.Sum(amounts...)
	if computed.Sub(charged).Abs().Cmp(tolerance(len(amounts), places)) > 0 {
		return "SHOP"
	}
	perLine := make([]money.Decimal, len(lines))
	for i, t := range taxables {
		perLine[t.line] = perLine[t.line].Add(amounts[i])
	}
	for i := range lines {
		if included(lines[i]) {
			// The price stands; what is not tax is net.
			lines[i].Net = lines[i].Net.Add(lines[i].Tax).Sub(perLine[i])
		}
		lines[i].Tax = perLine[i]
	}
	return "POLICY"
}

// taxablesOf lists the taxes of the lines and their sum as charged; ok is false where
// the order does not say enough to compute them.
func taxablesOf(lines []docLine) (taxables []taxable, charged money.Decimal, ok bool) {
	one := money.FromUnits(1, 0)
	for i, l := range lines {
		var stated, rates money.Decimal
		for _, t := range l.taxes {
			stated, rates = stated.Add(t.Amount), rates.Add(t.Rate)
			if t.IncludedInPrice != l.taxes[0].IncludedInPrice || (t.Rate.IsZero() && !t.Amount.IsZero()) {
				return nil, charged, false
			}
		}
		if !stated.Equal(l.Tax) {
			return nil, charged, false
		}
		base, divisor := l.Net, one
		if included(l) {
			base, divisor = l.Net.Add(l.Tax), one.Add(rates)
		}
		for _, t := range l.taxes {
			taxables = append(taxables, taxable{line: i, code: t.Code, base: base, rate: t.Rate, divisor: divisor})
		}
		charged = charged.Add(l.Tax)
	}
	return taxables, charged, true
}

func included(l docLine) bool { return len(l.taxes) > 0 && l.taxes[0].IncludedInPrice }

// compute is the amount of each tax by the policy.
func compute(taxables []taxable, rule policy, places int) ([]money.Decimal, error) {
	amounts := make([]money.Decimal, len(taxables))
	if !rule.onDocument {
		for i, t := range taxables {
			var err error
			if amounts[i], err = t.base.Mul(t.rate).Div(t.divisor, places, rule.mode); err != nil {
				return nil, err
			}
		}
		return amounts, nil
	}
	type rate struct{ code, rate, divisor string }
	groups := map[rate][]int{}
	for i, t := range taxables {
		at := rate{t.code, t.rate.String(), t.divisor.String()}
		groups[at] = append(groups[at], i)
	}
	for _, members := range groups {
		weights := make([]money.Decimal, len(members))
		for k, i := range members {
			weights[k] = taxables[i].base.Mul(taxables[i].rate)
		}
		sum, err := money.Sum(weights...).Div(taxables[members[0]].divisor, places, rule.mode)
		if err != nil {
			return nil, err
		}
		shares, err := money.Allocate(sum, weights, places)
		if err != nil {
			return nil, err
		}
		for k, i := range members {
			amounts[i] = shares[k]
		}
	}
	return amounts, nil
}

// taxOf is the tax of a line in one code and rate: several are joined.
func taxOf(taxes []common.TaxLine) (string, money.Decimal) {
	var codes []string
	var rate money.Decimal
	for _, t := range taxes {
		codes, rate = append(codes, t.Code), rate.Add(t.Rate)
	}
	return strings.Join(codes, " + "), rate
}
