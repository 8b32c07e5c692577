package shopify

import (
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/schemas/payment"
)

// transaction is the body of order_transactions/create, and stands in refunds:
// https://shopify.dev/docs/api/admin-rest/latest/resources/transaction
type transaction struct {
	ID            int64         `json:"id" spine:"required"`
	OrderID       int64         `json:"order_id" spine:"required"`
	Kind          string        `json:"kind" spine:"required"`   // authorization, capture, sale, void, refund
	Status        string        `json:"status" spine:"required"` // pending, failure, success, error
	Amount        money.Decimal `json:"amount" spine:"required"`
	Currency      string        `json:"currency" spine:"required"`
	ProcessedAt   *time.Time    `json:"processed_at"` // null as long as it is pending
	Gateway       string        `json:"gateway"`
	Authorization string        `json:"authorization"`
	ParentID      *int64        `json:"parent_id"`
	Test          bool          `json:"test"`
	Details       *struct {
		CardNumber string `json:"credit_card_number"` // "•••• •••• •••• 4242"
		Method     string `json:"payment_method_name"`
	} `json:"payment_details"`
}

// paymentFacts makes a fact of money that came in: a sale or a capture that
// succeeded. An authorization is no money yet.
func paymentFacts(d producer.Delivery, t transaction) ([]event.New, error) {
	if t.Kind != "sale" && t.Kind != "capture" || t.Status != "success" || t.Amount.IsZero() {
		return nil, nil
	}
	if err := t.check(""); err != nil {
		return nil, err
	}
	if t.ProcessedAt == nil {
		return nil, wrong("processed_at", "a time, the transaction succeeded")
	}
	order, at := ref(d, "order", t.OrderID), micros(*t.ProcessedAt)
	fact := payment.ReceivedV1{
		PaymentID: id(t.ID), CaptureSeq: 1, OrderRef: &order, Amount: t.Amount, Currency: t.Currency, ReceivedAt: at,
		Method: "unknown", Processor: or(t.Gateway, "unknown"), AuthorizationRef: text(t.Authorization), IsTest: t.Test, Extensions: map[string]string{},
	}
	if t.Details != nil {
		fact.Method, fact.CardLast4 = or(t.Details.Method, "unknown"), last4(t.Details.CardNumber)
	}
	return []event.New{{
		Fact: fact, Entity: id(t.ID), Key: event.Key(d.Instance.String(), id(t.OrderID)), At: at, Test: t.Test,
	}}, nil
}

func (t transaction) check(path string) error {
	if t.Amount.Sign() < 0 {
		return wrong(path+"amount", "an amount that is not negative")
	}
	if _, err := t.Amount.Units(amountScale); err != nil {
		return wrong(path+"amount", "at most 4 decimal places and 14 digits before them")
	}
	if _, err := money.Exponent(t.Currency); err != nil {
		return wrong(path+"currency", "a currency of ISO 4217")
	}
	return nil
}

// last4 is the end of a card's number, nil where there are not four digits. More of
// it never gets into a fact, whatever the vendor sends.
func last4(number string) *string {
	if len(number) < 4 {
		return nil
	}
	end := number[len(number)-4:]
	if strings.Trim(end, "0123456789") != "" {
		return nil
	}
	return &end
}
