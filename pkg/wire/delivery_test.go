package wire_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
)

func delivery() wire.Delivery {
	return wire.Delivery{
		ID: "019cec13-177b-7000-8000-000000000001", Source: "shopify/uk", Kind: "orders/create", Key: "shopify/uk:5001",
		Origin: event.OriginWebhook, Header: http.Header{"X-Shopify-Topic": {"orders/create"}, "Content-Type": {"application/json; charset=utf-8"}, "X-Two": {"a", "ü \"%"}},
		Body: []byte("{\"id\": 5001}\x00\xff"), ReceivedAt: placedAt, Request: "req-1",
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

func TestDelivery_roundTrip(t *testing.T) {
	t.Parallel()
	d := delivery()
	rec := wire.EncodeDelivery(d)
	if rec.Topic != "raw.shopify" || string(rec.Key) != d.Key || string(rec.Value) != string(d.Body) {
		t.Errorf("topic %s, key %s, value %q", rec.Topic, rec.Key, rec.Value)
	}
	e, err := wire.Head(rec)
	if err != nil || e.Type != wire.DeliveryType || e.Entity != d.ID || e.Source != d.Source {
		t.Errorf("head %+v, %v", e, err)
	}
	rec.Offset = 42
	d.Offset = 42
	got, err := wire.DecodeDelivery(rec)
	if diff := cmp.Diff(d, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	var into wire.Delivery
	if err := wire.NewCodec(nil).Decode(t.Context(), rec, &into); err != nil || into.ID != d.ID {
		t.Errorf("through the codec: %+v, %v", into, err)
	}
	if got := wire.TraceOf(rec); got != (wire.Trace{Request: "req-1", Traceparent: d.Traceparent}) {
		t.Errorf("trace %+v", got)
	}
}

func TestDecodeDelivery_refuses(t *testing.T) {
	t.Parallel()
	for _, rec := range []func() error{
		func() error { _, err := wire.DecodeDelivery(head()); return err },
		func() error {
			rec := wire.EncodeDelivery(delivery())
			drop(rec, wire.HeaderID)
			_, err := wire.DecodeDelivery(rec)
			return err
		},
	} {
		var bad *wire.BadRecordError
		if err := rec(); !errors.As(err, &bad) {
			t.Errorf("got %v", err)
		}
	}
}
