package shopify

import (
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/schemas/refund"
)

// refundState is the body of refunds/create:
// https://shopify.dev/docs/api/admin-rest/latest/resources/refund
// Its order_adjustments are left out: their sign is reversed, and a discrepancy
// repeats what the other parts say.
type refundState struct {
	ID           int64           `json:"id" spine:"required"`
	OrderID      int64           `json:"order_id" spine:"required"`
	CreatedAt    time.Time       `json:"created_at" spine:"required"`
	ProcessedAt  *time.Time      `json:"processed_at"`
	Note         string          `json:"note"`
	Transactions []transaction   `json:"transactions"`
	Lines        []refundLine    `json:"refund_line_items"`
	Shipping     []refundFreight `json:"refund_shipping_lines"`
}

type refundLine struct {
	LineID   int64    `json:"line_item_id" spine:"required"`
	Quantity int64    `json:"quantity" spine:"required"`
	Restock  string   `json:"restock_type"`
	Location *int64   `json:"location_id"`
	Subtotal moneySet `json:"subtotal_set" spine:"required"`
	Tax      moneySet `json:"total_tax_set" spine:"required"`
	Item     struct {
		item
		Taxes []struct {
			Rate money.Decimal `json:"rate"`
		} `json:"tax_lines"`
	} `json:"line_item" spine:"required"`
}

type refundFreight struct {
	Subtotal moneySet `json:"subtotal_amount_set" spine:"required"`
	Tax      moneySet `json:"tax_amount_set" spine:"required"`
}

// refundFacts makes a fact of money that goes back: what the transactions say, set
// against the lines and the shipping that it is for. What is left over either way
// is one adjustment.
func refundFacts(d producer.Delivery, r refundState) ([]event.New, error) {
	currency, err := r.check()
	if err != nil {
		return nil, err
	}
	at := micros(r.CreatedAt)
	if r.ProcessedAt != nil {
		at = micros(*r.ProcessedAt)
	}
	fact := refund.IssuedV1{
		RefundID: id(r.ID), OrderRef: ref(d, "order", r.OrderID), IssuedAt: at, Currency: currency,
		Lines: []refund.IssuedV1Line{}, Adjustments: []refund.IssuedV1Adjustment{}, Reason: text(r.Note), Extensions: map[string]string{},
	}
	test := false
	for _, t := range r.Transactions {
		test = test || t.Test
		if !t.returnsMoney() {
			continue
		}
		fact.Amount = fact.Amount.Add(t.Amount)
		if t.ParentID != nil && fact.PaymentID == nil {
			parent := id(*t.ParentID)
			fact.PaymentID = &parent
		}
	}
	r.fill(d, &fact)
	return []event.New{{Fact: fact, Entity: id(r.ID), Key: event.Key(d.Instance.String(), id(r.OrderID)), At: at, Test: test}}, nil
}

// returnsMoney is true for what was paid back or is about to be. Voiding an
// authorization returns nothing: nothing had come in.
func (t transaction) returnsMoney() bool {
	return (t.Status == "success" || t.Status == "pending") && t.Kind != "void"
}

// fill enters lines, shipping and the adjustment: Σ lines + shipping + adjustment =
// amount.
func (r refundState) fill(d producer.Delivery, fact *refund.IssuedV1) {
	inside := r.taxInside(fact.Amount)
	without := func(subtotal, tax moneySet) money.Decimal {
		if inside {
			return presentment(subtotal).Sub(presentment(tax))
		}
		return presentment(subtotal)
	}
	left := fact.Amount
	for _, l := range r.Lines {
		line := refund.IssuedV1Line{
			LineID: id(l.LineID), SKU: l.Item.sku(), Quantity: money.FromUnits(l.Quantity, 0),
			NetAmount: without(l.Subtotal, l.Tax), TaxAmount: presentment(l.Tax), Restock: restock(l.Restock),
		}
		if l.Location != nil {
			location := ref(d, "location", *l.Location)
			line.Location = &location
		}
		fact.Lines = append(fact.Lines, line)
		left = left.Sub(line.NetAmount).Sub(line.TaxAmount)
	}
	for _, f := range r.Shipping {
		fact.ShippingAmount = fact.ShippingAmount.Add(without(f.Subtotal, f.Tax))
		fact.ShippingTax = fact.ShippingTax.Add(presentment(f.Tax))
	}
	left = left.Sub(fact.ShippingAmount).Sub(fact.ShippingTax)
	if !left.IsZero() {
		fact.Adjustments = append(fact.Adjustments, refund.IssuedV1Adjustment{Kind: refund.IssuedV1AdjustmentKindUnknown, Amount: left})
	}
}

func restock(vendors string) refund.IssuedV1Restock {
	switch vendors {
	case "no_restock":
		return refund.IssuedV1RestockNo
	case "return", "legacy_restock":
		return refund.IssuedV1RestockReturn
	case "cancel":
		return refund.IssuedV1RestockCancel
	}
	return refund.IssuedV1RestockUnknown
}
