package money_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/money"
)

func dec(tb testing.TB, s string) money.Decimal {
	tb.Helper()
	d, err := money.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func decs(tb testing.TB, texts string) []money.Decimal {
	tb.Helper()
	var out []money.Decimal
	for _, s := range strings.Fields(texts) {
		out = append(out, dec(tb, s))
	}
	return out
}

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "0.00": "0", "00012.50": "12.5", "-19.99": "-19.99", "0.0001": "0.0001", "-0.5": "-0.5",
		"999999999999999.9999": "999999999999999.9999", "9223372036854775808": "9223372036854775808",
		"-9223372036854775808": "-9223372036854775808", "100000000000000000000.000": "100000000000000000000",
		"123456789012345678901234567890.123456789": "123456789012345678901234567890.123456789",
	} {
		if got := dec(t, in).String(); got != want {
			t.Errorf("Parse(%q) = %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{
		"", "-", "--1", "+1", ".", ".5", "5.", "1.2.3", "1e5", "1E5", "NaN", "nan", "Inf", "-Infinity", " 1", "1 ", "1,000",
		"0x1", "1_000", "１", "1.-2", "-.5", "\x00", strings.Repeat("9", 65),
	} {
		if d, err := money.Parse(in); err == nil {
			t.Errorf("Parse(%q) = %s, want an error", in, d)
		}
	}
}

func TestDecimal_text(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in     string
		places int
		want   string
	}{{"19.9", 2, "19.90"}, {"0", 2, "0.00"}, {"0.125", 2, "0.125"}, {"-0.5", 4, "-0.5000"}, {"1000", 0, "1000"}, {"-7", 1, "-7.0"}} {
		if got := dec(t, c.in).Text(c.places); got != c.want {
			t.Errorf("%s at %d places: %s, want %s", c.in, c.places, got, c.want)
		}
	}
}

func TestDecimal_units(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		scale int
		want  int64
		err   error
	}{
		{"19.99", 4, 199900, nil},
		{"-0.0001", 4, -1, nil},
		{"922337203685477.5807", 4, math.MaxInt64, nil},
		{"-922337203685477.5808", 4, math.MinInt64, nil},
		{"922337203685477.5808", 4, 0, money.ErrRange},
		{"99999999999999999999", 0, 0, money.ErrRange},
		{"1", 19, 0, money.ErrRange},
		{"0", 30, 0, nil},
		{"10.005", 2, 0, money.ErrInexact},  // K16
		{"-0.001", 2, 0, money.ErrInexact},  // K16
		{"10.005", 4, 100050, nil},          // K16
		{"10.005", -1, 0, money.ErrInexact}, // a negative scale holds no decimal places
	} {
		got, err := dec(t, c.in).Units(c.scale)
		if !errors.Is(err, c.err) || got != c.want {
			t.Errorf("%s at scale %d: %d, %v; want %d, %v", c.in, c.scale, got, err, c.want, c.err)
		}
	}
	if got := money.FromUnits(1999000, 5); got != dec(t, "19.99") {
		t.Errorf("equal numbers are not equal values: %s", got)
	}
	if got := money.FromUnits(math.MinInt64, 0).Neg().String(); got != "9223372036854775808" {
		t.Errorf("negated: %s", got)
	}
}

func TestDecimal_json(t *testing.T) {
	t.Parallel()
	var v struct{ A, B money.Decimal }
	if err := json.Unmarshal([]byte(`{"A":186.90,"B":"0.1"}`), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil || string(b) != `{"A":"186.9","B":"0.1"}` {
		t.Errorf("got %s, %v", b, err)
	}
	for _, bad := range []string{`1e5`, `1E-2`, `"1e5"`, `"NaN"`, `true`, `{}`, `[]`, `null`, `""`, `"\u0031x"`} {
		var d money.Decimal
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("%s is %s, want an error", bad, d)
		}
	}
}

func TestRound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in       string
		places   int
		up, even string
	}{
		{"2.5", 0, "3", "2"},
		{"3.5", 0, "4", "4"},
		{"-2.5", 0, "-3", "-2"},
		{"2.265", 2, "2.27", "2.26"},
		{"3.345", 2, "3.35", "3.34"},
		{"2.2651", 2, "2.27", "2.27"},
		{"-0.004", 2, "0", "0"},
		{"1.2345", 3, "1.235", "1.234"},
		{"99999999999999999999.5", 0, "100000000000000000000", "100000000000000000000"},
		{"5", -3, "5", "5"},
	} {
		d := dec(t, c.in)
		if up, even := d.Round(c.places, money.HalfUp).String(), d.Round(c.places, money.HalfEven).String(); up != c.up || even != c.even {
			t.Errorf("%s at %d: up %s, even %s; want %s, %s", c.in, c.places, up, even, c.up, c.even)
		}
	}
}

func TestDiv(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ num, den, want string }{
		{"10", "3", "3.33"}, {"-10", "3", "-3.33"}, {"-1", "-8", "0.13"}, {"1", "-8", "-0.13"}, {"0.005", "1", "0.01"}, {"7", "0.0001", "70000"},
	} {
		if got, err := dec(t, c.num).Div(dec(t, c.den), 2, money.HalfUp); err != nil || got != dec(t, c.want) {
			t.Errorf("%s / %s = %s, %v; want %s", c.num, c.den, got, err, c.want)
		}
	}
	if _, err := dec(t, "1").Div(money.Decimal{}, 2, money.HalfUp); !errors.Is(err, money.ErrDivision) {
		t.Errorf("1 / 0: %v", err)
	}
	if _, err := dec(t, "1").Div(dec(t, "3"), 1_000_000_000, money.HalfUp); !errors.Is(err, money.ErrRange) {
		t.Errorf("a billion places: %v", err)
	}
}

func TestAllocate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, total, weights, want string
		places                     int
	}{
		{"K07 order discount", "10.00", "19.99 19.99 19.99", "3.34 3.33 3.33", 2},
		{"K08 ten percent", "1.00", "3.33 3.33 3.33", "0.34 0.33 0.33", 2},
		{"K09 merchandise discount", "7.77", "49.00 9.99", "6.45 1.32", 2},
		{"K10 yen", "1000", "3333 3333 3334", "333 333 334", 0},
		{"K32 bundle", "999.00", "600 300 150", "570.86 285.43 142.71", 2},
		{"negative", "-10.00", "1 1 1", "-3.34 -3.33 -3.33", 2},
		{"zero weight gets nothing", "0.05", "0 1 0", "0 0.05 0", 2},
		{"nothing to share", "0", "0 0", "0 0", 2},
		{"more lines than units", "0.02", "1 1 1", "0.01 0.01 0", 2},
	} {
		got, err := money.Allocate(dec(t, c.total), decs(t, c.weights), c.places)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(decs(t, c.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, c := range []struct{ total, weights string }{{"0.001", "1 1"}, {"1", "0 0"}, {"1", ""}, {"1", "2 -1"}} {
		if got, err := money.Allocate(dec(t, c.total), decs(t, c.weights), 2); err == nil {
			t.Errorf("allocating %s on %q: %v, want an error", c.total, c.weights, got)
		}
	}
}

func TestExponent(t *testing.T) {
	t.Parallel()
	for currency, want := range map[string]int{"EUR": 2, "GBP": 2, "ZWG": 2, "AED": 2, "JPY": 0, "KRW": 0, "ISK": 0, "BHD": 3, "KWD": 3, "TND": 3, "CLF": 4} {
		if got, err := money.Exponent(currency); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", currency, got, err, want)
		}
	}
	for _, bad := range []string{"", "eur", "EURO", "XXX", "XAU", "ED ", "D A", "UR "} {
		if n, err := money.Exponent(bad); err == nil {
			t.Errorf("%q has exponent %d, want an error", bad, n)
		}
	}
}

func anyDecimal() *rapid.Generator[money.Decimal] {
	return rapid.Custom(func(t *rapid.T) money.Decimal {
		if rapid.Bool().Draw(t, "small") {
			return money.FromUnits(rapid.Int64().Draw(t, "units"), rapid.IntRange(0, 20).Draw(t, "scale"))
		}
		u, _ := new(big.Int).SetString(rapid.StringMatching(`-?[1-9][0-9]{0,40}`).Draw(t, "big units"), 10)
		return money.FromBig(u, rapid.IntRange(0, 20).Draw(t, "scale"))
	})
}

func rat(d money.Decimal) *big.Rat {
	r, _ := new(big.Rat).SetString(d.String())
	return r
}

// Arithmetic agrees with exact fractions, whatever the size.
func TestDecimal_arithmeticIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyDecimal().Draw(t, "a"), anyDecimal().Draw(t, "b")
		for op, c := range map[string]struct {
			got  money.Decimal
			want *big.Rat
		}{
			"+": {a.Add(b), new(big.Rat).Add(rat(a), rat(b))},
			"-": {a.Sub(b), new(big.Rat).Sub(rat(a), rat(b))},
			"*": {a.Mul(b), new(big.Rat).Mul(rat(a), rat(b))},
		} {
			if rat(c.got).Cmp(c.want) != 0 {
				t.Fatalf("%s %s %s = %s, want %s", a, op, b, c.got, c.want)
			}
		}
		if got, want := a.Cmp(b), rat(a).Cmp(rat(b)); got != want {
			t.Fatalf("%s compared with %s: %d, want %d", a, b, got, want)
		}
		if len(a.String()) <= 64 {
			if back, err := money.Parse(a.String()); err != nil || !back.Equal(a) {
				t.Fatalf("%s read back is %s, %v", a, back, err)
			}
		}
		places := rapid.IntRange(0, 8).Draw(t, "places")
		r := a.Round(places, money.HalfUp)
		off := new(big.Rat).Abs(new(big.Rat).Sub(rat(a), rat(r)))
		if off.Cmp(big.NewRat(1, 2*int64(math.Pow10(places)))) > 0 || r.Places() > places {
			t.Fatalf("%s at %d places is %s", a, places, r)
		}
	})
}

// An allocation loses no cent and no share is a full unit off its exact value.
func TestAllocate_losesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		total := money.FromUnits(rapid.Int64Range(-1e12, 1e12).Draw(t, "total"), 2)
		var weights []money.Decimal
		for _, w := range rapid.SliceOfN(rapid.Int64Range(0, 1e6), 1, 30).Draw(t, "weights") {
			weights = append(weights, money.FromUnits(w, 4))
		}
		sum := money.Sum(weights...)
		if sum.IsZero() {
			return
		}
		shares, err := money.Allocate(total, weights, 2)
		if err != nil {
			t.Fatal(err)
		}
		if !money.Sum(shares...).Equal(total) {
			t.Fatalf("%s in shares %v", total, shares)
		}
		for i, s := range shares {
			exact := new(big.Rat).Quo(new(big.Rat).Mul(rat(total), rat(weights[i])), rat(sum))
			if off := new(big.Rat).Sub(exact, rat(s)); off.Abs(off).Cmp(big.NewRat(1, 100)) >= 0 {
				t.Fatalf("share %d of %s is %s, exactly %s", i, total, s, exact.FloatString(6))
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0", "-1.50", "1e5", "NaN", "999999999999999999.999999", "-9223372036854775808", ".", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := money.Parse(s)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok || rat(d).Cmp(want) != 0 {
			t.Fatalf("%q is %s", s, d)
		}
	})
}
