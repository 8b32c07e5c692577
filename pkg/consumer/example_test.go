package consumer_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing/fstest"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/payment"
)

// A group is a value. Its handler says by its signature which fact it takes; the SQL
// that it runs and the mark that the event is handled are one transaction.
func Example() {
	till := consumer.Group{
		Name:  "till",
		Owner: "shop",
		Start: consumer.FromBeginning,
		Tables: fstest.MapFS{"00001_create.sql": {Data: []byte(`-- +goose Up
CREATE TABLE till_payments (payment TEXT NOT NULL PRIMARY KEY, at BIGINT NOT NULL);`)}},
		On: []consumer.Handler{consumer.On(received)},
	}
	fmt.Println(till.Name, "reads", till.On[0].Type)

	err := handle(till, payment.ReceivedV1{PaymentID: "p1", ReceivedAt: time.Unix(1000, 0)})
	fmt.Println(err)
	// Output:
	// till reads payment.received.v1
	// INSERT INTO till_payments (payment, at) VALUES ($1, $2) ON CONFLICT DO NOTHING [p1 1000000000]
	// <nil>
}

// received keeps one row for each payment. The payment's id is a key of its own: it
// holds where the inbox has forgotten the event, and where two events tell of one
// payment.
func received(ctx context.Context, tx consumer.Tx, e event.Of[payment.ReceivedV1]) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO till_payments (payment, at) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
		e.Data.PaymentID, e.Data.ReceivedAt.UnixMicro())
	return err
}

// What a handler answers says what becomes of the event. Any other error, and a panic,
// is tried again a few times, and is a dead letter then.
func ExampleReject() {
	group := consumer.Group{Name: "till", On: []consumer.Handler{consumer.On(
		func(_ context.Context, _ consumer.Tx, e event.Of[payment.ReceivedV1]) error {
			switch {
			case e.Data.Currency == "":
				return consumer.Reject("a payment without a currency") // no retry helps: a dead letter now
			case e.Data.Processor == "":
				return consumer.Later(time.Unix(3600, 0), "the processor's statement comes at one") // its key waits
			case e.Data.Method == "card":
				return consumer.Unavailable("card-service", errors.New("timeout")) // not its fault: until it is back
			}
			return nil
		})}}

	fmt.Println(handle(group, payment.ReceivedV1{}))
	fmt.Println(handle(group, payment.ReceivedV1{Currency: "GBP"}))
	fmt.Println(handle(group, payment.ReceivedV1{Currency: "GBP", Processor: "stripe", Method: "card"}))
	fmt.Println(handle(group, payment.ReceivedV1{Currency: "GBP", Processor: "stripe", Method: "bank"}))
	// Output:
	// rejected: a payment without a currency
	// later, at 1970-01-01T01:00:00Z: the processor's statement comes at one
	// card-service is unavailable: timeout
	// <nil>
}

// A call to the outside is asked for in the transaction and made after its commit, also
// after a restart. It can happen more than once, always with the same key, so the key
// comes from the event and never from a clock or a counter.
func ExampleEffectOf() {
	type receipt struct{ Payment string }
	group := consumer.Group{
		Name: "till",
		On: []consumer.Handler{consumer.On(
			func(_ context.Context, tx consumer.Tx, e event.Of[payment.ReceivedV1]) error {
				return tx.Effect("receipt", "receipt:"+e.Data.PaymentID, receipt{Payment: e.Data.PaymentID})
			})},
		Effects: []consumer.Effect{consumer.EffectOf("receipt", consumer.RetryWithKey,
			func(_ context.Context, key string, args receipt) error {
				fmt.Println("POST /receipts, Idempotency-Key", key, "for", args.Payment)
				return nil
			})},
	}

	if err := handle(group, payment.ReceivedV1{PaymentID: "p1"}); err != nil {
		fmt.Println(err)
	}
	// The engine does this after the commit.
	if err := group.Effects[0].Do(context.Background(), "receipt:p1", []byte(`{"Payment":"p1"}`)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// effect receipt with key receipt:p1 {p1}
	// POST /receipts, Idempotency-Key receipt:p1 for p1
}

// A service without idempotency keys is asked whether it has seen a call before the call
// is repeated: after a crash, and after a failure.
func ExampleLookingUp() {
	printer := map[string]bool{"label:p1": true} // it printed, and the answer was lost
	label := consumer.LookingUp(
		consumer.EffectOf("label", consumer.LookUp, func(_ context.Context, key, parcel string) error {
			fmt.Println("printing the label of", parcel)
			printer[key] = true
			return nil
		}),
		func(_ context.Context, key, _ string) (made bool, err error) { return printer[key], nil },
	)

	// The engine does this before it calls again.
	for _, parcel := range []string{"p1", "p2"} {
		made, err := label.Look(context.Background(), "label:"+parcel, []byte(`"`+parcel+`"`))
		fmt.Println(parcel, made, err)
	}
	// Output:
	// p1 true <nil>
	// p2 false <nil>
}

// handle does what the engine does with a decoded fact. Tests of a group use
// consumertest, which has a database and all the faults.
func handle(g consumer.Group, fact payment.ReceivedV1) error {
	return g.On[0].Call(context.Background(), consumer.Tx{DB: printed{}, Out: printed{}}, event.Event{ID: "e1"}, &fact)
}

// printed shows what a handler does.
type printed struct{ consumer.DB }

func (printed) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	fmt.Println(query, args)
	return driver.RowsAffected(1), nil
}

func (printed) Publish(n event.New) error {
	fmt.Println("publish", n.Fact.EventType(), "of", n.Entity)
	return nil
}

func (printed) Effect(name, key string, args any) error {
	fmt.Println("effect", name, "with key", key, args)
	return nil
}
