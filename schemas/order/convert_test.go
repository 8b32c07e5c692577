package order_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hamba/avro/v2"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/wire/avrobin"
	"github.com/eventspine/spine/pkg/wire/avrojson"
	"github.com/eventspine/spine/schemas/order"
)

var update = flag.Bool("update", false, "write the golden samples")

var uk = event.Instance{System: "shopify", Name: "uk", BaseCurrency: "GBP", TimeZone: "Europe/London"}

func known() order.PlacedV1 {
	at := time.Date(2026, 3, 14, 11, 20, 0, 0, time.UTC)
	return order.PlacedV1{
		Meta: event.Meta{
			EventID: event.NewID(at, "shopify/uk", "order.placed", "5001", ""), OccurredAt: at, RecordedAt: at.Add(time.Second),
			SourceSystem: "shopify", SourceInstance: "uk", SourceObject: "order", SourceID: "5001",
			CorrelationID: "order:shopify/uk:5001", Origin: event.OriginBackfill,
		},
		OrderID: "5001", CustomerID: "391", Total: 45.08, Timestamp: "2026-03-14T11:20:00Z",
		Items: []order.PlacedV1Item{{SKU: "A", Quantity: 2, Price: 19.99}, {SKU: "B", Quantity: 1, Price: 5.1}},
	}
}

func upcast(t *testing.T, v1 order.PlacedV1, in event.Instance) order.PlacedV2 {
	t.Helper()
	up := order.PlacedV2{}.Upcasts()[0]
	old := up.New()
	*old.(*order.PlacedV1) = v1 //nolint:forcetypeassert // a panic is a failure here
	fact, err := up.Convert(old, in)
	if err != nil {
		t.Fatal(err)
	}
	v2, isV2 := fact.(order.PlacedV2)
	if !isV2 || up.From != "order.placed.v1" {
		t.Fatalf("from %s: %T", up.From, fact)
	}
	return v2
}

// The known answer: a v1 order of two lines in the shop's base currency.
func TestUpcast_knownAnswer(t *testing.T) {
	t.Parallel()
	v2 := upcast(t, known(), uk)
	got := []any{
		v2.Currency, v2.Lines[0].LineID, v2.Lines[0].NetAmount.Text(4), v2.Lines[1].LineID, v2.Lines[1].NetAmount.Text(4),
		v2.Totals.GrandTotal.Text(4), v2.Totals.Rounding.IsZero(), v2.PlacedAt.UnixMicro(), v2.Meta.EventID, string(v2.TaxCompleteness),
		*v2.Meta.UpcastFrom, v2.OrderRef.System + "/" + v2.OrderRef.Instance + ":" + v2.OrderRef.ID, v2.Customer.Ref.ID, len(v2.Extensions),
	}
	want := []any{
		"GBP", "5001/1", "39.9800", "5001/2", "5.1000", "45.0800", true, int64(1773487200000000), known().Meta.EventID, "UPCAST_PARTIAL",
		"order.placed.v1", "shopify/uk:5001", "391", 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	dearer := known()
	dearer.Total = 49.03
	if v2 := upcast(t, dearer, uk); v2.Extensions["upcast_unexplained"] != "3.95" || !v2.Totals.Shipping.IsZero() || !v2.Totals.Rounding.IsZero() {
		t.Errorf("unexplained: %v, shipping %s, rounding %s", v2.Extensions, v2.Totals.Shipping, v2.Totals.Rounding)
	}
	shipping := uk
	shipping.V1Shipping = true
	if v2 := upcast(t, dearer, shipping); v2.Totals.Shipping.String() != "3.95" || len(v2.Extensions) != 0 {
		t.Errorf("shipping %s, %v", v2.Totals.Shipping, v2.Extensions)
	}
	cent := known()
	cent.Total = 45.1
	if v2 := upcast(t, cent, uk); v2.Totals.Rounding.String() != "0.02" || len(v2.Extensions) != 0 {
		t.Errorf("rounding %s, %v", v2.Totals.Rounding, v2.Extensions)
	}
	cheaper := known()
	cheaper.Total = 40
	if v2 := upcast(t, cheaper, shipping); v2.Extensions["upcast_unexplained"] != "-5.08" || !v2.Totals.Shipping.IsZero() {
		t.Errorf("%v, shipping %s", v2.Extensions, v2.Totals.Shipping)
	}
}

func TestUpcast_refuses(t *testing.T) {
	t.Parallel()
	change := func(f func(*order.PlacedV1)) order.PlacedV1 { v1 := known(); f(&v1); return v1 }
	noCurrency := uk
	noCurrency.BaseCurrency = ""
	for name, c := range map[string]struct {
		v1   order.PlacedV1
		in   event.Instance
		code string
	}{
		"price NaN":      {change(func(v *order.PlacedV1) { v.Items[0].Price = math.NaN() }), uk, order.CodeUpcastMoney},
		"total infinite": {change(func(v *order.PlacedV1) { v.Total = math.Inf(1) }), uk, order.CodeUpcastMoney},
		"price too big":  {change(func(v *order.PlacedV1) { v.Items[0].Price = 1e14 }), uk, order.CodeUpcastMoney},
		"line too big":   {change(func(v *order.PlacedV1) { v.Items[0].Price = 9e12; v.Items[0].Quantity = 1e9 }), uk, order.CodeUpcastMoney},
		"no currency":    {known(), noCurrency, order.CodeUpcastCurrency},
		"no time":        {change(func(v *order.PlacedV1) { v.Timestamp = "yesterday" }), uk, order.CodeUpcastTime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := order.UpcastPlacedV1(c.v1, c.in)
			var refused *order.UpcastError
			if !errors.As(err, &refused) || refused.Code() != c.code {
				t.Errorf("%v, want %s", err, c.code)
			}
		})
	}
}

func TestDowncast_knownAnswers(t *testing.T) {
	t.Parallel()
	change := func(f func(*order.PlacedV2)) order.PlacedV2 { v2 := upcast(t, known(), uk); f(&v2); return v2 }
	dec := func(s string) money.Decimal {
		d, err := money.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for name, v2 := range map[string]order.PlacedV2{
		"currency":            change(func(v *order.PlacedV2) { v.Currency = "EUR" }),
		"lines[0].quantity":   change(func(v *order.PlacedV2) { v.Lines[0].Quantity = dec("1.5") }),
		"lines[1].quantity":   change(func(v *order.PlacedV2) { v.Lines[1].Quantity = dec("2147483648") }),
		"totals.grand_total":  change(func(v *order.PlacedV2) { v.Totals.GrandTotal = dec("999999999999999.9999") }),
		"lines[1].unit_price": change(func(v *order.PlacedV2) { v.Lines[1].UnitPrice = dec("1234567890123.123457") }),
	} {
		_, err := order.DowncastPlacedV2(v2, uk)
		var refused *order.UnrepresentableError
		if !errors.As(err, &refused) || refused.Field != name || refused.Code() != "UNREPRESENTABLE" {
			t.Errorf("%s: %v", name, err)
		}
	}
	v1, err := order.DowncastPlacedV2(change(func(v *order.PlacedV2) {
		v.Lines[0].UnitPrice, v.Lines[0].Quantity = dec("0.0035"), dec("100")
	}), uk)
	if err != nil || v1.Items[0].Price != 0.0035 || v1.Items[0].Quantity != 100 {
		t.Errorf("%+v, %v", v1.Items, err)
	}
}

// First law: down after up is the identity on every v1 that up accepts.
func TestLaw_downAfterUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v1 := anyV1(t)
		in := uk
		in.V1Shipping = rapid.Bool().Draw(t, "v1 shipping")
		in.BaseCurrency = rapid.SampledFrom([]string{"GBP", "JPY", "KWD"}).Draw(t, "currency")
		v2, err := order.UpcastPlacedV1(v1, in)
		if err != nil {
			t.Fatalf("up: %v", err)
		}
		back, err := order.DowncastPlacedV2(v2, in)
		if err != nil {
			t.Fatalf("down: %v", err)
		}
		if diff := cmp.Diff(v1, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Second law: up after down keeps order id, sku, quantity, unit price, grand total
// and time of every v2 that down accepts.
func TestLaw_upAfterDown(t *testing.T) {
	t.Parallel()
	type kept struct {
		ID, Total string
		Lines     [][3]string
		At        time.Time
	}
	look := func(v2 order.PlacedV2) kept {
		k := kept{ID: v2.OrderRef.ID, Total: v2.Totals.GrandTotal.Text(4), At: v2.PlacedAt}
		for _, l := range v2.Lines {
			k.Lines = append(k.Lines, [3]string{l.SKU, l.Quantity.Text(4), l.UnitPrice.Text(6)})
		}
		return k
	}
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		v2 := anyV2(t)
		v1, err := order.DowncastPlacedV2(v2, uk)
		var refused *order.UnrepresentableError
		if errors.As(err, &refused) {
			return
		}
		if err != nil {
			t.Fatalf("down: %v", err)
		}
		back, err := order.UpcastPlacedV1(v1, uk)
		var tooBig *order.UpcastError
		if errors.As(err, &tooBig) && tooBig.Code() == order.CodeUpcastMoney {
			return // quantity times price passes what v2 holds: the v2 was none
		}
		if err != nil {
			t.Fatalf("up: %v", err)
		}
		accepted++
		if diff := cmp.Diff(look(v2), look(back)); diff != "" {
			t.Fatal(diff)
		}
	})
	if accepted == 0 {
		t.Error("no v2 was accepted: the law was not tried")
	}
}

func anyV1(t *rapid.T) order.PlacedV1 {
	v1 := known()
	amount := rapid.OneOf(
		rapid.Map(rapid.IntRange(-1_000_000, 1_000_000), func(cents int) float64 { return float64(cents) / 100 }),
		rapid.Float64Range(-100_000, 100_000),
		rapid.SampledFrom([]float64{0, 0.1 + 0.2, 1e-9, 0.0035, 1_000_000_000.01}),
	)
	v1.OrderID = rapid.StringMatching(`[0-9A-Za-z-]{0,12}`).Draw(t, "order")
	v1.CustomerID = rapid.StringMatching(`[0-9]{0,8}`).Draw(t, "customer")
	v1.Total = amount.Draw(t, "total")
	v1.Items = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) order.PlacedV1Item {
		return order.PlacedV1Item{
			SKU: rapid.String().Draw(t, "sku"), Quantity: rapid.Int32Range(-5, 100_000).Draw(t, "quantity"), Price: amount.Draw(t, "price"),
		}
	}), 0, 5).Draw(t, "items")
	zone := time.FixedZone("", rapid.SampledFrom([]int{0, 2 * 3600, -12600}).Draw(t, "offset"))
	v1.Timestamp = time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "micros")).In(zone).Format(rapid.SampledFrom([]string{
		time.RFC3339, time.RFC3339Nano, "2006-01-02T15:04:05.000000000Z07:00", "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05",
	}).Draw(t, "layout"))
	return v1
}

func anyV2(t *rapid.T) order.PlacedV2 {
	v2, err := order.UpcastPlacedV1(known(), uk)
	if err != nil {
		t.Fatal(err)
	}
	decimal := func(scale int, name string) money.Decimal {
		limit := rapid.SampledFrom([]int64{1e3, 1e9, 1e15, math.MaxInt64}).Draw(t, "limit")
		return money.FromUnits(rapid.Int64Range(-limit, limit).Draw(t, name), scale)
	}
	v2.OrderRef.ID = rapid.StringMatching(`[0-9]{1,12}`).Draw(t, "order")
	v2.PlacedAt = time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "micros")).UTC()
	v2.Totals.GrandTotal = decimal(4, "total")
	v2.Extensions = rapid.MapOf(rapid.SampledFrom([]string{"upcast_v1_total", "upcast_v1_timestamp", "upcast_v1_price/L1"}),
		rapid.SampledFrom([]string{"1", "0.1", "x", "2026-03-14T11:20:00+01:00"})).Draw(t, "extensions")
	v2.Lines = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) order.PlacedV2Line {
		quantity := money.FromUnits(rapid.Int64Range(1, 1000).Draw(t, "quantity"), 0)
		if rapid.IntRange(0, 9).Draw(t, "fraction") == 0 {
			quantity = quantity.Add(money.FromUnits(5, 1))
		}
		return order.PlacedV2Line{LineID: "L1", SKU: rapid.String().Draw(t, "sku"), Quantity: quantity, UnitPrice: decimal(6, "price")}
	}), 1, 4).Draw(t, "lines")
	return v2
}

// The golden samples: an event of each major, the second made from the first.
func TestSamples(t *testing.T) {
	t.Parallel()
	v1 := known()
	golden(t, "placed.v1.json", v1.AvroSchema(), v1.EncodeAvro)
	v2 := upcast(t, v1, uk)
	golden(t, "placed.v2.json", v2.AvroSchema(), v2.EncodeAvro)
}

func golden(t *testing.T, file, text string, encode func(*avrobin.Writer)) {
	t.Helper()
	w := avrobin.NewWriter()
	w.Reset()
	encode(w)
	data, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := avro.ParseBytesWithCache([]byte(text), "", &avro.SchemaCache{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := avrojson.Record(schema, data, true)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
