package invoicing

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/consumers/internal/grouptest"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
)

var d = grouptest.D

// taxed is a line with a rate; its tax as the shop charged it is that of the policy
// LINE_HALF_UP, which is what shops do.
func taxed(n int, net, rate string, includes bool, places int) []docLine {
	var lines []docLine
	for range n {
		price, r := d(net).Round(places, money.HalfUp), d(rate)
		l := docLine{Net: price, Tax: price.Mul(r).Round(places, money.HalfUp)}
		if includes {
			tax, err := price.Mul(r).Div(d("1").Add(r), places, money.HalfUp)
			if err != nil {
				panic(err)
			}
			l.Net, l.Tax = price.Sub(tax), tax
		}
		l.taxes = []common.TaxLine{{Code: "VAT" + rate, Rate: r, Amount: l.Tax, IncludedInPrice: includes}}
		lines = append(lines, l)
	}
	return lines
}

func join(all ...[]docLine) (lines []docLine) {
	for _, l := range all {
		lines = append(lines, l...)
	}
	return lines
}

// Known answers of tax per line and per document.
func TestApplyTax_knownAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines    []docLine
		places   int
		policy   string
		net, tax string
	}{
		"K02 line":              {join(taxed(29, "1.59", "0.12", false, 2), taxed(2, "17.49", "0.12", false, 2)), 2, "LINE_HALF_UP", "81.09", "9.71"},
		"K02 document":          {join(taxed(29, "1.59", "0.12", false, 2), taxed(2, "17.49", "0.12", false, 2)), 2, "DOCUMENT_HALF_UP", "81.09", "9.73"},
		"K03 half up":           {join(taxed(1, "45.30", "0.05", false, 2), taxed(1, "33.45", "0.10", false, 2)), 2, "LINE_HALF_UP", "78.75", "5.62"},
		"K03 half even":         {join(taxed(1, "45.30", "0.05", false, 2), taxed(1, "33.45", "0.10", false, 2)), 2, "LINE_HALF_EVEN", "78.75", "5.6"},
		"K04 line":              {taxed(3, "33.335", "0.19", false, 2), 2, "LINE_HALF_UP", "100.02", "18.99"},
		"K04 document":          {taxed(3, "33.335", "0.19", false, 2), 2, "DOCUMENT_HALF_UP", "100.02", "19"},
		"K05 line":              {join(taxed(3, "0.33", "0.20", false, 2), taxed(1, "4.95", "0.20", false, 2), taxed(1, "9.99", "0.05", false, 2)), 2, "LINE_HALF_UP", "15.93", "1.7"},
		"K05 document":          {join(taxed(3, "0.33", "0.20", false, 2), taxed(1, "4.95", "0.20", false, 2), taxed(1, "9.99", "0.05", false, 2)), 2, "DOCUMENT_HALF_UP", "15.93", "1.69"},
		"K06 included":          {taxed(7, "4.99", "0.20", true, 2), 2, "LINE_HALF_UP", "29.12", "5.81"},
		"K06 included document": {taxed(7, "4.99", "0.20", true, 2), 2, "DOCUMENT_HALF_UP", "29.11", "5.82"},
		"K12 dinar":             {taxed(1, "3.7035", "0.10", false, 3), 3, "LINE_HALF_UP", "3.704", "0.37"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rule, err := policyOf(c.policy)
			if err != nil {
				t.Fatal(err)
			}
			if basis := applyTax(c.lines, rule, c.places); basis != "POLICY" {
				t.Errorf("basis %s, want POLICY", basis)
			}
			sum := document{Lines: c.lines}
			net, tax := sum.totals()
			if net.String() != c.net || tax.String() != c.tax {
				t.Errorf("net %s tax %s, want %s and %s", net, tax, c.net, c.tax)
			}
		})
	}
}

// What is no rounding stays as the shop charged it.
func TestApplyTax_shop(t *testing.T) {
	t.Parallel()
	exempt := taxed(1, "100", "0.20", false, 2)
	exempt[0].Tax, exempt[0].taxes[0].Amount = money.Decimal{}, money.Decimal{}
	noRate := taxed(1, "100", "0", false, 2)
	noRate[0].Tax, noRate[0].taxes[0].Amount = d("20"), d("20")
	mixed := taxed(1, "100", "0.20", false, 2)
	mixed[0].taxes = append(mixed[0].taxes, common.TaxLine{Code: "X", IncludedInPrice: true})
	untold := taxed(1, "100", "0.20", false, 2)
	untold[0].taxes = nil
	for name, lines := range map[string][]docLine{"exempt": exempt, "no rate": noRate, "mixed": mixed, "untold": untold} {
		before := lines[0].Tax
		rule, err := policyOf("")
		if err != nil {
			t.Fatal(err)
		}
		if basis := applyTax(lines, rule, 2); basis != "SHOP" || !lines[0].Tax.Equal(before) {
			t.Errorf("%s: basis %s, tax %s, want the shop's %s", name, basis, lines[0].Tax, before)
		}
	}
}

func TestDates_knownAnswers(t *testing.T) {
	t.Parallel()
	h := handlers{calendars: calendars()}
	for _, c := range []struct{ at, calendar, zone, issued, due string }{
		{"2026-03-14T11:20:00Z", "gb-eng", "Europe/London", "2026-03-16", "2026-04-15"},
		{"2026-12-24T16:59:59Z", "gb-eng", "Europe/London", "2026-12-24", "2027-01-25"}, // Sat 23 moves to Monday
		{"2026-12-24T17:00:00Z", "gb-eng", "Europe/London", "2026-12-29", "2027-01-28"},
		{"2026-04-02T16:00:00Z", "gb-eng", "Europe/London", "2026-04-07", "2026-05-07"},
		{"2026-07-02T21:30:00Z", "us-federal", "America/New_York", "2026-07-06", "2026-08-05"},
		{"2026-06-13T02:30:00Z", "us-federal", "America/New_York", "2026-06-15", "2026-07-15"},
		{"2026-11-25T22:30:00Z", "us-federal", "America/New_York", "2026-11-27", "2026-12-28"},
		{"2026-10-10T03:59:59Z", "us-federal", "America/New_York", "2026-10-13", "2026-11-12"}, // Columbus Day is federal
		{"2026-12-25T10:00:00Z", "", "Asia/Hong_Kong", "2026-12-28", "2027-01-27"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		issued, due, err := h.dates(at, event.Instance{Calendar: c.calendar, TimeZone: c.zone, PaymentDays: 30})
		if err != nil {
			t.Fatal(err)
		}
		if issued.String() != c.issued || due.String() != c.due {
			t.Errorf("%s %s: issued %s, due %s, want %s and %s", c.at, c.calendar, issued, due, c.issued, c.due)
		}
	}
	if _, _, err := h.dates(time.Now(), event.Instance{Calendar: "moon"}); err == nil {
		t.Error("an unknown calendar is no error")
	}
}

// K09: a discounted order with two rates and shipping.
func k09() grouptest.Order {
	return grouptest.Order{
		Instance: grouptest.UK(), ID: "5001", At: time.Date(2026, 3, 14, 11, 20, 0, 0, time.UTC), Email: "ada@example.com",
		Lines: []grouptest.Line{
			{ID: "l1", SKU: "A", Quantity: "2", Price: "24.50", Discount: "6.45", Rate: "0.20"},
			{ID: "l2", SKU: "B", Quantity: "1", Price: "9.99", Discount: "1.32"},
		},
		Shipping: "5.00", ShippingRate: "0.20",
	}
}

func TestDraft_knownAnswer(t *testing.T) {
	t.Parallel()
	doc, err := draft(k09().Placed(), grouptest.UK())
	if err != nil {
		t.Fatal(err)
	}
	net, tax := doc.totals()
	got := []string{net.String(), tax.String(), doc.Gross.String(), doc.Rounding.String(), doc.Basis}
	if diff := cmp.Diff([]string{"56.22", "9.51", "65.73", "0", "POLICY"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// An order that came from v1 has no taxes and may not add up: the invoice says so.
func TestDraft_differenceIsALine(t *testing.T) {
	t.Parallel()
	o := k09().Placed()
	o.TaxCompleteness = order.PlacedV2TaxCompletenessUpcastPartial
	o.Totals.GrandTotal = d("69.68") // 3.95 more
	doc, err := draft(o, grouptest.UK())
	if err != nil {
		t.Fatal(err)
	}
	last := doc.Lines[len(doc.Lines)-1]
	if last.Description != "Difference to the order total" || last.Net.String() != "3.95" || !doc.Rounding.IsZero() {
		t.Errorf("got %+v and rounding %s", last, doc.Rounding)
	}
	o.Totals.GrandTotal = d("65.74")
	if doc, err = draft(o, grouptest.UK()); err != nil || doc.Rounding.String() != "0.01" || len(doc.Lines) != 3 {
		t.Errorf("got rounding %s and %d lines, %v", doc.Rounding, len(doc.Lines), err)
	}
}

func TestDraft_duties(t *testing.T) {
	t.Parallel()
	o := k09().Placed()
	o.Totals.Duties = d("12.00") // part of the prices
	doc, err := draft(o, grouptest.UK())
	if err != nil || len(doc.Lines) != 3 {
		t.Fatalf("included duties: %d lines, %v", len(doc.Lines), err)
	}
	o.Totals.GrandTotal = o.Totals.GrandTotal.Add(o.Totals.Duties)
	doc, err = draft(o, grouptest.UK())
	if err != nil || len(doc.Lines) != 4 || doc.Lines[3].Description != "Duties" || !doc.Rounding.IsZero() {
		t.Errorf("duties on top: %+v, %v", doc.Lines, err)
	}
}

// The rate to the shop's books is the one that the order implies.
func TestDraft_otherCurrency(t *testing.T) {
	t.Parallel()
	o := k09().Placed()
	o.ShopCurrency, o.ShopTotals.GrandTotal = "USD", d("71.23")
	doc, err := draft(o, grouptest.UK())
	if err != nil || doc.BaseCurrency != "USD" || doc.FxToBase.String() != "1.0836756428" {
		t.Errorf("got %s at %s, %v", doc.BaseCurrency, doc.FxToBase, err)
	}
}
