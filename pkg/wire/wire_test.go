package wire_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
)

// registryURL is the registry that the tests run against: the real one where
// SPINE_TEST_REGISTRY says so, else one in this process.
func registryURL(tb testing.TB) string {
	tb.Helper()
	if url := os.Getenv("SPINE_TEST_REGISTRY"); url != "" {
		return url
	}
	fake := srfake.New()
	tb.Cleanup(fake.Close)
	return fake.URL()
}

func client(tb testing.TB, url string) *sr.Client {
	tb.Helper()
	c, err := sr.NewClient(sr.URLs(url), sr.HTTPClient(&http.Client{Timeout: 5 * time.Second}))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// register makes the schemas known and answers the id of the last.
func register(tb testing.TB, c *sr.Client, subject string, texts ...string) int {
	tb.Helper()
	id := 0
	for _, text := range texts {
		s, err := c.CreateSchema(tb.Context(), subject, sr.Schema{Schema: text, Type: sr.TypeAvro})
		if err != nil {
			tb.Fatalf("registering %s: %v", subject, err)
		}
		id = s.ID
	}
	return id
}

const placedSubject = "spine.order.OrderPlacedV2"

// newCodec is a codec whose registry knows order.placed.v2 and payment.received.v1.
func newCodec(tb testing.TB) (*wire.Codec, *sr.Client) {
	tb.Helper()
	c := client(tb, registryURL(tb))
	register(tb, c, placedSubject, order.PlacedV2{}.AvroSchema())
	register(tb, c, "spine.payment.PaymentReceivedV1", payment.ReceivedV1{}.AvroSchema())
	return wire.NewCodec(wire.NewRegistry(c)), c
}

func amount(tb testing.TB, s string) money.Decimal {
	tb.Helper()
	d, err := money.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

var placedAt = time.Date(2026, 3, 14, 11, 20, 0, 123456000, time.UTC)

// placed is a small order and the envelope that it is stamped with.
func placed(tb testing.TB) (event.Event, order.PlacedV2) {
	tb.Helper()
	fact := order.PlacedV2{
		OrderRef: common.Ref{System: "shopify", Instance: "uk", Object: "order", ID: "5001"}, OrderNumber: "ORD-2847",
		PlacedAt: placedAt, TimeZone: "Europe/London", SalesChannel: "web", Currency: "GBP", ShopCurrency: "GBP",
		Customer: order.PlacedV2Customer{IsGuest: true},
		Lines: []order.PlacedV2Line{{
			LineID: "1", SKU: "TS-01", Name: "T-shirt", Quantity: amount(tb, "2"), Unit: "each", UnitPrice: amount(tb, "24.50"),
			DiscountAmount: amount(tb, "6.45"), NetAmount: amount(tb, "42.55"), TaxAmount: amount(tb, "8.51"), RequiresShipping: true,
		}},
		TaxCompleteness: order.PlacedV2TaxCompletenessFull,
		PaymentTerms:    order.PlacedV2PaymentTerms{Status: order.PlacedV2PaymentStatusPaid},
		Extensions:      map[string]string{"gift": "yes"},
	}
	e, stamped, err := wire.Stamp(event.New{Fact: fact, Entity: "5001", At: placedAt}, wire.Cause{
		Source: "shopify/uk", Origin: event.OriginWebhook, RecordedAt: placedAt.Add(time.Second),
		Correlation: "order:shopify/uk:5001", Sequence: "00000000000000000017",
	})
	if err != nil {
		tb.Fatal(err)
	}
	out, ok := stamped.(order.PlacedV2)
	if !ok {
		tb.Fatalf("stamped is %T", stamped)
	}
	return e, out
}

func encode(tb testing.TB, c *wire.Codec) (*kgo.Record, event.Event, order.PlacedV2) {
	tb.Helper()
	e, fact := placed(tb)
	rec, err := c.Encode(tb.Context(), "commerce.order.events", e, fact)
	if err != nil {
		tb.Fatal(err)
	}
	return rec, e, fact
}

func TestCodec_roundTrip(t *testing.T) {
	t.Parallel()
	c, _ := newCodec(t)
	rec, e, fact := encode(t, c)

	got, err := wire.Head(rec)
	if err != nil {
		t.Fatal(err)
	}
	var data order.PlacedV2
	if err := c.Decode(t.Context(), rec, &data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fact, data); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	wire.Complete(&got, data.Meta)
	if diff := cmp.Diff(e, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("envelope (-want +got):\n%s", diff)
	}
	want := []string{
		"ce_specversion=1.0", "ce_id=" + e.ID, "ce_source=shopify/uk", "ce_type=order.placed.v2", "ce_time=2026-03-14T11:20:00.123456Z",
		"ce_subject=order/5001", "content-type=application/avro", "ce_correlationid=order:shopify/uk:5001",
		"ce_sequence=00000000000000000017", "spine_origin=WEBHOOK",
	}
	var headers []string
	for _, h := range rec.Headers {
		headers = append(headers, h.Key+"="+string(h.Value))
	}
	if diff := cmp.Diff(want, headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if rec.Topic != "commerce.order.events" || string(rec.Key) != "shopify/uk:5001" || rec.Value[0] != 0 {
		t.Errorf("topic %s, key %s, magic %d", rec.Topic, rec.Key, rec.Value[0])
	}
}
