package consumertest_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/consumer/consumertest"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/notification"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
)

const tables = `-- +goose Up
CREATE TABLE till_payments (payment TEXT NOT NULL PRIMARY KEY, payer TEXT NOT NULL, note TEXT NOT NULL);
CREATE TABLE till_totals (payer TEXT NOT NULL PRIMARY KEY, n BIGINT NOT NULL);
-- +goose Down
DROP TABLE till_totals;
DROP TABLE till_payments;
`

type (
	paid    = event.Of[payment.ReceivedV1]
	handler = func(context.Context, consumer.Tx, paid) error
)

// group is one with this handler.
func group(h handler) consumer.Group {
	return consumer.Group{
		Name: "till", Owner: "shop", Tables: fstest.MapFS{"00001_create.sql": {Data: []byte(tables)}},
		On: []consumer.Handler{consumer.On(h)},
		Effects: []consumer.Effect{consumer.EffectOf("receipt", consumer.RetryWithKey,
			func(context.Context, string, string) error { return errors.New("the kit called the outside") },
			func(ctx context.Context, tx consumer.Tx, key, _ string) error {
				return exec(ctx, tx, `UPDATE till_payments SET note = 'receipt sent' WHERE payment = $1`, key)
			})},
		Emits:  []event.Fact{notification.SentV1{}},
		Ledger: map[string]string{},
	}
}

func exec(ctx context.Context, tx consumer.DB, query string, args ...any) error {
	_, err := tx.ExecContext(ctx, query, args...)
	return err
}

// note keeps a payment, and says if it is new.
func note(ctx context.Context, tx consumer.Tx, e paid, text string) (bool, error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO till_payments (payment, payer, note) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, e.Data.PaymentID, e.Key, text)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func count(ctx context.Context, tx consumer.Tx, e paid) error {
	return exec(ctx, tx, `INSERT INTO till_totals (payer, n) VALUES ($1, 1) ON CONFLICT (payer) DO UPDATE SET n = till_totals.n + 1`, e.Key)
}

func announce(tx consumer.Tx, e paid, entity string) error {
	return tx.Publish(event.New{Entity: entity, At: e.OccurredAt, Fact: notification.SentV1{
		NotificationID: entity, Template: "receipt", Channel: notification.SentV1ChannelEmail, Provider: "till",
		SubjectRef: common.Ref{System: "till", Instance: "uk", Object: "payment", ID: e.Data.PaymentID},
	}})
}

// good keeps all promises: a natural key, everything in one transaction.
func good(ctx context.Context, tx consumer.Tx, e paid) error {
	isNew, err := note(ctx, tx, e, "")
	if err != nil || !isNew {
		return err
	}
	if err := errors.Join(count(ctx, tx, e), announce(tx, e, e.Data.PaymentID)); err != nil {
		return err
	}
	return tx.Effect("receipt", "receipt of "+e.Data.PaymentID, e.Key)
}

// payments is a history of two payers with two payments each.
func payments(uint64) (list []consumertest.Event) {
	in := event.Instance{System: "till", Name: "uk", BaseCurrency: "GBP"}
	start := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	for i := range 4 {
		id, at := fmt.Sprint("p", i), start.Add(time.Duration(i)*time.Minute)
		e, fact, err := wire.Stamp(event.New{Entity: id, Key: fmt.Sprint("till/uk:", i%2), At: at, Fact: payment.ReceivedV1{
			PaymentID: id, CaptureSeq: 1, Amount: money.FromUnits(1050, 2), Currency: "GBP", ReceivedAt: at, Method: "cash", Processor: "till",
		}}, wire.Cause{Source: in.String(), Origin: event.OriginWebhook, RecordedAt: at, Correlation: "order:till/uk:" + id})
		if err != nil {
			panic(err)
		}
		e.Instance = in
		list = append(list, consumertest.Event{Event: e, Fact: fact})
	}
	return list
}

func TestRun_ofAGoodGroup(t *testing.T) {
	t.Parallel()
	consumertest.Run(t, func() consumer.Group { return group(good) }, consumertest.Options{Events: payments})
}

// outside is something that a handler calls.
type outside struct{ calls []string }

func (o *outside) seen() []string {
	calls := o.calls
	o.calls = nil
	return calls
}

// Each mistake is told with the fault that shows it and no more events than it takes.
func TestFindings_ofBadGroups(t *testing.T) {
	t.Parallel()
	mail := &outside{}
	stateless := func(h handler) func() consumer.Group { return func() consumer.Group { return group(h) } }
	for name, c := range map[string]struct {
		group  func() consumer.Group
		want   string // what happened
		differ string // in what
		events int
		also   func(*consumertest.Options)
	}{
		"counts without a key": {
			group: stateless(count), want: "is delivered again when the inbox has forgotten it", differ: "row of till_totals: payer=till/uk:0 n=2", events: 1,
		},
		"publishes a random id": {
			group: stateless(func(_ context.Context, tx consumer.Tx, e paid) error { return announce(tx, e, rand.Text()) }),
			want:  "is handled by another process, a moment later", differ: "fact notification.sent.v1", events: 1,
		},
		"asks with a random key": {
			group: stateless(func(_ context.Context, tx consumer.Tx, _ paid) error { return tx.Effect("receipt", rand.Text(), "") }),
			want:  "is handled by another process, a moment later", differ: "effect receipt", events: 1,
		},
		"calls the outside": {
			group: stateless(func(_ context.Context, _ consumer.Tx, e paid) error {
				mail.calls = append(mail.calls, "mail to "+e.Key)
				return nil
			}),
			want: "the process dies before the commit", differ: "+ outside: mail to till/uk:0", events: 1,
			also: func(o *consumertest.Options) { o.Outside = mail.seen },
		},
		"keeps state in memory": {
			group: func() consumer.Group {
				seen := 0
				return group(func(ctx context.Context, tx consumer.Tx, e paid) error {
					seen++
					_, err := note(ctx, tx, e, fmt.Sprint("payment number ", seen))
					return err
				})
			},
			want: "is handled by a new process, which remembers nothing", differ: "payment number 1", events: 2,
		},
		"remembers what is done": {
			group: func() consumer.Group {
				seen := 0
				g := group(good)
				g.Effects[0].Done = func(ctx context.Context, tx consumer.Tx, _ string, _ json.RawMessage) error {
					seen++
					return exec(ctx, tx, `UPDATE till_totals SET n = $1`, seen)
				}
				return g
			},
			want: "can't be noted as done", differ: "+ row of till_totals: payer=till/uk:0 n=2", events: 1,
		},
		"depends on the clock": {
			group: stateless(func(ctx context.Context, tx consumer.Tx, e paid) error {
				_, err := note(ctx, tx, e, time.Now().Format(time.RFC3339Nano))
				return err
			}),
			want: "is handled by another process, a moment later", differ: "row of till_payments", events: 1,
		},
		"makes nothing of an error": {
			group: stateless(func(ctx context.Context, tx consumer.Tx, e paid) error {
				_, _ = note(ctx, tx, e, "")
				_ = count(ctx, tx, e)
				return nil
			}),
			want: "the context ends before one of its SQL statements", differ: "- row of till_totals", events: 1,
		},
		"makes nothing of a panic": {
			group: stateless(func(ctx context.Context, tx consumer.Tx, e paid) (err error) {
				defer func() { _ = recover() }()
				_, err = note(ctx, tx, e, "")
				return errors.Join(err, count(ctx, tx, e))
			}),
			want: "which panics before one of its SQL statements", differ: "- row of till_totals", events: 1,
		},
		"numbers across keys": {
			group: stateless(func(ctx context.Context, tx consumer.Tx, e paid) error {
				return exec(ctx, tx, `INSERT INTO till_totals (payer, n) SELECT $1, COUNT(*) FROM till_totals WHERE true ON CONFLICT DO NOTHING`, e.Key)
			}),
			want: "comes in another order between the keys", differ: "row of till_totals: payer=till/uk:", events: 2,
		},
		"refuses what it should take": {
			group: stateless(func(context.Context, consumer.Tx, paid) error { return consumer.Reject("no") }),
			want:  "rejected: no, without any fault", differ: "payment.received.v1",
		},
		"publishes undeclared": {
			group: func() consumer.Group {
				g := group(good)
				g.Emits = nil
				return g
			},
			want: "does not declare it in Emits", differ: "without any fault",
		},
		"panics": {
			group: stateless(func(_ context.Context, _ consumer.Tx, e paid) error {
				_ = e.Data.OrderRef.ID
				return nil
			}),
			want: "panics: ", differ: "without any fault",
		},
		"shows an event twice": {
			group: func() consumer.Group {
				g := group(good)
				g.Ledger["payment.received.v1"] = `SELECT 'x' FROM till_payments`
				return g
			},
			want: "shows the event x twice", differ: "the ledger of payment.received.v1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := consumertest.Options{Events: payments}
			if c.also != nil {
				c.also(&o)
			}
			found := consumertest.Findings(t, c.group, o)
			i := slices.IndexFunc(found, func(f string) bool { return strings.Contains(f, c.want) && strings.Contains(f, c.differ) })
			if i < 0 {
				t.Fatalf("want %q with %q among\n%s", c.want, c.differ, strings.Join(found, "\n"))
			}
			if n := strings.Count(found[i], "payment.received.v1 "); c.events > 0 && n != c.events {
				t.Errorf("told with %d events, %d show it:\n%s", n, c.events, found[i])
			}
		})
	}
}

// Facts of an older major are generated, too: what the upcaster makes of them, or that
// it refuses, is the same in every run.
func TestRun_generatesOlderMajors(t *testing.T) {
	t.Parallel()
	var upcast atomic.Int64
	found := consumertest.Findings(t, func() consumer.Group {
		g := group(nil)
		h := consumer.On(func(context.Context, consumer.Tx, event.Of[order.PlacedV2]) error { return nil })
		convert := h.Upcasts[0].Convert
		h.Upcasts[0].Convert = func(old any, in event.Instance) (event.Fact, error) {
			upcast.Add(1)
			return convert(old, in)
		}
		g.On = []consumer.Handler{h}
		return g
	}, consumertest.Options{Seed: 3})
	if upcast.Load() == 0 {
		t.Error("no fact of order.placed.v1 was generated")
	}
	for _, f := range found {
		if !strings.HasPrefix(f, "no event of order.placed.v1 was handled") { // these values mean nothing: it may refuse them all
			t.Error(f)
		}
	}
}

// Writers of frozen revisions take turns with those of today, believable events among
// what they write: what an older revision doesn't know is its default.
func TestRun_writesFrozenRevisions(t *testing.T) {
	t.Parallel()
	frozen := fstest.MapFS{
		"released/payment/received.v1.r1.avsc": {Data: without(t, payment.ReceivedV1{}.AvroSchema(), "authorization_ref")},
		"released/payment/received.v1.r2.avsc": {Data: []byte(payment.ReceivedV1{}.AvroSchema())}, // as it is today
	}
	var all, old atomic.Int64
	g := func() consumer.Group {
		return group(func(ctx context.Context, tx consumer.Tx, e paid) error {
			all.Add(1)
			if e.Data.AuthorizationRef == nil {
				old.Add(1)
				return consumer.Reject("no reference")
			}
			return good(ctx, tx, e)
		})
	}
	referred := func(seed uint64) []consumertest.Event {
		list := payments(seed)
		for i := range list {
			fact := list[i].Fact.(payment.ReceivedV1) //nolint:forcetypeassert // what payments makes
			fact.AuthorizationRef = new(string)
			list[i].Fact = fact
		}
		return list
	}
	found := consumertest.Findings(t, g, consumertest.Options{Events: referred})
	if len(found) > 0 {
		t.Errorf("with today's schema alone: %q", found)
	}
	found = consumertest.Findings(t, g, consumertest.Options{Events: referred, Schemas: frozen})
	const want = "payment.received.v1, written as received.v1.r1, till/uk:0: rejected: no reference, without any fault"
	if len(found) != 2 || found[0] != want {
		t.Errorf("want %q twice, once for each second payment: %q", want, found)
	}
	if all.Load() == 0 || old.Load() == 0 {
		t.Errorf("%d handled, %d of them old", all.Load(), old.Load())
	}
}

// without takes a field out of a schema.
func without(t *testing.T, schema, field string) []byte {
	t.Helper()
	var record map[string]any
	if err := json.Unmarshal([]byte(schema), &record); err != nil {
		t.Fatal(err)
	}
	fields, _ := record["fields"].([]any)
	kept := slices.DeleteFunc(slices.Clone(fields), func(f any) bool { return f.(map[string]any)["name"] == field }) //nolint:forcetypeassert // it is a schema
	if len(kept) != len(fields)-1 {
		t.Fatalf("no field %s", field)
	}
	record["fields"] = kept
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A column that is known to differ, and a number that depends on the order between
// keys, are left out where they are named.
func TestOptions_masks(t *testing.T) {
	t.Parallel()
	clock := func(ctx context.Context, tx consumer.Tx, e paid) error {
		_, err := note(ctx, tx, e, time.Now().Format(time.RFC3339Nano))
		if err != nil {
			return err
		}
		return exec(ctx, tx, `INSERT INTO till_totals (payer, n) SELECT $1, COUNT(*) FROM till_totals WHERE true ON CONFLICT DO NOTHING`, e.Key)
	}
	consumertest.Run(t, func() consumer.Group { return group(clock) }, consumertest.Options{
		Events: payments, Volatile: []string{"till_payments.note"}, Unordered: []string{"till_totals.n"},
	})
}
