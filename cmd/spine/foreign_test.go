package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas"
	creditnote "github.com/eventspine/spine/schemas/credit-note"
	"github.com/eventspine/spine/schemas/invoice"
	"github.com/eventspine/spine/schemas/notification"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
	"github.com/eventspine/spine/schemas/refund"
	"github.com/eventspine/spine/schemas/stock"
)

// everyFact is a zero value of each fact of this repository.
func everyFact() []event.Fact {
	return []event.Fact{
		creditnote.IssuedV1{},
		invoice.CreatedV1{},
		notification.SentV1{},
		order.CancelledV1{},
		order.EditedV1{},
		order.PlacedV1{},
		order.PlacedV2{},
		payment.ReceivedV1{},
		refund.IssuedV1{},
		stock.ReservationReleasedV1{},
		stock.ReservedV1{},
		stock.ShortageDetectedV1{},
	}
}

// shown is a record as read_facts.py prints it.
type shown struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Key       string            `json:"key"`
	Headers   map[string]string `json:"headers"`
	Data      any               `json:"data"`
}

// A program that knows nothing of Spine reads every fact with Confluent's Avro
// deserialiser, and sees what we see: decimals at their scale, times, dates, enums,
// nulls, nested records and the headers of CloudEvents.
func TestForeignReader(t *testing.T) {
	t.Parallel()
	python := os.Getenv("SPINE_TEST_PYTHON")
	if python == "" {
		t.Skip(`SPINE_TEST_PYTHON names no Python with "confluent-kafka[avro,schemaregistry]"`)
	}
	parts := devtest.Parts(t)
	topic := devtest.Unique(t, "foreign.events")
	parts.CreateTopics(t, 3, topic)
	codec := newCodec(t, parts.RegistryURL)
	published := publishEveryFact(t, codec, parts.Brokers, topic)

	cmd := exec.CommandContext(t.Context(), python, "testdata/read_facts.py", strings.Join(parts.Brokers, ","), parts.RegistryURL, topic)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	theirs := map[string]shown{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		d.UseNumber()
		var s shown
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		theirs[s.Headers[wire.HeaderID]] = s
	}
	if len(theirs) != len(published) {
		t.Errorf("they read %d events, want %d", len(theirs), len(published))
	}
	for id, ours := range published {
		if diff := cmp.Diff(ours, theirs[id]); diff != "" {
			t.Errorf("%s %s (-ours +theirs):\n%s", ours.Headers[wire.HeaderType], id, diff)
		}
	}
}

// newCodec registers the facts and makes a codec.
func newCodec(t *testing.T, url string) *wire.Codec {
	t.Helper()
	registry, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	set, err := schema.Load(schemas.Files)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(everyFact()), len(set.Facts()); got != want {
		t.Fatalf("everyFact lists %d facts, there are %d", got, want)
	}
	if _, err := schema.Register(t.Context(), registry, set); err != nil {
		t.Fatal(err)
	}
	return wire.NewCodec(wire.NewRegistry(registry))
}

// publishEveryFact publishes each fact twice, with every nullable set and with none,
// and answers by id what we read of it.
func publishEveryFact(t *testing.T, codec *wire.Codec, brokers []string, topic string) map[string]shown {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	all := map[string]shown{}
	for n, zero := range everyFact() {
		for _, full := range []bool{true, false} {
			s := &sampler{full: full, n: 100 * n}
			rec := s.record(t, codec, topic, zero)
			if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
			into := reflect.New(reflect.TypeOf(zero))
			if err := codec.Decode(t.Context(), rec, into.Interface()); err != nil {
				t.Fatal(err)
			}
			ours := shown{
				Topic: topic, Partition: rec.Partition, Offset: rec.Offset, Key: string(rec.Key), Headers: map[string]string{},
				Data: plain(parseOwn(t, zero), into.Elem()),
			}
			for _, h := range rec.Headers {
				ours.Headers[h.Key] = string(h.Value)
			}
			all[ours.Headers[wire.HeaderID]] = ours
		}
	}
	return all
}

func parseOwn(t *testing.T, fact event.Fact) avro.Schema {
	t.Helper()
	own, ok := fact.(interface{ AvroSchema() string })
	if !ok {
		t.Fatalf("%T is not generated", fact)
	}
	s, err := avro.ParseWithCache(own.AvroSchema(), "", &avro.SchemaCache{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sampler makes sample values: no two alike, the same in every run.
type sampler struct {
	full bool // nullables are set
	n    int
}

func (s *sampler) next() int { s.n++; return s.n }

// record is the record of a sample of a fact.
func (s *sampler) record(t *testing.T, codec *wire.Codec, topic string, zero event.Fact) *kgo.Record {
	t.Helper()
	v := reflect.New(reflect.TypeOf(zero)).Elem()
	s.fill(t, parseOwn(t, zero), v)
	fact, ok := v.Interface().(event.Fact)
	if !ok {
		t.Fatalf("%s is no fact", v.Type())
	}
	entity, at := "5001", time.Date(2026, 3, 14, 11, 20, s.n%60, 123_456_000, time.UTC)
	cause := wire.Cause{
		Source: "shopify/uk", Origin: event.OriginWebhook, RecordedAt: at.Add(1500 * time.Microsecond), Correlation: "order:shopify/uk:5001",
	}
	if s.full { // what CloudEvents writes percent-encoded, and what only a group's fact has
		entity = `Größe "XL" 100%`
		cause.Causation, cause.Sequence = "019cec13-177b-835c-af42-62fc597f21c7", "00000000000000000017"
	}
	e, stamped, err := wire.Stamp(event.New{Fact: fact, Entity: entity, At: at}, cause)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := codec.Encode(t.Context(), topic, e, stamped)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// fill sets v, whose fields stand in the order of the schema.
func (s *sampler) fill(t *testing.T, sch avro.Schema, v reflect.Value) {
	t.Helper()
	switch sch := target(sch).(type) {
	case *avro.RecordSchema:
		for i, f := range sch.Fields() {
			if f.Name() != "meta" { // stamped
				s.fill(t, f.Type(), v.Field(i))
			}
		}
	case *avro.EnumSchema:
		v.SetString(sch.Symbols()[s.next()%len(sch.Symbols())])
	case *avro.UnionSchema:
		if s.full {
			v.Set(reflect.New(v.Type().Elem()))
			s.fill(t, sch.Types()[1], v.Elem())
		}
	case *avro.ArraySchema:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			s.fill(t, sch.Items(), v.Index(i))
		}
	case *avro.MapSchema:
		if s.full {
			v.Set(reflect.ValueOf(map[string]string{"gift note": "für dich", "empty": ""}))
		}
	case *avro.PrimitiveSchema:
		s.primitive(t, sch, v)
	default:
		t.Fatalf("no sample of %s", sch.Type())
	}
}

func (s *sampler) primitive(t *testing.T, sch *avro.PrimitiveSchema, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case money.Decimal: // zero, the largest, the smallest, and what is in between
		d, _ := sch.Logical().(*avro.DecimalLogicalSchema)
		largest := new(big.Int).Sub(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.Precision())), nil), big.NewInt(1))
		units := []*big.Int{new(big.Int), largest, new(big.Int).Neg(largest), big.NewInt(int64(1_000_003 * s.next())), big.NewInt(-1), big.NewInt(255)}
		v.Set(reflect.ValueOf(money.FromBig(units[s.next()%len(units)], d.Scale())))
	case time.Time:
		times := []time.Time{
			time.Date(2026, 3, 29, 1, 30, 0, s.next()*1000, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC), time.Unix(0, 0).UTC(),
		}
		v.Set(reflect.ValueOf(times[s.next()%len(times)]))
	case event.Date:
		v.Set(reflect.ValueOf(event.DateFromDays([]int{20_526, 0, -1, 11_016}[s.next()%4])))
	case string:
		text := fmt.Sprintf("Ünï-%d ✓", s.next())
		if l := sch.Logical(); l != nil && l.Type() == avro.UUID {
			text = fmt.Sprintf("019cec13-177b-835c-af42-%012x", s.next())
		}
		v.SetString(text)
	case bool:
		v.SetBool(s.next()%2 == 0)
	case int32:
		v.SetInt(int64(-s.next()))
	case int64:
		v.SetInt(int64(s.next()) << 40)
	case float64:
		v.SetFloat(float64(s.next()) + 0.125)
	default:
		t.Fatalf("no sample of %s", v.Type())
	}
}

func target(s avro.Schema) avro.Schema {
	if ref, ok := s.(*avro.RefSchema); ok {
		return ref.Schema()
	}
	return s
}

// plain is a value as JSON shows it: decimals as text at the schema's scale.
func plain(sch avro.Schema, v reflect.Value) any {
	switch sch := target(sch).(type) {
	case *avro.RecordSchema:
		all := map[string]any{}
		for i, f := range sch.Fields() {
			all[f.Name()] = plain(f.Type(), v.Field(i))
		}
		return all
	case *avro.UnionSchema:
		if v.IsNil() {
			return nil
		}
		return plain(sch.Types()[1], v.Elem())
	case *avro.ArraySchema:
		all := []any{}
		for i := range v.Len() {
			all = append(all, plain(sch.Items(), v.Index(i)))
		}
		return all
	case *avro.MapSchema:
		all := map[string]any{}
		for _, key := range v.MapKeys() {
			all[key.String()] = plain(sch.Values(), v.MapIndex(key))
		}
		return all
	case *avro.PrimitiveSchema:
		if d, ok := v.Interface().(money.Decimal); ok {
			return d.Text(sch.Logical().(*avro.DecimalLogicalSchema).Scale()) //nolint:forcetypeassert // the schema of a decimal
		}
	}
	switch x := v.Interface().(type) {
	case time.Time:
		return x.UTC().Format("2006-01-02T15:04:05.000000Z")
	case event.Date:
		return x.In(time.UTC).Format(time.DateOnly)
	case bool:
		return x
	case int32, int64, float64:
		return json.Number(fmt.Sprint(x))
	default:
		return v.String() // strings and enums
	}
}
