package money

import (
	"errors"
	"fmt"
	"math"
	"math/big"
)

// Mode says what becomes of a half when a value is rounded.
type Mode int

// The modes. Both round to the nearest; they differ in the middle.
const (
	HalfUp   Mode = iota // away from zero: 2.5 is 3, −2.5 is −3
	HalfEven             // to the even neighbour: 2.5 is 2, 3.5 is 4
)

// ErrDivision is the error of a division by zero.
var ErrDivision = errors.New("division by zero")

// Round is d at the given number of decimal places (0 and more).
func (d Decimal) Round(places int, mode Mode) Decimal {
	if int(d.scale) <= max(places, 0) {
		return d
	}
	return quotient(d.bigUnits(d.scale), pow10(d.scale-int32(max(places, 0))), places, mode)
}

// Div is d ÷ by, rounded once, at the given number of decimal places. A product
// taken first is exact, so Mul then Div converts and shares with a single rounding.
func (d Decimal) Div(by Decimal, places int, mode Mode) (Decimal, error) {
	if by.IsZero() {
		return Decimal{}, fmt.Errorf("%s ÷ 0: %w", d, ErrDivision)
	}
	if places < 0 || places > maxText {
		return Decimal{}, fmt.Errorf("%s ÷ %s at %d decimal places: %w", d, by, places, ErrRange)
	}
	scale := max(d.scale, by.scale)
	num := d.bigUnits(scale + int32(places))
	return quotient(num, by.bigUnits(scale), places, mode), nil
}

// quotient is num ÷ den, rounded to a whole number of units at the given places.
func quotient(num, den *big.Int, places int, mode Mode) Decimal {
	q, r := new(big.Int).QuoRem(num, den, new(big.Int)) // towards zero
	half := new(big.Int).Abs(r)
	half.Lsh(half, 1)
	cmp := half.CmpAbs(den)
	if cmp > 0 || cmp == 0 && (mode == HalfUp || q.Bit(0) == 1) {
		q.Add(q, big.NewInt(int64(num.Sign()*den.Sign())))
	}
	return large(q, int32(min(max(places, 0), math.MaxInt32)))
}

// SumPerLine rounds each value and then adds up: tax per line, as most accounting
// systems do it.
func SumPerLine(ds []Decimal, places int, mode Mode) Decimal {
	var total Decimal
	for _, d := range ds {
		total = total.Add(d.Round(places, mode))
	}
	return total
}

// SumPerDocument adds up exactly and then rounds once: tax per rate on the document
// (EN 16931).
func SumPerDocument(ds []Decimal, places int, mode Mode) Decimal {
	return Sum(ds...).Round(places, mode)
}

// Allocate shares total among weights in proportion, in units of 10^-places, so that
// the shares add up to total to the unit. Units left over go to the largest
// remainders, ties to the lower index. A total that is not exact at places, a
// negative weight, and a total other than 0 on weights that are all 0 are errors.
func Allocate(total Decimal, weights []Decimal, places int) ([]Decimal, error) {
	units, err := total.BigUnits(places)
	if err != nil {
		return nil, fmt.Errorf("allocating %s: %w", total, err)
	}
	scale := int32(0)
	for i, w := range weights {
		if w.Sign() < 0 {
			return nil, fmt.Errorf("allocating %s: weight %d is %s: %w", total, i, w, ErrRange)
		}
		scale = max(scale, w.scale)
	}
	sum := Sum(weights...).bigUnits(scale)
	if sum.Sign() == 0 {
		if !total.IsZero() {
			return nil, fmt.Errorf("allocating %s: all %d weights are 0: %w", total, len(weights), ErrDivision)
		}
		return make([]Decimal, len(weights)), nil
	}
	sign := big.NewInt(int64(units.Sign()))
	units.Abs(units)
	shares, left := make([]*big.Int, len(weights)), new(big.Int).Set(units)
	rests := make([]*big.Int, len(weights))
	for i, w := range weights {
		exact := w.bigUnits(scale)
		shares[i], rests[i] = new(big.Int).QuoRem(exact.Mul(exact, units), sum, new(big.Int))
		left.Sub(left, shares[i])
	}
	for ; left.Sign() > 0; left.Sub(left, big.NewInt(1)) { // fewer than len(weights) times
		best := 0
		for i, r := range rests {
			if r.Cmp(rests[best]) > 0 {
				best = i
			}
		}
		shares[best].Add(shares[best], big.NewInt(1))
		rests[best] = big.NewInt(-1)
	}
	out := make([]Decimal, len(weights))
	for i, s := range shares {
		out[i] = large(s.Mul(s, sign), int32(places))
	}
	return out, nil
}
