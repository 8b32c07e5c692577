package shopify

import (
	"strings"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
)

// placedFact is the order as it was placed. The document is in the currency that
// the customer saw.
func placedFact(d producer.Delivery, o orderState) (order.PlacedV2, error) {
	var none order.PlacedV2
	if err := o.check(); err != nil {
		return none, err
	}
	totals, err := o.totals("presentment_money", presentment)
	if err != nil {
		return none, err
	}
	shopTotals, err := o.totals("shop_money", shop)
	if err != nil {
		return none, err
	}
	discounts, err := o.discounts()
	if err != nil {
		return none, err
	}
	terms, err := o.terms(d.Instance)
	if err != nil {
		return none, err
	}
	placed := order.PlacedV2{
		OrderRef: ref(d, "order", o.ID), OrderNumber: o.Name, OrderAliases: []common.Ref{},
		PlacedAt: micros(o.ProcessedAt), TimeZone: or(d.Instance.TimeZone, "UTC"), SalesChannel: or(o.SourceName, "web"),
		Currency: o.PresentmentCurrency, ShopCurrency: o.Currency,
		Customer: o.customer(d), BillingAddress: o.Billing.fact(), ShippingAddress: o.Shipping.fact(),
		Lines: o.lines(d), Discounts: discounts, ShippingLines: o.shippingLines(),
		Totals: totals, ShopTotals: shopTotals,
		PricesIncludeTax: o.TaxesIncluded, TaxCompleteness: order.PlacedV2TaxCompletenessFull, PaymentTerms: terms,
		Notes: text(o.Note), Extensions: map[string]string{},
	}
	if o.EstimatedTaxes {
		placed.TaxCompleteness = order.PlacedV2TaxCompletenessUnknown
	}
	return placed, nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// customer is who ordered. Over the counter nobody is known.
func (o orderState) customer(d producer.Delivery) order.PlacedV2Customer {
	c := order.PlacedV2Customer{
		Email: text(o.Email), Phone: text(o.Phone), Locale: text(o.Locale), MarketingConsent: o.AcceptsMarketing, IsGuest: o.Customer == nil,
	}
	if known := o.Customer; known != nil {
		r := ref(d, "customer", known.ID)
		c.Ref, c.FirstName, c.LastName = &r, text(known.FirstName), text(known.LastName)
		c.Email, c.Phone = text(or(o.Email, known.Email)), text(or(o.Phone, known.Phone))
	}
	return c
}

func (a *address) fact() *common.Address {
	if a == nil {
		return nil
	}
	return &common.Address{
		Name: a.Name, Company: text(a.Company), Line1: a.Line1, Line2: text(a.Line2), City: a.City, Region: text(a.Province),
		PostalCode: text(a.Zip), CountryCode: a.Country, Phone: text(a.Phone),
	}
}

// terms is how the order is paid. A refund does not undo that it was.
func (o orderState) terms(in event.Instance) (order.PlacedV2PaymentTerms, error) {
	terms := order.PlacedV2PaymentTerms{Method: text(strings.Join(o.Gateways, ", ")), Status: order.PlacedV2PaymentStatusUnknown}
	switch o.FinancialStatus {
	case "pending":
		terms.Status = order.PlacedV2PaymentStatusPending
	case "authorized":
		terms.Status = order.PlacedV2PaymentStatusAuthorized
	case "partially_paid":
		terms.Status = order.PlacedV2PaymentStatusPartial
	case "paid", "partially_refunded", "refunded":
		terms.Status = order.PlacedV2PaymentStatusPaid
	}
	if o.PaymentTerms == nil || len(o.PaymentTerms.Schedules) == 0 || o.PaymentTerms.Schedules[0].DueAt == nil {
		return terms, nil
	}
	zone, err := in.Location()
	if err != nil {
		return terms, err
	}
	due := event.DateOf(*o.PaymentTerms.Schedules[0].DueAt, zone)
	terms.DueDate = &due
	return terms, nil
}
