package shopify_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/pkg/wire/avrobin"
	"github.com/eventspine/spine/producers/shopify"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/refund"
)

// book translates deliveries as the engine does: the last snapshot and its version
// per order, older ones skipped.
type book struct {
	adapter producer.Adapter
	last    map[string]kept
	bytes   map[string][]byte         // of each fact, by its id
	count   map[string]map[string]int // facts per order and type
}

type kept struct {
	native  any
	version producer.Version
}

// newer orders versions: source, terminal, clock.
func newer(a, b producer.Version) bool {
	switch {
	case !a.Source.Equal(b.Source):
		return a.Source.After(b.Source)
	case a.Terminal != b.Terminal:
		return a.Terminal
	}
	return !a.Clock.Before(b.Clock)
}

func (b *book) translate(t *testing.T, d producer.Delivery) ([]event.New, error) {
	t.Helper()
	for _, o := range b.adapter.Objects {
		if !slices.Contains(o.Kinds, d.Kind) {
			continue
		}
		native, err := o.Decode(d.Body)
		if err != nil || !o.Snapshot {
			if err != nil {
				return nil, err
			}
			return o.Facts(d, nil, native)
		}
		key := d.Instance.String() + ":" + o.ID(native)
		if d.Key != o.ID(native) {
			t.Errorf("%s has the record key %q, its order is %s", d.Kind, d.Key, key)
		}
		before, seen := b.last[key]
		version := o.Version(d, native)
		if seen && !newer(version, before.version) {
			return nil, nil
		}
		got, err := o.Facts(d, before.native, native)
		if err == nil {
			b.last[key] = kept{native, version}
		}
		return got, err
	}
	return nil, nil
}

// keep stamps and encodes a fact and sees that one id has one content. Content that
// a later snapshot gives is not published: there the state row says it was told.
func (b *book) keep(t *testing.T, in event.Instance, n event.New) {
	t.Helper()
	e, fact, err := wire.Stamp(n, wire.Cause{
		Source: in.String(), Origin: event.OriginWebhook, IDTime: b.adapter.IDTime, RecordedAt: time.Unix(1_800_000_000, 0), Correlation: "order:" + in.String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := avrobin.NewWriter()
	encoder, ok := fact.(interface{ EncodeAvro(*avrobin.Writer) })
	if !ok {
		t.Fatalf("%T is not encoded", fact)
	}
	encoder.EncodeAvro(w)
	content, err := w.Finish()
	if err != nil {
		t.Errorf("encoding %s: %v", e.Type, err)
	}
	if old, found := b.bytes[e.ID]; found && !bytes.Equal(old, content) {
		t.Errorf("%s %s of %s has two contents", e.Type, e.ID, e.Key)
	}
	if _, found := b.bytes[e.ID]; !found {
		if b.count[e.Key] == nil {
			b.count[e.Key] = map[string]int{}
		}
		b.count[e.Key][e.Type]++
	}
	b.bytes[e.ID] = bytes.Clone(content)
}

// broken are the notes of the calls that translate must refuse.
func broken(note string) bool {
	return note == "malformed body" || note == "wrong types" || note == "totals do not add up"
}

// A whole day goes through the adapter: every delivery that is sound is understood,
// every order is placed once and cancelled at most once, every sum holds, and all
// of it can be encoded.
func TestDay_isUnderstood(t *testing.T) {
	t.Parallel()
	a := shopify.Adapter()
	var shops []producer.Shop
	instances := map[string]event.Instance{}
	for _, in := range a.Day.Instances {
		shops = append(shops, producer.Shop{Instance: in, Secret: []byte("secret of " + in.Name)})
		instances[in.String()] = in
	}
	b := &book{adapter: a, last: map[string]kept{}, bytes: map[string][]byte{}, count: map[string]map[string]int{}}
	orders, currencies, stocked := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for call := range a.Day.Calls(11, 700, shops) {
		in, hook := instances[call.Instance], a.Webhooks[0]
		err := hook.Verify(producer.Request{Instance: in, Secrets: [][]byte{[]byte("secret of " + in.Name)}, Header: call.Header, Body: call.Body})
		if refused := errors.Is(err, producer.ErrSignature); refused != (call.Expect == http.StatusUnauthorized) {
			t.Fatalf("%s: %v, expects %d", call.Note, err, call.Expect)
		}
		if err != nil {
			continue
		}
		kind := hook.Kind(call.Header, call.Body)
		d := producer.Delivery{Kind: kind, Key: hook.Key(kind, call.Header, call.Body), Instance: in, Header: call.Header, Body: call.Body}
		got, err := b.translate(t, d)
		if (err != nil) != broken(call.Note) {
			t.Errorf("%s, %q: %v\n%s", kind, call.Note, err, call.Body)
		}
		if strings.HasPrefix(call.Note, "no fact") && len(got) > 0 {
			t.Errorf("%s, %q: facts %v", kind, call.Note, types(got))
		}
		if err == nil && strings.HasPrefix(kind, "orders/") {
			orders[event.Key(in.String(), d.Key)] = true
		}
		for _, n := range got {
			b.keep(t, in, n)
			look(t, n.Fact, currencies, stocked)
		}
	}
	for key := range orders {
		if n := b.count[key]; n["order.placed.v2"] != 1 || n["order.cancelled.v1"] > 1 {
			t.Errorf("order %s: facts %v", key, n)
		}
	}
	if len(currencies) < 5 {
		t.Errorf("currencies %v, want five and more", currencies)
	}
	for sku := range stocked {
		if !slices.Contains(a.Day.SKUs, sku) {
			t.Errorf("%s asks for stock and is not among the SKUs of the day", sku)
		}
	}
	if len(stocked) < len(a.Day.SKUs)-1 {
		t.Errorf("%d SKUs are sold of %d", len(stocked), len(a.Day.SKUs))
	}
}

// look checks what must hold inside a fact.
func look(t *testing.T, fact event.Fact, currencies, stocked map[string]bool) {
	t.Helper()
	switch f := fact.(type) {
	case order.PlacedV2:
		currencies[f.Currency] = true
		goods, tips := money.Decimal{}, money.Decimal{}
		for _, l := range f.Lines {
			if l.StockTracked {
				stocked[l.SKU] = true
			}
			if l.IsTip {
				tips = tips.Add(l.UnitPrice.Mul(l.Quantity))
			} else {
				goods = goods.Add(l.UnitPrice.Mul(l.Quantity))
			}
		}
		if !goods.Equal(f.Totals.Merchandise) || !tips.Equal(f.Totals.Tips) {
			t.Errorf("order %s: lines %s, tips %s, totals %+v", f.OrderNumber, goods, tips, f.Totals)
		}
		net := money.Sum(f.Totals.Tax, f.Totals.Tips.Neg())
		for _, l := range f.Lines {
			net = net.Add(l.NetAmount)
		}
		for _, l := range f.ShippingLines {
			net = net.Add(l.NetAmount)
		}
		if want := money.Sum(f.Totals.GrandTotal, f.Totals.Duties.Neg(), f.Totals.Fees.Neg(), f.Totals.Tips.Neg()); !net.Equal(want) {
			t.Errorf("order %s: nets and taxes are %s, want %s", f.OrderNumber, net, want)
		}
	case refund.IssuedV1:
		sum := money.Sum(f.ShippingAmount, f.ShippingTax)
		for _, l := range f.Lines {
			sum = money.Sum(sum, l.NetAmount, l.TaxAmount)
		}
		for _, a := range f.Adjustments {
			sum = money.Sum(sum, a.Amount, a.TaxAmount)
		}
		if !sum.Equal(f.Amount) {
			t.Errorf("refund %s: parts %s, amount %s", f.RefundID, sum, f.Amount)
		}
	}
}

func TestAdapter_check(t *testing.T) {
	t.Parallel()
	if err := shopify.Adapter().Check(); err != nil {
		t.Error(err)
	}
}
