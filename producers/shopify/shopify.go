// Package shopify tells what Shopify shops report by webhooks: orders, edits,
// payments and refunds, as the REST resources of the Admin API describe them
// (https://shopify.dev/docs/api/webhooks).
//
// Each fact comes from one kind of delivery. orders/create, orders/updated,
// orders/paid and orders/cancelled carry the whole order and emit order.placed and
// order.cancelled by comparing it with what was known; orders/edited,
// order_transactions/create and refunds/create each report one thing.
package shopify

import (
	"net/http"
	"strconv"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers/shopify/day"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
	"github.com/eventspine/spine/schemas/refund"
)

// The headers of a webhook. Only the body is signed: the rest is taken for what it
// is, a hint, but for the shop's domain, which is compared with the configuration.
const (
	headerHMAC      = "X-Shopify-Hmac-Sha256"
	headerTopic     = "X-Shopify-Topic"
	headerDomain    = "X-Shopify-Shop-Domain"
	headerTriggered = "X-Shopify-Triggered-At"
)

// Adapter is all that Shopify can tell us.
func Adapter() producer.Adapter {
	return producer.Adapter{
		System: "shopify",
		IDTime: time.Second, // the precision of the times in orders
		Webhooks: []producer.Webhook{{
			Verify: producer.All(
				producer.HMACSHA256(headerHMAC, producer.Base64),
				producer.HeaderIs(headerDomain, func(in event.Instance) string { return in.ShopDomain }),
			),
			Kind: producer.Header(headerTopic),
			Keep: []string{
				headerTopic, headerDomain, headerTriggered,
				"X-Shopify-API-Version", "X-Shopify-Webhook-Id", "X-Shopify-Event-Id", "X-Shopify-Sub-Topic", "X-Shopify-Name",
			},
			Key: orderKey,
		}},
		Objects: []producer.Object{
			producer.Snapshot("order", "orders/create orders/updated orders/paid orders/cancelled",
				func(o orderState) string { return id(o.ID) }, version, orderFacts, order.PlacedV2{}, order.CancelledV1{}),
			producer.Report("orders/edited", editFacts, order.EditedV1{}),
			producer.Report("order_transactions/create", paymentFacts, payment.ReceivedV1{}),
			producer.Report("refunds/create", refundFacts, refund.IssuedV1{}),
		},
		APIVersion: producer.Header("X-Shopify-API-Version"),
		Day:        day.New(),
	}
}

// orderKey is the id of the order that a delivery is about: all facts of one order
// stay in order. Deliveries of other kinds have none.
func orderKey(kind string, h http.Header, body []byte) string {
	switch kind {
	case "orders/create", "orders/updated", "orders/paid", "orders/cancelled":
		return producer.JSONField("id")(h, body)
	case "orders/edited":
		return producer.JSONField("order_edit", "order_id")(h, body)
	case "order_transactions/create", "refunds/create":
		return producer.JSONField("order_id")(h, body)
	}
	return ""
}

// version orders the snapshots of an order. updated_at has whole seconds; the time
// of the trigger is finer, and is none where the header says nothing readable.
func version(d producer.Delivery, o orderState) producer.Version {
	v := producer.Version{Source: micros(o.UpdatedAt), Terminal: o.CancelledAt != nil}
	if clock, err := time.Parse(time.RFC3339Nano, d.Header.Get(headerTriggered)); err == nil {
		v.Clock = micros(clock)
	}
	return v
}

// orderFacts is what changed from one snapshot of an order to the next.
func orderFacts(d producer.Delivery, before *orderState, after orderState) ([]event.New, error) {
	var facts []event.New
	if before == nil {
		placed, err := placedFact(d, after)
		if err != nil {
			return nil, err
		}
		facts = append(facts, event.New{Fact: placed, Entity: id(after.ID), At: placed.PlacedAt, Born: micros(after.CreatedAt), Test: after.Test})
	}
	if after.CancelledAt != nil && (before == nil || before.CancelledAt == nil) {
		cancelled, err := cancelledFact(d, after)
		if err != nil {
			return nil, err
		}
		// Shopify never takes a cancellation back: there is one of the whole order.
		facts = append(facts, event.New{Fact: cancelled, Entity: id(after.ID), Discriminator: "ALL", At: cancelled.CancelledAt, Test: after.Test})
	}
	return facts, nil
}

func id(n int64) string { return strconv.FormatInt(n, 10) }

// micros is a time in the precision of the facts.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func ref(d producer.Delivery, object string, n int64) common.Ref {
	return common.Ref{System: d.Instance.System, Instance: d.Instance.Name, Object: object, ID: id(n)}
}

// wrong is an error of a field that can be read but not be right.
func wrong(path, want string) error { return &producer.DecodeError{Path: path, Want: want} }

// text is nil for "": the vendor uses both for nothing.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
