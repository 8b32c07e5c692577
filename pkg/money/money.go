// Package money is exact decimal arithmetic for amounts, prices, rates and
// quantities. No float goes in or out, nothing is rounded unless a caller asks for
// it, and a value that does not fit is an error.
package money

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strings"
)

// ErrInexact is the error of a conversion that would lose digits.
var ErrInexact = errors.New("value is not exact at this scale")

// ErrRange is the error of a value that does not fit its form.
var ErrRange = errors.New("value is out of range")

// ErrSyntax is the error of a text that is not a plain decimal number.
var ErrSyntax = errors.New("want a plain decimal number such as -12.50")

// maxText bounds what Parse reads. Avro decimals of this project have 19 digits;
// intermediate results may have more.
const maxText = 64

// Decimal is an immutable exact number: units × 10^-scale. It is held in its
// shortest form (19.90 is 19.9), so that equal numbers are equal values; how many
// digits are shown is said where they are shown (Text). The zero value is 0.
type Decimal struct {
	units int64
	scale int32    // ≥ 0
	big   *big.Int // the units where they do not fit units; never changed
}

// FromUnits is units × 10^-scale: FromUnits(1999, 2) is 19.99. A negative scale
// counts as 0.
func FromUnits(units int64, scale int) Decimal {
	return small(units, int32(min(max(scale, 0), math.MaxInt32)))
}

// FromBig is units × 10^-scale for units of any size.
func FromBig(units *big.Int, scale int) Decimal {
	return large(new(big.Int).Set(units), int32(min(max(scale, 0), math.MaxInt32)))
}

// small brings a number into its shortest form.
func small(units int64, scale int32) Decimal {
	if units == 0 {
		return Decimal{}
	}
	for scale > 0 && units%10 == 0 {
		units, scale = units/10, scale-1
	}
	return Decimal{units: units, scale: scale}
}

// large is small for units that may not fit an int64. It takes u over.
func large(u *big.Int, scale int32) Decimal {
	if u.IsInt64() {
		return small(u.Int64(), scale)
	}
	ten, q, r := big.NewInt(10), new(big.Int), new(big.Int)
	for scale > 0 {
		if q.QuoRem(u, ten, r); r.Sign() != 0 {
			break
		}
		u, q, scale = q, u, scale-1
	}
	if u.IsInt64() {
		return small(u.Int64(), scale)
	}
	return Decimal{big: u, scale: scale}
}

// Parse reads a plain decimal number: an optional minus, digits, and optionally a
// point and digits, at most 64 characters. There is no exponent, no NaN, no plus
// sign, no grouping and no surrounding space.
func Parse(s string) (Decimal, error) {
	if len(s) > maxText {
		return Decimal{}, fmt.Errorf("decimal of %d characters: %w: at most %d", len(s), ErrRange, maxText)
	}
	whole, fraction, point := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if !digits(whole) || point && !digits(fraction) {
		return Decimal{}, fmt.Errorf("decimal %q: %w", s, ErrSyntax)
	}
	text := whole + fraction
	if len(text) <= 18 { // always fits an int64
		var units int64
		for _, c := range []byte(text) {
			units = units*10 + int64(c-'0')
		}
		if s[0] == '-' {
			units = -units
		}
		return small(units, int32(len(fraction))), nil
	}
	units, _ := new(big.Int).SetString(text, 10)
	if s[0] == '-' {
		units.Neg(units)
	}
	return large(units, int32(len(fraction))), nil
}

// digits tells whether s is one or more of 0 to 9.
func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// bigUnits is d × 10^scale, which the caller knows to be whole. It may change the
// answer.
func (d Decimal) bigUnits(scale int32) *big.Int {
	u := new(big.Int)
	if d.big != nil {
		u.Set(d.big)
	} else {
		u.SetInt64(d.units)
	}
	return u.Mul(u, pow10(scale-d.scale))
}

// BigUnits is d × 10^scale as a number of its own. A value that is not exact at
// the scale is ErrInexact.
func (d Decimal) BigUnits(scale int) (*big.Int, error) {
	if int(d.scale) > scale {
		return nil, fmt.Errorf("%s at %d decimal places: %w", d, scale, ErrInexact)
	}
	return d.bigUnits(int32(min(scale, math.MaxInt32))), nil
}

// Units is d × 10^scale: 19.99 has 199900 units at scale 4. A value that is not
// exact at the scale is ErrInexact, one that does not fit an int64 is ErrRange.
func (d Decimal) Units(scale int) (int64, error) {
	if d.big == nil && int(d.scale) <= scale {
		if n := scale - int(d.scale); n <= 18 {
			if u, ok := mul(d.units, pow10small(n)); ok {
				return u, nil
			}
		} else if d.units == 0 {
			return 0, nil
		}
	}
	u, err := d.BigUnits(scale)
	if err != nil {
		return 0, err
	}
	if !u.IsInt64() {
		return 0, fmt.Errorf("%s in units of 10^-%d: %w of 64 bits", d, scale, ErrRange)
	}
	return u.Int64(), nil
}

// Add is d + o.
func (d Decimal) Add(o Decimal) Decimal {
	scale := max(d.scale, o.scale)
	if a, ok := d.at(scale); ok {
		if b, ok := o.at(scale); ok {
			if sum := a + b; (sum > a) == (b > 0) {
				return small(sum, scale)
			}
		}
	}
	u := d.bigUnits(scale)
	return large(u.Add(u, o.bigUnits(scale)), scale)
}

// Sub is d − o.
func (d Decimal) Sub(o Decimal) Decimal { return d.Add(o.Neg()) }

// Mul is d × o, exactly: the places of both add up.
func (d Decimal) Mul(o Decimal) Decimal {
	if d.big == nil && o.big == nil {
		if p, ok := mul(d.units, o.units); ok {
			return small(p, d.scale+o.scale)
		}
	}
	u := d.bigUnits(d.scale)
	return large(u.Mul(u, o.bigUnits(o.scale)), d.scale+o.scale)
}

// Neg is −d.
func (d Decimal) Neg() Decimal {
	if d.big != nil || d.units == math.MinInt64 {
		return large(new(big.Int).Neg(d.bigUnits(d.scale)), d.scale)
	}
	return Decimal{units: -d.units, scale: d.scale}
}

// Abs is d without its sign.
func (d Decimal) Abs() Decimal {
	if d.Sign() < 0 {
		return d.Neg()
	}
	return d
}

// Cmp is −1, 0 or +1 where d is less than, equal to or greater than o.
func (d Decimal) Cmp(o Decimal) int { return d.Sub(o).Sign() }

// Equal tells whether both are the same number.
func (d Decimal) Equal(o Decimal) bool { return d.Cmp(o) == 0 }

// Sign is −1, 0 or +1.
func (d Decimal) Sign() int {
	switch {
	case d.big != nil:
		return d.big.Sign()
	case d.units < 0:
		return -1
	case d.units > 0:
		return 1
	}
	return 0
}

// IsZero tells whether d is 0.
func (d Decimal) IsZero() bool { return d.Sign() == 0 }

// Places is the number of decimal places that d needs: 2 for 19.99, 1 for 19.90.
func (d Decimal) Places() int { return int(d.scale) }

// Sum adds up; the sum of nothing is 0.
func Sum(ds ...Decimal) Decimal {
	var total Decimal
	for _, d := range ds {
		total = total.Add(d)
	}
	return total
}

// at is d × 10^scale where that fits an int64; scale ≥ d.scale.
func (d Decimal) at(scale int32) (int64, bool) {
	if d.big != nil || scale-d.scale > 18 {
		return 0, false
	}
	return mul(d.units, pow10small(int(scale-d.scale)))
}

// mul multiplies unless the product overflows.
func mul(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false // MinInt64 goes the long way round
	}
	if (a < 0) != (b < 0) {
		return -int64(lo), true
	}
	return int64(lo), true
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// pow10small is 10^n for 0 ≤ n ≤ 18.
func pow10small(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

func pow10(n int32) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}
