package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"testing/fstest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/app"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/producers"
	"github.com/eventspine/spine/schemas"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/topics"
)

// witnesses, set in the environment of a spine, makes it run the groups witness and
// onlooker and no other. While the file that it names exists, witness refuses all.
const witnesses = "SPINE_TEST_WITNESSES"

// spineOfTests is spine with the groups of main, or with witnesses.
func spineOfTests() {
	broken := os.Getenv(witnesses)
	if broken == "" {
		main()
		return
	}
	app.Main(app.Fleet{
		Adapters: producers.All(), Groups: []consumer.Group{witness("witness", broken), witness("onlooker", "")},
		Schemas: []fs.FS{schemas.Files}, Topics: []fs.FS{topics.Files},
	})
}

// witness is a group that writes down each call of its handler that is committed, and
// what the handler saw. It is not idempotent: what is handled twice stands twice.
func witness(name, broken string) consumer.Group {
	g := consumer.Group{Name: name, Owner: "engineering", Start: consumer.FromBeginning, Tables: fstest.MapFS{
		"00001_create.sql": {Data: []byte("-- +goose Up\nCREATE TABLE " + name + "_calls (place INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, " +
			"record_key TEXT NOT NULL, label TEXT NOT NULL, seen TEXT NOT NULL);\n-- +goose Down\nDROP TABLE " + name + "_calls;\n")},
	}}
	g.On = []consumer.Handler{consumer.On(func(ctx context.Context, tx consumer.Tx, e event.Of[order.CancelledV1]) error {
		if _, err := os.Stat(broken); broken != "" && err == nil {
			return consumer.Reject("the witness is broken")
		}
		seen, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO `+name+`_calls (event_id, record_key, label, seen) VALUES ($1, $2, $3, $4)`,
			e.ID, e.Key, e.Data.OrderNumber, string(seen))
		return err
	})}
	return g
}

// facts are records of cancelled orders: each of the keys has each of the labels, in
// their order.
type facts struct {
	keys, firstLabel, labels int
	at                       time.Time // timestamp of the records; zero = now
}

// publish publishes facts in the form that an adapter gives them, and a foreign header.
func (o operator) publish(f facts) []*kgo.Record {
	o.t.Helper()
	registry, err := sr.NewClient(sr.URLs(o.d.Registry))
	if err != nil {
		o.t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(o.d.Kafka))
	if err != nil {
		o.t.Fatal(err)
	}
	defer client.Close()
	codec := wire.NewCodec(wire.NewRegistry(registry))
	var records []*kgo.Record
	for label := f.firstLabel; label < f.firstLabel+f.labels; label++ {
		for key := range f.keys {
			e, fact, err := wire.Stamp(cancelled(strconv.Itoa(key), label))
			if err != nil {
				o.t.Fatal(err)
			}
			r, err := codec.Encode(o.t.Context(), topicOfOrders, e, fact)
			if err != nil {
				o.t.Fatal(err)
			}
			r.Timestamp = f.at
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "x-foreign", Value: []byte{0, 0xff, byte(label)}})
			records = append(records, r)
		}
	}
	if err := client.ProduceSync(o.t.Context(), records...).FirstErr(); err != nil {
		o.t.Fatal(err)
	}
	return records
}

func cancelled(entity string, label int) (event.New, wire.Cause) {
	at := time.Date(2026, 3, 14, 11, 20, label, 0, time.UTC)
	cause := wire.Cause{
		Source: "shopify/uk", Origin: event.OriginWebhook, RecordedAt: at.Add(time.Minute), Correlation: "order:shopify/uk:" + entity,
	}
	fact := order.CancelledV1{
		OrderRef:    common.Ref{System: "shopify", Instance: "uk", Object: "order", ID: entity},
		OrderNumber: strconv.Itoa(label), CancelledAt: at, Scope: order.CancelledV1ScopeAll, Reason: order.CancelledV1ReasonOther,
		Currency: "GBP", StageAtCancel: order.CancelledV1StageUnknown, Extensions: map[string]string{"note": fmt.Sprintf("%d of %s: ✓", label, entity)},
	}
	return event.New{Fact: fact, Entity: entity, Discriminator: strconv.Itoa(label), At: at}, cause
}
