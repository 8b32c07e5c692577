package wire_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/pkg/wire/avrobin"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
)

func TestEncode_refuses(t *testing.T) {
	t.Parallel()
	c, _ := newCodec(t)
	for name, change := range map[string]func(e *event.Event, f *order.PlacedV2){
		"another type":          func(e *event.Event, _ *order.PlacedV2) { e.Type = "order.placed.v1" },
		"another id":            func(_ *event.Event, f *order.PlacedV2) { f.Meta.EventID = "019cec13-177b-835c-af42-62fc597f21c8" },
		"another time":          func(e *event.Event, _ *order.PlacedV2) { e.OccurredAt = e.OccurredAt.Add(1000) },
		"half a microsecond":    func(e *event.Event, _ *order.PlacedV2) { e.OccurredAt = e.OccurredAt.Add(500) },
		"another receipt":       func(e *event.Event, _ *order.PlacedV2) { e.RecordedAt = e.RecordedAt.Add(1000) },
		"another source":        func(_ *event.Event, f *order.PlacedV2) { f.Meta.SourceInstance = "us" },
		"another entity":        func(e *event.Event, _ *order.PlacedV2) { e.Entity = "5002" },
		"another object":        func(_ *event.Event, f *order.PlacedV2) { f.Meta.SourceObject = "invoice" },
		"another root":          func(e *event.Event, _ *order.PlacedV2) { e.CorrelationID = "order:shopify/uk:1" },
		"another cause":         func(e *event.Event, _ *order.PlacedV2) { e.CausationID = "x" },
		"another origin":        func(e *event.Event, _ *order.PlacedV2) { e.Origin = event.OriginPoll },
		"a test, and not":       func(e *event.Event, _ *order.PlacedV2) { e.Test = true },
		"no key":                func(e *event.Event, _ *order.PlacedV2) { e.Key = "" },
		"a key that is no text": func(e *event.Event, _ *order.PlacedV2) { e.Key = "\xff" },
		"an inexact amount":     func(_ *event.Event, f *order.PlacedV2) { f.Lines[0].NetAmount = amount(t, "0.00001") },
		"an enum not set":       func(_ *event.Event, f *order.PlacedV2) { f.TaxCompleteness = "" },
		"text that is not text": func(_ *event.Event, f *order.PlacedV2) { f.OrderNumber = "\xff" },
	} {
		e, fact := placed(t)
		change(&e, &fact)
		rec, err := c.Encode(t.Context(), "t", e, fact)
		var bad *wire.BadRecordError
		if err == nil || errors.As(err, &bad) {
			t.Errorf("%s: %v, %v", name, rec != nil, err)
		}
	}
	e, fact := placed(t)
	long := strings.Repeat("x", wire.MaxRecord)
	fact.Notes = &long
	_, err := c.Encode(t.Context(), "t", e, fact)
	if !errors.Is(err, wire.ErrTooLarge) || !strings.Contains(err.Error(), "bytes, at most 1048576") {
		t.Errorf("a record of more than 1 MiB: %v", err)
	}
}

// A record that is not ours is a bad record with the code of what is wrong, never a
// value.
func TestDecode_badRecords(t *testing.T) {
	t.Parallel()
	c, registry := newCodec(t)
	good, e, _ := encode(t, c)
	id := binary.BigEndian.Uint32(good.Value[1:])
	paymentID := register(t, registry, "spine.payment.PaymentReceivedV1", payment.ReceivedV1{}.AvroSchema())
	scaled := strings.ReplaceAll(order.PlacedV2{}.AvroSchema(), `"precision":19,"scale":6`, `"precision":19,"scale":2`)
	scaledID := register(t, registry, "spine.test."+fmt.Sprint(id), scaled)
	frame := func(id int, payload []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), payload...)
	}
	value := func(v []byte) func(*kgo.Record) { return func(r *kgo.Record) { r.Value = v } }
	for name, c2 := range map[string]struct {
		code   string
		change func(*kgo.Record)
	}{
		"no value":            {wire.BadFrame, value(nil)},
		"four bytes":          {wire.BadFrame, value(good.Value[:4])},
		"JSON":                {wire.BadFrame, value([]byte(`{"order":1}`))},
		"magic 1":             {wire.BadFrame, value(append([]byte{1}, good.Value[1:]...))},
		"id of 32 bits":       {wire.BadFrame, value(frame(-1, good.Value[5:]))},
		"2 MiB":               {wire.BadFrame, value(append(good.Value[:5:5], make([]byte, 2<<20)...))},
		"unknown id":          {wire.BadSchema, value(frame(1<<31-2, good.Value[5:]))},
		"schema of a payment": {wire.BadType, value(frame(paymentID, good.Value[5:]))},
		"another scale":       {wire.BadType, value(frame(scaledID, good.Value[5:]))},
		"another type":        {wire.BadType, func(r *kgo.Record) { set(r, "ce_type", "order.placed.v1") }},
		"no payload":          {wire.BadPayload, value(good.Value[:5])},
		"cut":                 {wire.BadPayload, value(good.Value[:len(good.Value)-1])},
		"left over":           {wire.BadPayload, value(append(good.Value[:len(good.Value):len(good.Value)], 0))},
		"another id":          {wire.BadIdentity, func(r *kgo.Record) { set(r, "ce_id", "019cec13-177b-835c-af42-62fc597f21c8") }},
		"no id":               {wire.BadIdentity, func(r *kgo.Record) { drop(r, "ce_id") }},
		"another source":      {wire.BadIdentity, func(r *kgo.Record) { set(r, "ce_source", "shopify/us") }},
		"another subject":     {wire.BadIdentity, func(r *kgo.Record) { set(r, "ce_subject", "order/5002") }},
		"another time":        {wire.BadIdentity, func(r *kgo.Record) { set(r, "ce_time", "2026-03-14T11:20:00.123457Z") }},
		"another correlation": {wire.BadIdentity, func(r *kgo.Record) { set(r, "ce_correlationid", "order:shopify/uk:50010") }},
		"another cause":       {wire.BadIdentity, func(r *kgo.Record) { set(r, "ce_causationid", e.ID) }},
		"another origin":      {wire.BadIdentity, func(r *kgo.Record) { set(r, "spine_origin", "CDC") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := *good
			c2.change(&rec)
			var out order.PlacedV2
			err := c.Decode(t.Context(), &rec, &out)
			var bad *wire.BadRecordError
			if !errors.As(err, &bad) || bad.Code != c2.code || errors.Is(err, wire.ErrRegistryUnavailable) {
				t.Errorf("got %v, want %s", err, c2.code)
			}
		})
	}
	if err := c.Decode(t.Context(), good, &struct{}{}); err == nil {
		t.Error("decoding into any struct")
	}
}

// A registry that is away, or an address that is not a registry, is never poison; when
// it is back, the same codec goes on.
func TestCodec_registryAway(t *testing.T) {
	t.Parallel()
	url := registryURL(t)
	good, e, fact := encode(t, func() *wire.Codec {
		c := client(t, url)
		register(t, c, placedSubject, order.PlacedV2{}.AvroSchema())
		return wire.NewCodec(wire.NewRegistry(c))
	}())
	for name, answer := range map[string]http.HandlerFunc{
		"503": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) },
		"401": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error_code":401,"message":"no"}`, http.StatusUnauthorized)
		},
		"404 of nginx": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusNotFound) },
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"hangs up":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var away atomic.Bool
			away.Store(true)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if away.Load() {
					answer(w, r)
					return
				}
				http.Redirect(w, r, url+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			}))
			t.Cleanup(server.Close)
			c := wire.NewCodec(wire.NewRegistry(client(t, server.URL)))
			var out order.PlacedV2
			var bad *wire.BadRecordError
			_, encodeErr := c.Encode(t.Context(), "t", e, fact)
			_, genericErr := c.Generic(t.Context(), good, false)
			for what, err := range map[string]error{"decode": c.Decode(t.Context(), good, &out), "encode": encodeErr, "generic": genericErr} {
				if !errors.Is(err, wire.ErrRegistryUnavailable) || errors.As(err, &bad) {
					t.Errorf("%s: %v", what, err)
				}
			}
			away.Store(false)
			if err := c.Decode(t.Context(), good, &out); err != nil {
				t.Errorf("after it is back: %v", err)
			}
			if _, err := c.Encode(t.Context(), "t", e, fact); err != nil {
				t.Errorf("after it is back: %v", err)
			}
		})
	}
}

// A schema that nobody registered is no fault of the fact: it waits.
func TestEncode_notRegistered(t *testing.T) {
	t.Parallel()
	fake := countingRegistry(t)
	c := wire.NewCodec(wire.NewRegistry(client(t, fake.URL)))
	e, fact := placed(t)
	for range 3 {
		_, err := c.Encode(t.Context(), "t", e, fact)
		if !errors.Is(err, wire.ErrNotRegistered) || !errors.Is(err, wire.ErrRegistryUnavailable) {
			t.Fatalf("got %v", err)
		}
	}
	if n := fake.calls.Load(); n != 1 {
		t.Errorf("%d calls, want 1: what is missing is remembered for a while", n)
	}
}

// counting is a registry that knows nothing and counts.
type counting struct {
	*httptest.Server
	calls atomic.Int64
}

func countingRegistry(t *testing.T) *counting {
	t.Helper()
	c := &counting{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.calls.Add(1)
		w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error_code":40403,"message":"Schema not found"}`))
	}))
	t.Cleanup(c.Close)
	return c
}

// Many records of one unknown schema ask the registry once, also at the same time.
func TestDecode_asksOnce(t *testing.T) {
	t.Parallel()
	fake := countingRegistry(t)
	c := wire.NewCodec(wire.NewRegistry(client(t, fake.URL)))
	rec := head()
	rec.Value = []byte{0, 0, 0, 0, 7, 0}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			var out order.PlacedV2
			var bad *wire.BadRecordError
			if err := c.Decode(context.Background(), rec, &out); !errors.As(err, &bad) || bad.Code != wire.BadSchema {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if n := fake.calls.Load(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// Who gives up says so, and is no poison.
func TestDecode_cancelled(t *testing.T) {
	t.Parallel()
	c, _ := newCodec(t)
	rec, _, _ := encode(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out order.PlacedV2
	other := wire.NewCodec(wire.NewRegistry(client(t, "http://192.0.2.1:1")))
	err := other.Decode(ctx, rec, &out)
	var bad *wire.BadRecordError
	if !errors.Is(err, context.Canceled) || errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
}

// Records of another revision of the major are read by plan.
func TestDecode_otherRevision(t *testing.T) {
	t.Parallel()
	c, registry := newCodec(t)
	rec, _, fact := encode(t, c)
	// The same bytes under a schema whose text differs, and whose last field is new.
	text := order.PlacedV2{}.AvroSchema()
	newer := text[:strings.LastIndex(text, "]")] + `,{"name":"extra","type":"string","default":"","doc":"New in this revision.","pii":"none"}]}`
	id := register(t, registry, placedSubject, newer)
	rec.Value = append(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), rec.Value[5:]...), "\x06new"...)
	var out order.PlacedV2
	if err := c.Decode(t.Context(), rec, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fact, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGeneric(t *testing.T) {
	t.Parallel()
	c, _ := newCodec(t)
	rec, e, _ := encode(t, c)
	got, err := c.Generic(t.Context(), rec, false)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != placedSubject || got.SchemaID == 0 {
		t.Errorf("got %s, %d", got.Subject, got.SchemaID)
	}
	text := string(got.Data)
	for _, want := range []string{
		`{"meta":{"event_id":"` + e.ID + `","occurred_at":"2026-03-14T11:20:00.123456Z"`, `"unit_price":"24.500000"`, `"net_amount":"42.5500"`,
		`"customer":"***"`, `"billing_address":"***"`, `"extensions":{"gift":"yes"}}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	open, err := c.Generic(t.Context(), rec, true)
	if err != nil || !strings.Contains(string(open.Data), `"customer":{"ref":null`) {
		t.Errorf("unmasked: %s, %v", open.Data, err)
	}
}

// The Java client's partitioner puts these keys where ours does.
func TestKey_partitions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key        string
		partitions int
		want       int
	}{
		{"shopify/uk:5001", 12, 3},
		{"shopify/uk:5001", 6, 3},
		{"shopify/us:5001", 12, 0},
		{"shopify/eu:5001", 12, 5},
		{"ORD-2847", 12, 2},
		{"hubspot/main:9812345", 12, 11},
		{"hubspot/main:9812345", 6, 5},
		{"hubspot/main:9812345", 24, 23},
	} {
		p := kgo.StickyKeyPartitioner(nil).ForTopic("t")
		if got := p.Partition(&kgo.Record{Key: []byte(c.key)}, c.partitions); got != c.want {
			t.Errorf("%s is in %d of %d, want %d", c.key, got, c.partitions, c.want)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	c, _ := newCodec(b)
	rec, _, _ := encode(b, c)
	b.ReportAllocs()
	b.SetBytes(int64(len(rec.Value)))
	for b.Loop() {
		var out order.PlacedV2
		if err := c.Decode(b.Context(), rec, &out); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHead(b *testing.B) {
	rec := head()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.Head(rec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	_, fact := placed(b)
	w := avrobin.NewWriter()
	b.ReportAllocs()
	for b.Loop() {
		w.Reset()
		fact.EncodeAvro(w)
		if _, err := w.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}

// What a record costs: one copy of its text, its struct and what is nullable or a list.
func TestCodec_allocations(t *testing.T) {
	c, _ := newCodec(t)
	rec, _, fact := encode(t, c)
	fact.Extensions = nil // a map is sorted by key, which takes memory
	w := avrobin.NewWriter()
	for name, f := range map[string]struct {
		most float64
		call func() error
	}{
		"encode": {0, func() error { w.Reset(); fact.EncodeAvro(w); _, err := w.Finish(); return err }},
		"decode": {8, func() error { var out order.PlacedV2; return c.Decode(t.Context(), rec, &out) }},
		"head":   {8, func() error { _, err := wire.Head(rec); return err }},
	} {
		if got := testing.AllocsPerRun(200, func() {
			if err := f.call(); err != nil {
				t.Fatal(err)
			}
		}); got > f.most {
			t.Errorf("%s: %v allocations, want at most %v", name, got, f.most)
		}
	}
}
