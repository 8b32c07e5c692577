package producer_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	orders "github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
)

// ticket is the vendor's object, as far as it is read: json tags name the fields, and
// spine:"required" those without which a body is refused.
type ticket struct {
	ID        string    `json:"id" spine:"required"`
	Cancelled bool      `json:"cancelled"`
	UpdatedAt time.Time `json:"updated_at" spine:"required"`
}

// An adapter is a value: how a request is verified, what it is about, and what follows
// from two snapshots of one object. It has no clock and no network.
func Example() {
	kiosk := producer.Adapter{
		System: "kiosk",
		IDTime: time.Second, // the coarsest time by which a fact is known
		Webhooks: []producer.Webhook{{
			Verify: producer.HMACSHA256("X-Kiosk-Signature", producer.Hex),
			Kind:   producer.Header("X-Kiosk-Event"),
			Keep:   []string{"X-Kiosk-Event"},
			Key: func(_ string, h http.Header, body []byte) string {
				return producer.JSONField("id")(h, body)
			},
		}},
		Objects: []producer.Object{producer.Snapshot("ticket", "ticket.created ticket.updated",
			func(t ticket) string { return t.ID },
			func(_ producer.Delivery, t ticket) producer.Version {
				return producer.Version{Source: t.UpdatedAt, Terminal: t.Cancelled}
			},
			ticketFacts, orders.CancelledV1{})},
	}
	fmt.Println("check:", kiosk.Check())

	sold := tell(kiosk, nil, `{"id":"7","updated_at":"2026-03-14T11:20:00Z"}`)
	void := tell(kiosk, sold, `{"id":"7","updated_at":"2026-03-14T11:25:00Z","cancelled":true}`)
	tell(kiosk, void, `{"id":"7","updated_at":"2026-03-14T11:30:00Z","cancelled":true}`)
	// Output:
	// check: <nil>
	// 7 at 11:20:00: []
	// 7 at 11:25:00: [order.cancelled.v1]
	// 7 at 11:30:00: []
}

// ticketFacts is pure: what changed from before, which is nil for an object that was
// never seen, to after. The vendor says "updated"; that it was cancelled is derived.
func ticketFacts(_ producer.Delivery, before *ticket, after ticket) ([]event.New, error) {
	if !after.Cancelled || before != nil && before.Cancelled {
		return nil, nil
	}
	return []event.New{{Fact: orders.CancelledV1{}, Entity: after.ID, At: after.UpdatedAt}}, nil
}

// tell does what the engine does with a delivery.
func tell(a producer.Adapter, before any, body string) (after any) {
	o := a.Objects[0]
	after, err := o.Decode([]byte(body))
	if err != nil {
		fmt.Println(err)
		return nil
	}
	var names []string
	d := producer.Delivery{Kind: "ticket.updated", Body: []byte(body)}
	facts, err := o.Facts(d, before, after)
	for _, f := range facts {
		names = append(names, f.Fact.EventType())
	}
	if err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s at %s: %v\n", o.ID(after), o.Version(d, after).Source.Format(time.TimeOnly), names)
	return after
}

// A report is one thing that happened, such as a payment: it is told once, and nothing
// is compared.
func ExampleReport() {
	type paid struct {
		ID string    `json:"id"`
		At time.Time `json:"at" spine:"required"`
	}
	report := producer.Report("payment.captured", func(_ producer.Delivery, p paid) ([]event.New, error) {
		return []event.New{{Fact: payment.ReceivedV1{PaymentID: p.ID}, Entity: p.ID, At: p.At}}, nil
	}, payment.ReceivedV1{})

	native, err := report.Decode([]byte(`{"id":"p1","at":"2026-03-14T11:20:00Z"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	facts, err := report.Facts(producer.Delivery{}, nil, native)
	fmt.Println(len(facts), facts[0].Fact.EventType(), facts[0].Entity, err)
	_, err = report.Decode([]byte(`{"id":"p1"}`)) // what is not there is an error that names it
	fmt.Println(err)
	// Output:
	// 1 payment.received.v1 p1 <nil>
	// at: want a value, it is required, got nothing
}

// The signature is checked over the bytes as they came, with the previous secret, too,
// while a rotation lasts.
func ExampleHMACSHA256() {
	verify := producer.HMACSHA256("X-Kiosk-Signature", producer.Hex)
	body := []byte(`{"id":"7"}`)
	request := producer.Request{
		Secrets: [][]byte{[]byte("new"), []byte("old")}, Body: body,
		Header: http.Header{"X-Kiosk-Signature": {producer.SignHMACSHA256([]byte("old"), body, producer.Hex)}},
	}
	fmt.Println(verify(request))
	request.Body = []byte(`{"id":"8"}`)
	fmt.Println(verify(request))
	// Output:
	// <nil>
	// signature missing, wrong or too old
}

// A look is bounded and decodes nothing: it finds the key of a delivery while the
// sender waits.
func ExampleJSONField() {
	look := producer.JSONField("order", "id")
	fmt.Println(look(nil, []byte(`{"order":{"note":"x","id":820982911946154508}}`)))
	fmt.Printf("%q\n", look(nil, []byte(`{"order":{"id":{}}}`)))
	// Output:
	// 820982911946154508
	// ""
}
