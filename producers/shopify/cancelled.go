package shopify

import (
	"fmt"

	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/schemas/order"
)

// cancelledFact is an order that was cancelled as a whole; the vendor knows no
// other way.
func cancelledFact(d producer.Delivery, o orderState) (order.CancelledV1, error) {
	fact := order.CancelledV1{
		OrderRef: ref(d, "order", o.ID), OrderNumber: o.Name, CancelledAt: micros(*o.CancelledAt), Scope: order.CancelledV1ScopeAll,
		Lines: []order.CancelledV1Line{}, Reason: reason(o.CancelReason), ReasonText: text(o.CancelReason), Restock: o.restocked(),
		Currency: o.PresentmentCurrency, StageAtCancel: order.CancelledV1StageUnknown, Extensions: map[string]string{},
	}
	if o.FulfillmentStatus == "fulfilled" || o.FulfillmentStatus == "partial" {
		fact.StageAtCancel = order.CancelledV1StageDispatched
	}
	for i, l := range o.Lines {
		if err := checkQuantity(fmt.Sprintf("line_items[%d].quantity", i), l.Quantity); err != nil {
			return fact, err
		}
		fact.Lines = append(fact.Lines, order.CancelledV1Line{LineID: id(l.ID), SKU: l.sku(), Quantity: l.quantity()})
	}
	return fact, nil
}

func reason(vendors string) order.CancelledV1Reason {
	switch vendors {
	case "customer":
		return order.CancelledV1ReasonCustomer
	case "fraud":
		return order.CancelledV1ReasonFraud
	case "declined":
		return order.CancelledV1ReasonPayment
	case "inventory":
		return order.CancelledV1ReasonStock
	case "staff", "other":
		return order.CancelledV1ReasonOther
	}
	return order.CancelledV1ReasonUnknown
}

// restocked is false where the refunds of the order say that none of its goods goes
// back to stock; who cancels without a refund always puts them back.
func (o orderState) restocked() bool {
	kept := false
	for _, r := range o.Refunds {
		for _, l := range r.Lines {
			if l.Restock != "no_restock" {
				return true
			}
			kept = true
		}
	}
	return !kept
}
