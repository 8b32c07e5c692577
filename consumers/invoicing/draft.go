package invoicing

import (
	"fmt"
	"strings"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/invoice"
	"github.com/eventspine/spine/schemas/order"
)

// document is an invoice.
type document struct {
	Order        common.Ref
	Entity       string // legal entity
	Number       string
	Sequence     int64
	Issued, Due  event.Date
	Currency     string
	Places       int // decimal places of the currency
	BaseCurrency string
	FxToBase     money.Decimal
	Customer     *common.Ref
	CustomerName string
	Policy       policy
	Basis        string // POLICY or SHOP: whose taxes these are
	Lines        []docLine
	Rounding     money.Decimal
	Gross        money.Decimal
	Paid         money.Decimal
	Credited     amounts
}

// docLine is a line of an invoice.
type docLine struct {
	ID          string // "1", "2" …
	Origin      *string
	Item        *string
	Description string
	Quantity    money.Decimal
	UnitPrice   money.Decimal
	Discount    money.Decimal
	Net, Tax    money.Decimal
	TaxCode     string
	TaxRate     money.Decimal

	taxes []common.TaxLine // as the order has them
}

// amounts of one part or of a whole.
type amounts struct{ Gross, Tax money.Decimal }

func (a amounts) net() money.Decimal      { return a.Gross.Sub(a.Tax) }
func (a amounts) plus(b amounts) amounts  { return amounts{a.Gross.Add(b.Gross), a.Tax.Add(b.Tax)} }
func (a amounts) minus(b amounts) amounts { return amounts{a.Gross.Sub(b.Gross), a.Tax.Sub(b.Tax)} }
func (a amounts) isZero() bool            { return a.Gross.IsZero() && a.Tax.IsZero() }
func (a amounts) positive() bool {
	return a.Gross.Sign() >= 0 && a.Tax.Sign() >= 0 && a.net().Sign() >= 0
}
func smaller(a, b money.Decimal) money.Decimal { return pick(a, b, a.Cmp(b) <= 0) }
func larger(a, b money.Decimal) money.Decimal  { return pick(a, b, a.Cmp(b) >= 0) }

func pick(a, b money.Decimal, first bool) money.Decimal {
	if first {
		return a
	}
	return b
}

// draft makes the invoice of an order, but for its dates and its number.
func draft(o order.PlacedV2, in event.Instance) (document, error) {
	places, err := money.Exponent(o.Currency)
	if err != nil {
		return document{}, consumer.Reject("currency: " + err.Error())
	}
	rule, err := policyOf(in.TaxPolicy)
	if err != nil {
		return document{}, fmt.Errorf("invoicing an order of %s: %w", in, err)
	}
	if o.Totals.GrandTotal.Sign() < 0 {
		return document{}, consumer.Reject("totals.grand_total: is negative")
	}
	d := document{
		Order: o.OrderRef, Entity: legalEntity(in, o.OrderRef), Currency: o.Currency, Places: places,
		Customer: o.Customer.Ref, CustomerName: customerName(o), Policy: rule, Gross: o.Totals.GrandTotal,
	}
	d.BaseCurrency, d.FxToBase = base(o)
	if d.Lines, err = docLines(o, rule, places); err != nil {
		return document{}, err
	}
	d.Basis = applyTax(d.Lines, rule, places)
	d.close(o)
	return d, nil
}

// docLines are the lines of an invoice, taxed as the order says.
func docLines(o order.PlacedV2, rule policy, places int) ([]docLine, error) {
	var lines []docLine
	seen := map[string]bool{}
	for i, l := range o.Lines {
		if seen[l.LineID] {
			return nil, consumer.Reject(fmt.Sprintf("lines[%d].line_id: stands twice in the order", i))
		}
		seen[l.LineID] = true
		lines = append(lines, docLine{
			Origin: &l.LineID, Item: &l.SKU, Description: l.Name, Quantity: l.Quantity, UnitPrice: l.UnitPrice,
			Discount: l.DiscountAmount, Net: l.NetAmount, Tax: l.TaxAmount, taxes: l.TaxLines,
		})
	}
	one := money.FromUnits(1, 0)
	for _, s := range o.ShippingLines {
		var tax money.Decimal
		for _, t := range s.TaxLines {
			tax = tax.Add(t.Amount)
		}
		lines = append(lines, docLine{
			Description: "Shipping: " + s.Name, Quantity: one, UnitPrice: s.NetAmount.Add(s.DiscountAmount),
			Discount: s.DiscountAmount, Net: s.NetAmount, Tax: tax, taxes: s.TaxLines,
		})
	}
	if fees := o.Totals.Fees; !fees.IsZero() {
		lines = append(lines, docLine{Description: "Fees", Quantity: one, UnitPrice: fees, Net: fees})
	}
	// Duties may be part of the prices: they are a line only if the total needs them.
	if duties := o.Totals.Duties; !duties.IsZero() && missing(o, lines).Equal(duties) {
		lines = append(lines, docLine{Description: "Duties", Quantity: one, UnitPrice: duties, Net: duties})
	}
	for i := range lines {
		l := &lines[i]
		l.ID, l.Net = fmt.Sprint(i+1), l.Net.Round(places, rule.mode)
		l.TaxCode, l.TaxRate = taxOf(l.taxes)
		if l.Net.Sign() < 0 || l.Tax.Sign() < 0 {
			return nil, consumer.Reject(fmt.Sprintf("%s: net and tax of a line must not be negative", l.Description))
		}
	}
	return lines, nil
}

// missing is what the lines lack to the grand total, beside the order's own rounding.
func missing(o order.PlacedV2, lines []docLine) money.Decimal {
	rest := o.Totals.GrandTotal.Sub(o.Totals.Rounding)
	for _, l := range lines {
		rest = rest.Sub(l.Net).Sub(l.Tax)
	}
	return rest
}

// close makes the invoice add up to the order: as rounding where that explains it, else
// as a line that says so.
func (d *document) close(o order.PlacedV2) {
	diff := missing(o, d.Lines)
	d.Rounding = o.Totals.Rounding
	if diff.Abs().Cmp(tolerance(len(d.Lines), d.Places)) <= 0 {
		d.Rounding = d.Rounding.Add(diff)
		return
	}
	d.Lines = append(d.Lines, docLine{
		ID: fmt.Sprint(len(d.Lines) + 1), Description: "Difference to the order total", Quantity: money.FromUnits(1, 0),
		UnitPrice: diff, Net: diff,
	})
}

// totals are the sums of the lines.
func (d *document) totals() (net, tax money.Decimal) {
	for _, l := range d.Lines {
		net, tax = net.Add(l.Net), tax.Add(l.Tax)
	}
	return net, tax
}

func (d *document) ref() common.Ref {
	return common.Ref{System: "spine", Instance: "invoicing", Object: "invoice", ID: orderKey(d.Order)}
}

// fact is the invoice as the stream sees it.
func (d *document) fact() invoice.CreatedV1 {
	net, tax := d.totals()
	f := invoice.CreatedV1{
		InvoiceRef: d.ref(), InvoiceNumber: d.Number, Type: invoice.CreatedV1TypeSales, Status: invoice.CreatedV1StatusAuthorised,
		IssueDate: d.Issued, DueDate: d.Due, Currency: d.Currency, FxToBase: d.FxToBase, BaseCurrency: d.BaseCurrency,
		CustomerRef: d.Customer, CustomerName: d.CustomerName, OriginRef: &d.Order, OriginCycle: 1,
		TaxPolicy: invoice.CreatedV1TaxPolicy(d.Policy.name), Period: d.Issued.String()[:7],
		Totals: invoice.CreatedV1InvoiceTotals{
			Net: net, Tax: tax, Gross: d.Gross, Rounding: d.Rounding, AmountPaid: d.Paid,
			AmountDue: larger(money.Decimal{}, d.Gross.Sub(d.Paid)),
		},
		Extensions: map[string]string{"tax_basis": d.Basis},
	}
	for _, l := range d.Lines {
		f.Lines = append(f.Lines, invoice.CreatedV1Line{
			LineID: l.ID, ItemCode: l.Item, Description: l.Description, Quantity: l.Quantity, UnitPrice: l.UnitPrice,
			DiscountAmount: l.Discount, NetAmount: l.Net, TaxCode: l.TaxCode, TaxRate: l.TaxRate, TaxAmount: l.Tax, OriginLineID: l.Origin,
		})
	}
	return f
}

// legalEntity is whose books an order stands in.
func legalEntity(in event.Instance, ref common.Ref) string {
	if in.LegalEntity != "" {
		return in.LegalEntity
	}
	return ref.System + "-" + ref.Instance
}

// base is the currency of the shop's books and the rate to it that the order implies.
func base(o order.PlacedV2) (string, money.Decimal) {
	one := money.FromUnits(1, 0)
	if o.ShopCurrency == o.Currency || o.Totals.GrandTotal.IsZero() {
		return o.ShopCurrency, one
	}
	rate, err := o.ShopTotals.GrandTotal.Div(o.Totals.GrandTotal, 10, money.HalfEven)
	if err != nil || rate.Sign() <= 0 {
		return o.ShopCurrency, one
	}
	return o.ShopCurrency, rate
}

func customerName(o order.PlacedV2) string {
	var parts []string
	for _, p := range []*string{o.Customer.FirstName, o.Customer.LastName} {
		if p != nil && *p != "" {
			parts = append(parts, *p)
		}
	}
	if len(parts) > 0 {
		return strings.Join(parts, " ")
	}
	if a := o.BillingAddress; a != nil {
		if a.Company != nil && *a.Company != "" {
			return *a.Company
		}
		return a.Name
	}
	return ""
}
