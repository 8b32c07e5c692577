package money_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/money"
)

// repeat is n times the same value.
func repeat(tb testing.TB, n int, s string) []money.Decimal {
	tb.Helper()
	out := make([]money.Decimal, n)
	for i := range out {
		out[i] = dec(tb, s)
	}
	return out
}

func times(ds []money.Decimal, by money.Decimal) []money.Decimal {
	out := make([]money.Decimal, len(ds))
	for i, d := range ds {
		out[i] = d.Mul(by)
	}
	return out
}

// want checks an amount by its text at n places.
func want(t *testing.T, what string, got money.Decimal, places int, text string) {
	t.Helper()
	if got.Text(places) != text {
		t.Errorf("%s: %s, want %s", what, got.Text(places), text)
	}
}

// The sums that accounting systems are known to disagree on, worked by hand.
func TestKnownAnswers_tax(t *testing.T) {
	t.Parallel()
	const up, even = money.HalfUp, money.HalfEven

	k02 := append(repeat(t, 29, "1.59"), repeat(t, 2, "17.49")...)
	tax := times(k02, dec(t, "0.12"))
	want(t, "K02 net", money.Sum(k02...), 2, "81.09")
	want(t, "K02 tax per line", money.SumPerLine(tax, 2, up), 2, "9.71")
	want(t, "K02 tax per document", money.SumPerDocument(tax, 2, up), 2, "9.73")

	k03 := []money.Decimal{dec(t, "45.30").Mul(dec(t, "0.05")), dec(t, "33.45").Mul(dec(t, "0.10"))}
	want(t, "K03 half up", money.SumPerLine(k03, 2, up), 2, "5.62")
	want(t, "K03 half even", money.SumPerLine(k03, 2, even), 2, "5.60")

	net := dec(t, "33.335").Round(2, up)
	want(t, "K04 line net", net, 2, "33.34")
	k04 := times([]money.Decimal{net, net, net}, dec(t, "0.19"))
	want(t, "K04 tax per document", money.SumPerDocument(k04, 2, up), 2, "19.00")
	want(t, "K04 tax per line", money.SumPerLine(k04, 2, up), 2, "18.99")

	at20 := times(append(repeat(t, 3, "0.33"), dec(t, "4.95")), dec(t, "0.2"))
	at5 := times(decs(t, "9.99"), dec(t, "0.05"))
	want(t, "K05 tax per line", money.SumPerLine(at20, 2, up).Add(money.SumPerLine(at5, 2, up)), 2, "1.70")
	want(t, "K05 tax per document", money.SumPerDocument(at20, 2, up).Add(money.SumPerDocument(at5, 2, up)), 2, "1.69")

	inclusive := func(gross string) money.Decimal {
		d, err := dec(t, gross).Mul(dec(t, "0.2")).Div(dec(t, "1.2"), 2, up)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want(t, "K06 tax per line", money.Sum(repeat(t, 7, inclusive("4.99").String())...), 2, "5.81")
	want(t, "K06 tax per document", inclusive("34.93"), 2, "5.82")

	lines := repeat(t, 3, "1.2345") // K12: dinars have three places
	want(t, "K12 net", money.SumPerDocument(lines, 3, up), 3, "3.704")
	want(t, "K12 tax", money.SumPerDocument(times(decs(t, "3.704"), dec(t, "0.1")), 3, up), 3, "0.370")
}

// One order of two lines, shipping and an order discount, from prices to the sum.
func TestKnownAnswers_order(t *testing.T) {
	t.Parallel()
	gross := decs(t, "49.00 9.99")
	shares, err := money.Allocate(dec(t, "7.77"), gross, 2)
	if err != nil {
		t.Fatal(err)
	}
	nets := []money.Decimal{gross[0].Sub(shares[0]), gross[1].Sub(shares[1])}
	if diff := cmp.Diff(decs(t, "42.55 8.67"), nets); diff != "" {
		t.Errorf("K09 nets:\n%s", diff)
	}
	tax := money.SumPerLine([]money.Decimal{nets[0].Mul(dec(t, "0.2")), {}, dec(t, "5.00").Mul(dec(t, "0.2"))}, 2, money.HalfUp)
	want(t, "K09 tax", tax, 2, "9.51")
	want(t, "K09 grand total", money.Sum(gross...).Sub(dec(t, "7.77")).Add(dec(t, "5.00")).Add(tax), 2, "65.73")

	// K14, K15: unit k of n is refunded as round(total·k/n) less what was refunded before.
	refunds := func(total string, n int64) (out []money.Decimal) {
		var before money.Decimal
		for k := int64(1); k <= n; k++ {
			upTo, err := dec(t, total).Mul(money.FromUnits(k, 0)).Div(money.FromUnits(n, 0), 2, money.HalfUp)
			if err != nil {
				t.Fatal(err)
			}
			out, before = append(out, upTo.Sub(before)), upTo
		}
		return out
	}
	for _, c := range []struct {
		total, want string
		n           int64
	}{{"10.00", "3.33 3.34 3.33", 3}, {"2.00", "0.67 0.66 0.67", 3}, {"42.55", "21.28 21.27", 2}, {"8.51", "4.26 4.25", 2}} {
		if diff := cmp.Diff(decs(t, c.want), refunds(c.total, c.n)); diff != "" {
			t.Errorf("%s refunded in %d parts:\n%s", c.total, c.n, diff)
		}
	}
}

func TestKnownAnswers_exchange(t *testing.T) {
	t.Parallel()
	rate := dec(t, "1.0837")
	want(t, "K11 net", dec(t, "30.03").Mul(rate).Round(2, money.HalfUp), 2, "32.54")
	want(t, "K11 tax", dec(t, "5.71").Mul(rate).Round(2, money.HalfUp), 2, "6.19")
	want(t, "K11 net per line", money.SumPerLine(times(repeat(t, 3, "10.01"), rate), 2, money.HalfUp), 2, "32.55")
	want(t, "K13 gain", dec(t, "1000.00").Mul(dec(t, "1.0912").Sub(rate)), 2, "7.50")
}
