package grouptest

import (
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
	"github.com/eventspine/spine/schemas/refund"
)

// D parses a decimal of a test; "" is 0.
func D(s string) money.Decimal {
	if s == "" {
		return money.Decimal{}
	}
	d, err := money.Parse(s)
	if err != nil {
		panic(err)
	}
	return d
}

// UK is a shop in London that keeps its books in pounds.
func UK() event.Instance {
	return event.Instance{
		System: "shopify", Name: "uk", BaseCurrency: "GBP", TimeZone: "Europe/London", LegalEntity: "UK01",
		Warehouses: []string{"wms/east", "wms/west"}, Calendar: "gb-eng", PaymentDays: 30,
	}
}

// Line is a line of an order, taxed at Rate on top of the price.
type Line struct {
	ID, SKU, Quantity, Price, Discount, Rate string
	Untracked                                bool
	Tip                                      bool
}

// Order is an order whose totals follow from its lines, tax rounded half up per line.
type Order struct {
	Instance               event.Instance
	ID                     string
	At                     time.Time
	Currency               string // "" = that of the instance
	Lines                  []Line
	Shipping, ShippingRate string
	Fees                   string
	Email                  string
}

// Ref is the order.
func (o Order) Ref() common.Ref {
	return common.Ref{System: o.Instance.System, Instance: o.Instance.Name, Object: "order", ID: o.ID}
}

// Key is the record key.
func (o Order) Key() string { return event.Key(o.Instance.String(), o.ID) }

// Placed is the fact that the order was placed.
func (o Order) Placed() order.PlacedV2 {
	if o.Currency == "" {
		o.Currency = o.Instance.BaseCurrency
	}
	places, err := money.Exponent(o.Currency)
	if err != nil {
		panic(err)
	}
	f := order.PlacedV2{
		OrderRef: o.Ref(), OrderNumber: "#" + o.ID, PlacedAt: o.At, TimeZone: o.Instance.TimeZone, SalesChannel: "web",
		Currency: o.Currency, ShopCurrency: o.Currency, TaxCompleteness: order.PlacedV2TaxCompletenessFull,
	}
	if o.Email != "" {
		first := "Ada"
		f.Customer = order.PlacedV2Customer{Email: &o.Email, FirstName: &first}
	}
	t := &f.Totals
	for _, l := range o.Lines {
		price := D(l.Quantity).Mul(D(l.Price)).Round(places, money.HalfUp)
		net := price.Sub(D(l.Discount))
		taxes, tax := taxLines(net, D(l.Rate), places)
		f.Lines = append(f.Lines, order.PlacedV2Line{
			LineID: l.ID, SKU: l.SKU, Name: "Article " + l.SKU, Quantity: D(l.Quantity), Unit: "each", UnitPrice: D(l.Price),
			DiscountAmount: D(l.Discount), NetAmount: net, TaxLines: taxes, TaxAmount: tax,
			RequiresShipping: true, StockTracked: !l.Untracked && !l.Tip, IsTip: l.Tip,
		})
		t.Discount, t.Tax = t.Discount.Add(D(l.Discount)), t.Tax.Add(tax)
		if l.Tip {
			t.Tips = t.Tips.Add(price)
		} else {
			t.Merchandise = t.Merchandise.Add(price)
		}
	}
	if o.Shipping != "" {
		taxes, tax := taxLines(D(o.Shipping), D(o.ShippingRate), places)
		f.ShippingLines = []order.PlacedV2ShippingLine{{Code: "STD", Name: "Standard", NetAmount: D(o.Shipping), TaxLines: taxes}}
		t.Shipping, t.Tax = D(o.Shipping), t.Tax.Add(tax)
	}
	t.Fees = D(o.Fees)
	t.GrandTotal = money.Sum(t.Merchandise, t.Discount.Neg(), t.Shipping, t.Tax, t.Tips, t.Fees)
	f.ShopTotals = f.Totals
	return f
}

func taxLines(net, rate money.Decimal, places int) ([]common.TaxLine, money.Decimal) {
	if rate.IsZero() {
		return nil, money.Decimal{}
	}
	tax := net.Mul(rate).Round(places, money.HalfUp)
	return []common.TaxLine{{Code: "VAT", Rate: rate, TaxableAmount: net, Amount: tax}}, tax
}

// PlacedEvent is the envelope of Placed.
func (o Order) PlacedEvent() event.Event {
	return Event(o.Instance, order.PlacedV2{}, o.ID, o.ID, "", o.At)
}

// Cancelled is the fact that the order was cancelled, or the given quantities of lines.
func (o Order) Cancelled(at time.Time, lines ...Line) (event.Event, order.CancelledV1) {
	f := order.CancelledV1{
		OrderRef: o.Ref(), OrderNumber: "#" + o.ID, CancelledAt: at, Scope: order.CancelledV1ScopeAll,
		Reason: order.CancelledV1ReasonCustomer, Restock: true, Currency: o.Placed().Currency,
	}
	discriminator := "ALL"
	listed := o.Lines
	if len(lines) > 0 {
		f.Scope, listed, discriminator = order.CancelledV1ScopeLines, lines, at.String()
	}
	for _, l := range listed {
		f.Lines = append(f.Lines, order.CancelledV1Line{LineID: l.ID, SKU: l.SKU, Quantity: D(l.Quantity)})
	}
	return Event(o.Instance, f, o.ID, o.ID, discriminator, at), f
}

// Refunded is a line of a refund.
type Refunded struct {
	ID, Quantity, Net, Tax string
	Restock                refund.IssuedV1Restock
}

// Refund is the fact that money was given back.
func (o Order) Refund(id, amount string, at time.Time, lines ...Refunded) (event.Event, refund.IssuedV1) {
	f := refund.IssuedV1{RefundID: id, OrderRef: o.Ref(), IssuedAt: at, Currency: o.Placed().Currency, Amount: D(amount)}
	rest := f.Amount
	for _, l := range lines {
		if l.Restock == "" {
			l.Restock = refund.IssuedV1RestockNo
		}
		f.Lines = append(f.Lines, refund.IssuedV1Line{LineID: l.ID, SKU: "sku", Quantity: D(l.Quantity), NetAmount: D(l.Net), TaxAmount: D(l.Tax), Restock: l.Restock})
		rest = rest.Sub(D(l.Net)).Sub(D(l.Tax))
	}
	if !rest.IsZero() {
		f.Adjustments = []refund.IssuedV1Adjustment{{Kind: refund.IssuedV1AdjustmentKindUnknown, Amount: rest}}
	}
	return Event(o.Instance, f, o.ID, id, "", at), f
}

// Payment is the fact that money was captured.
func (o Order) Payment(id, amount string, at time.Time) (event.Event, payment.ReceivedV1) {
	ref := o.Ref()
	f := payment.ReceivedV1{PaymentID: id, CaptureSeq: 1, OrderRef: &ref, Amount: D(amount), Currency: o.Placed().Currency, ReceivedAt: at, Method: "card", Processor: "bogus"}
	return Event(o.Instance, f, o.ID, id, "", at), f
}
