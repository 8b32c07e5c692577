package producer_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
)

type placed struct{}

func (placed) EventType() string { return "order.placed.v2" }

type placedOld struct{}

func (placedOld) EventType() string { return "order.placed.v1" }

type paid struct{}

func (paid) EventType() string { return "payment.received.v1" }

type nameless struct{}

func (nameless) EventType() string { return "OrderPlaced" }

func snapshot[N any](name, kinds string, emits ...event.Fact) producer.Object {
	return producer.Snapshot(name, kinds, func(N) string { return "" }, func(producer.Delivery, N) producer.Version { return producer.Version{} },
		func(producer.Delivery, *N, N) ([]event.New, error) { return nil, nil }, emits...)
}

func report[N any](kinds string, emits ...event.Fact) producer.Object {
	return producer.Report(kinds, func(producer.Delivery, N) ([]event.New, error) { return nil, nil }, emits...)
}

func TestAdapter_Check(t *testing.T) {
	t.Parallel()
	hook := func(change func(*producer.Webhook)) []producer.Webhook {
		w := producer.Webhook{Verify: producer.HMACSHA256("X-Sig", producer.Base64), Kind: producer.Header("X-Topic"), Keep: []string{"X-Topic"}}
		change(&w)
		return []producer.Webhook{w}
	}
	same := func(*producer.Webhook) {}
	for want, a := range map[string]producer.Adapter{
		"": {System: "shop", Webhooks: hook(same), Objects: []producer.Object{
			snapshot[order]("order", "orders/create orders/updated", placed{}), report[line]("payments/create", paid{}),
		}},
		"want the name of its folder":       {System: "Shop"},
		"IDTime: want a precision":          {System: "shop", IDTime: -1},
		"Webhooks: want at most one":        {System: "shop", Webhooks: append(hook(same), hook(same)...)},
		"Verify: want a check":              {System: "shop", Webhooks: hook(func(w *producer.Webhook) { w.Verify = nil })},
		"Kind: want a look":                 {System: "shop", Webhooks: hook(func(w *producer.Webhook) { w.Kind = nil })},
		"Keep: Cookie may carry":            {System: "shop", Webhooks: hook(func(w *producer.Webhook) { w.Keep = []string{"Cookie"} })},
		"Answer: status 302":                {System: "shop", Webhooks: hook(func(w *producer.Webhook) { w.Answer.Status = http.StatusFound })},
		`object "": want kinds`:             {System: "shop", Objects: []producer.Object{{}}},
		"kind a: belongs to two":            {System: "shop", Objects: []producer.Object{report[line]("a"), report[line]("a")}},
		`object "order" of [b]: want`:       {System: "shop", Objects: []producer.Object{snapshot[line]("order", "a"), snapshot[line]("order", "b")}},
		`object "" of [a]: want`:            {System: "shop", Objects: []producer.Object{snapshot[line]("", "a")}},
		"report of [a b]: want one":         {System: "shop", Objects: []producer.Object{report[line]("a b", paid{})}},
		"fact order.placed.v1: emitted":     {System: "shop", Objects: []producer.Object{report[line]("a", placed{}), report[line]("b", placedOld{})}},
		"emits of [a]: fact name":           {System: "shop", Objects: []producer.Object{report[line]("a", nameless{})}},
		"float32: not a type to decode":     {System: "shop", Objects: []producer.Object{report[struct{ F float32 }]("a")}},
		"fact payment.received.v1: emitted": {System: "shop", Objects: []producer.Object{snapshot[line]("x", "a", paid{}), report[line]("b", paid{})}},
	} {
		err := a.Check()
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A stored body is read by today's struct, though nothing was required of it then.
func TestObject_DecodeStored(t *testing.T) {
	t.Parallel()
	for _, o := range []producer.Object{snapshot[order]("order", "a"), report[order]("a")} {
		if _, err := o.Decode([]byte(`{"name":"x"}`)); err == nil {
			t.Error("an incoming body without its required field is accepted")
		}
		got, err := o.DecodeStored([]byte(`{"name":"x","lines":[{"price":"1"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if stored, ok := got.(*order); !ok || stored.Name != "x" || stored.Lines[0].Price != "1" {
			t.Errorf("got %+v", got)
		}
		if _, err := o.DecodeStored([]byte(`{"name":5}`)); err == nil {
			t.Error("a stored body of another type is accepted")
		}
	}
}
