package again_test

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/translate"
	"github.com/eventspine/spine/pkg/translate/again"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
)

// The system of the tests: an order is told when it is first seen, as order.edited
// with the reason, and when it is cancelled. Payments are reports.
type native struct {
	ID        string    `json:"id" spine:"required"`
	UpdatedAt time.Time `json:"updated_at" spine:"required"`
	Status    string    `json:"status"`
	Text      string    `json:"text"`
}

type paid struct {
	ID    string    `json:"id" spine:"required"`
	Order string    `json:"order" spine:"required"`
	At    time.Time `json:"at" spine:"required"`
}

// fault is what an adapter does wrong; "" = nothing.
type fault string

const (
	forgetsCancelled fault = "forgets cancellations"
	forgetsPayments  fault = "forgets payments"
	saysOtherwise    fault = "says otherwise why an order was cancelled"
	inventsIDs       fault = "tells payments twice"
	refuses          fault = "refuses cancelled orders"
)

var born = time.Date(2026, 3, 14, 11, 0, 0, 0, time.UTC)

func adapter(f fault, change ...func(*producer.Adapter)) producer.Adapter {
	facts := func(_ producer.Delivery, before *native, after native) (news []event.New, err error) {
		if before == nil {
			news = append(news, event.New{Fact: order.EditedV1{EditID: after.ID, EditedAt: born}, Entity: after.ID, At: born})
		}
		if after.Status != "cancelled" || before != nil && before.Status == "cancelled" || f == forgetsCancelled {
			return news, nil
		}
		if f == refuses {
			return nil, &producer.DecodeError{Path: "status", Want: "a known one"}
		}
		text, person := after.Text, "jane@example.com"
		if f == saysOtherwise {
			text, person = "otherwise", "joe@example.com"
		}
		return append(news, event.New{Entity: after.ID, Discriminator: "ALL", At: born, Fact: order.CancelledV1{
			CancelledAt: born, Scope: order.CancelledV1ScopeAll, Reason: order.CancelledV1ReasonOther, ReasonText: &person,
			OrderNumber: text, Currency: "GBP", StageAtCancel: order.CancelledV1StageUnknown,
		}}), nil
	}
	payments := func(d producer.Delivery, p paid) (news []event.New, err error) {
		if f == forgetsPayments {
			return nil, nil
		}
		fact := payment.ReceivedV1{PaymentID: p.ID, CaptureSeq: 1, Currency: "GBP", ReceivedAt: p.At, Method: "card", Processor: "x"}
		n := event.New{Fact: fact, Entity: p.ID, Key: event.Key(d.Instance.String(), p.Order), At: p.At}
		if f == inventsIDs {
			n.Discriminator = "2"
		}
		return []event.New{n}, nil
	}
	a := producer.Adapter{
		System: "shop", IDTime: time.Second,
		Webhooks: []producer.Webhook{{
			Verify: producer.HMACSHA256("X-Sig", producer.Base64), Kind: producer.Header("X-Topic"),
			Key: func(kind string, h http.Header, body []byte) string {
				if kind == "paid" {
					return producer.JSONField("order")(h, body)
				}
				return producer.JSONField("id")(h, body)
			},
		}},
		Objects: []producer.Object{
			producer.Snapshot("order", "order", func(n native) string { return n.ID },
				func(_ producer.Delivery, n native) producer.Version {
					return producer.Version{Source: n.UpdatedAt, Terminal: n.Status == "cancelled"}
				}, facts, order.EditedV1{}, order.CancelledV1{}),
			producer.Report("paid", payments, payment.ReceivedV1{}),
		},
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

// splitting takes a body of many lines for a batch.
func splitting(a *producer.Adapter) {
	a.Webhooks[0].Split = func(d producer.Delivery) ([]producer.Delivery, error) {
		var parts []producer.Delivery
		for line := range strings.Lines(string(d.Body)) {
			parts = append(parts, producer.Delivery{Kind: "order", Body: []byte(line)})
		}
		return parts, nil
	}
}

func route(fact string) (wire.Target, bool) {
	return wire.Target{Topic: "orders", Aggregate: "order"}, strings.HasPrefix(fact, "order.") || strings.HasPrefix(fact, "payment.")
}

func group(tb testing.TB, a producer.Adapter) consumer.Group {
	tb.Helper()
	g, err := translate.Group(translate.Options{Adapters: []producer.Adapter{a}, Route: route})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// codec knows the facts of the tests.
func codec(tb testing.TB) *wire.Codec {
	tb.Helper()
	fake := srfake.New()
	tb.Cleanup(fake.Close)
	client, err := sr.NewClient(sr.URLs(fake.URL()))
	if err != nil {
		tb.Fatal(err)
	}
	for subject, text := range map[string]string{
		"spine.order.OrderEditedV1": order.EditedV1{}.AvroSchema(), "spine.order.OrderCancelledV1": order.CancelledV1{}.AvroSchema(),
		"spine.payment.PaymentReceivedV1": payment.ReceivedV1{}.AvroSchema(),
	} {
		if _, err := client.CreateSchema(tb.Context(), subject, sr.Schema{Schema: text}); err != nil {
			tb.Fatal(err)
		}
	}
	return wire.NewCodec(wire.NewRegistry(client))
}

// codecWithout has a registry that is gone.
func codecWithout(tb testing.TB) *wire.Codec {
	tb.Helper()
	fake := srfake.New()
	client, err := sr.NewClient(sr.URLs(fake.URL()))
	if err != nil {
		tb.Fatal(err)
	}
	fake.Close()
	return wire.NewCodec(wire.NewRegistry(client))
}

// live is translate at work: what it was sent, published and noted.
type live struct {
	tb    testing.TB
	group consumer.Group
	codec *wire.Codec
	db    *sql.DB
	raw   []again.Delivery // the topic, one partition
	dead  map[string]bool
	topic []*kgo.Record // of facts
}

func newLive(tb testing.TB, c *wire.Codec, a producer.Adapter) *live {
	tb.Helper()
	l := &live{tb: tb, group: group(tb, a), codec: c, dead: map[string]bool{}}
	dsn := "file:" + filepath.Join(tb.TempDir(), "live.db") + "?_txlock=immediate&_pragma=synchronous(OFF)"
	var err error
	if l.db, err = sql.Open("sqlite", dsn); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.db.Close() })
	p, err := goose.NewProvider(goose.DialectSQLite3, l.db, l.group.Tables, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := p.Up(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return l
}

// way is the engine's way out.
type way struct {
	l     *live
	facts []*kgo.Record
	made  []wire.Delivery
}

func (*way) Publish(event.New) error          { return fmt.Errorf("not its own") }
func (*way) Effect(string, string, any) error { return fmt.Errorf("no effects") }
func (w *way) Forward(d wire.Delivery) error  { w.made = append(w.made, d); return nil }
func (w *way) PublishAs(c wire.Cause, n event.New) (string, error) {
	e, fact, err := wire.Stamp(n, c)
	if err != nil {
		return "", err
	}
	rec, err := w.l.codec.Encode(w.l.tb.Context(), "orders", e, fact)
	w.facts = append(w.facts, rec)
	return e.ID, err
}

// send lets a delivery arrive and be translated, and all that is made of it.
func (l *live) send(kind, key, body string) wire.Delivery {
	l.tb.Helper()
	id, _ := uuid.NewV7()
	d := wire.Delivery{
		ID: id.String(), Source: "shop/uk", Kind: kind, Key: key, Origin: event.OriginWebhook, Header: http.Header{}, Body: []byte(body),
		ReceivedAt: born.Add(time.Duration(len(l.raw)) * time.Minute),
	}
	l.arrive(d)
	return d
}

func (l *live) arrive(d wire.Delivery) {
	l.tb.Helper()
	d.Offset = int64(len(l.raw))
	l.raw = append(l.raw, again.Delivery{Delivery: d})
	out := &way{l: l}
	err := l.write(func(tx *sql.Tx) error {
		h := l.group.On[0]
		return h.Call(l.tb.Context(), consumer.Tx{DB: tx, Out: out}, event.Event{ID: d.ID, Type: h.Type}, &d)
	})
	if err != nil {
		l.dead[d.ID] = true
		return
	}
	l.topic = append(l.topic, out.facts...)
	for _, made := range out.made {
		l.arrive(made)
	}
}

func (l *live) write(fn func(*sql.Tx) error) error {
	tx, err := l.db.BeginTx(l.tb.Context(), nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (l *live) order(id string, version int, status, text string) {
	l.tb.Helper()
	l.send("order", "shop/uk:"+id, fmt.Sprintf(`{"id":%q,"updated_at":%q,"status":%q,"text":%q}`, id, born.Add(time.Duration(version)*time.Second).Format(time.RFC3339), status, text))
}

func (l *live) pay(id, of string) {
	l.tb.Helper()
	l.send("paid", "shop/uk:"+of, fmt.Sprintf(`{"id":%q,"order":%q,"at":%q}`, id, of, born.Format(time.RFC3339)))
}

func (l *live) outcomes() (list []again.Outcome) {
	l.tb.Helper()
	rows, err := l.db.QueryContext(l.tb.Context(), "SELECT delivery_id, event_ids FROM translate_outcomes WHERE facts > 0")
	if err != nil {
		l.tb.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var o again.Outcome
		var ids string
		if err := rows.Scan(&o.Delivery, &ids); err != nil {
			l.tb.Fatal(err)
		}
		o.Events = strings.Fields(ids)
		list = append(list, o)
	}
	if err := rows.Err(); err != nil {
		l.tb.Fatal(err)
	}
	return list
}

// ids are those of the facts in the topic, with their types.
func (l *live) ids() map[string]string {
	l.tb.Helper()
	all := map[string]string{}
	for _, rec := range l.topic {
		e, err := wire.Head(rec)
		if err != nil {
			l.tb.Fatal(err)
		}
		all[e.ID] = e.Type
	}
	return all
}

// again translates what arrived from an offset on with another adapter, and compares.
func (l *live) again(a producer.Adapter, from int) *again.Fold {
	l.tb.Helper()
	f := l.fold(a)
	ctx := l.tb.Context()
	var left []string
	taken := slices.DeleteFunc(slices.Clone(l.raw[from:]), func(d again.Delivery) bool {
		if l.dead[d.ID] {
			left = append(left, d.ID)
		}
		return l.dead[d.ID]
	})
	if err := errors.Join(f.Leave(ctx, left), f.Take(ctx, taken), f.Finish(ctx)); err != nil {
		l.tb.Fatal(err)
	}
	if err := f.Known(ctx, l.outcomes()); err != nil {
		l.tb.Fatal(err)
	}
	if err := f.Compare(ctx, l.topic); err != nil {
		l.tb.Fatal(err)
	}
	return f
}

func (l *live) fold(a producer.Adapter) *again.Fold {
	l.tb.Helper()
	f, err := again.New(l.tb.Context(), again.Options{
		Group: group(l.tb, a), Codec: l.codec, Route: route, Dir: l.tb.TempDir(),
		Fits: func(string, *kgo.Record) error { return nil },
	})
	if err != nil {
		l.tb.Fatal(err)
	}
	l.tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			l.tb.Error(err)
		}
	})
	return f
}

func facts(tb testing.TB, f *again.Fold, states ...again.State) (list []again.Fact) {
	tb.Helper()
	err := f.Facts(tb.Context(), func(t again.Fact) error { list = append(list, t); return nil }, states...)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// types are those of some facts, sorted.
func types(list []again.Fact) []string {
	all := []string{}
	for _, t := range list {
		all = append(all, t.Type)
	}
	slices.Sort(all)
	return all
}

func missing(all, of map[string]string) []string {
	var list []string
	for _, id := range slices.Sorted(maps.Keys(of)) {
		if _, found := all[id]; !found {
			list = append(list, of[id]+" "+id)
		}
	}
	return list
}
