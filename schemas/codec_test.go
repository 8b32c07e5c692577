package schemas_test

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/wire/avrobin"
	"github.com/eventspine/spine/schemas"
	creditnote "github.com/eventspine/spine/schemas/credit-note"
	"github.com/eventspine/spine/schemas/invoice"
	"github.com/eventspine/spine/schemas/notification"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/payment"
	"github.com/eventspine/spine/schemas/refund"
	"github.com/eventspine/spine/schemas/stock"
)

// fact is what every generated type offers.
type fact interface {
	event.Stamped
	AvroSchema() string
	EncodeAvro(w *avrobin.Writer)
}

// types are all generated facts; TestTypes says which is missing.
func types() []fact {
	return []fact{
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

func TestTypes(t *testing.T) {
	t.Parallel()
	set, err := schema.Load(schemas.Files)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]fact{}
	for _, f := range types() {
		listed[f.EventType()] = f
	}
	for _, f := range set.Facts() {
		if x := listed[f.Type.String()]; x == nil {
			t.Errorf("add the type of %s to types()", f.Type)
		} else if x.AvroSchema() != f.Text {
			t.Errorf("%s carries another schema than the registered one", f.Type)
		}
	}
}

// parse reads a schema apart from hamba's global cache.
func parse(tb testing.TB, text string) avro.Schema {
	tb.Helper()
	s, err := avro.ParseWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func encode(f fact) ([]byte, error) {
	w := avrobin.NewWriter()
	w.Reset()
	f.EncodeAvro(w)
	return w.Finish()
}

// decode reads bytes into a new value of the type of f.
func decode(f fact, data []byte) (fact, error) {
	p := reflect.New(reflect.TypeOf(f))
	r := avrobin.NewReader()
	r.Reset(data)
	p.Interface().(interface{ DecodeAvro(*avrobin.Reader) }).DecodeAvro(r)
	return p.Elem().Interface().(fact), r.Finish()
}

// random makes a value that the schema can hold.
func random(t *rapid.T, f fact, s avro.Schema) fact {
	v := reflect.New(reflect.TypeOf(f)).Elem()
	fill(t, s, v)
	return v.Interface().(fact)
}

func deref(s avro.Schema) avro.Schema {
	if ref, ok := s.(*avro.RefSchema); ok {
		return ref.Schema()
	}
	return s
}

// fill gives v a random value of a schema. Fields stand in the order of the schema.
func fill(t *rapid.T, s avro.Schema, v reflect.Value) {
	switch s := deref(s).(type) {
	case *avro.RecordSchema:
		for i, f := range s.Fields() {
			fill(t, f.Type(), v.Field(i))
		}
	case *avro.EnumSchema:
		v.SetString(rapid.SampledFrom(s.Symbols()).Draw(t, s.Name()))
	case *avro.UnionSchema:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, s.Types()[1], v.Elem())
		}
	case *avro.ArraySchema:
		if n := rapid.IntRange(0, 3).Draw(t, "length"); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, s.Items(), v.Index(i))
			}
		}
	case *avro.MapSchema:
		for range rapid.IntRange(0, 3).Draw(t, "entries") {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			value := reflect.New(v.Type().Elem()).Elem()
			fill(t, s.Values(), value)
			v.SetMapIndex(reflect.ValueOf(rapid.String().Draw(t, "key")), value)
		}
	case *avro.PrimitiveSchema:
		fillPrimitive(t, s, v)
	default:
		t.Fatalf("no values for %s", s.Type())
	}
}

func fillPrimitive(t *rapid.T, s *avro.PrimitiveSchema, v reflect.Value) {
	switch v.Interface().(type) {
	case money.Decimal:
		d := s.Logical().(*avro.DecimalLogicalSchema)
		units, _ := new(big.Int).SetString(rapid.StringMatching(fmt.Sprintf(`-?[0-9]{1,%d}`, d.Precision())).Draw(t, "units"), 10)
		v.Set(reflect.ValueOf(money.FromBig(units, d.Scale())))
	case time.Time:
		micros := rapid.Int64Range(-60_000_000_000_000_000, 253_402_300_799_999_999).Draw(t, "micros")
		v.Set(reflect.ValueOf(time.UnixMicro(micros).UTC()))
	case event.Date:
		v.Set(reflect.ValueOf(event.DateFromDays(rapid.IntRange(-700_000, 2_900_000).Draw(t, "days"))))
	case string:
		if s.Logical() != nil && s.Logical().Type() == avro.UUID {
			v.SetString(rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).Draw(t, "uuid"))
			return
		}
		v.SetString(rapid.String().Draw(t, "string"))
	case bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case int32:
		v.SetInt(int64(rapid.Int32().Draw(t, "int")))
	case int64:
		v.SetInt(rapid.Int64().Draw(t, "long"))
	case float64:
		v.SetFloat(rapid.Float64().Filter(func(f float64) bool { return f-f == 0 }).Draw(t, "double"))
	default:
		t.Fatalf("no values for %s", v.Type())
	}
}

func eachFact(t *testing.T, test func(t *testing.T, f fact, s avro.Schema)) {
	t.Helper()
	for _, f := range types() {
		t.Run(f.EventType(), func(t *testing.T) {
			t.Parallel()
			test(t, f, parse(t, f.AvroSchema()))
		})
	}
}

// Encoding and decoding is the identity, and hamba's generic codec reads and writes
// the same values.
func TestCodec_identityAndOracle(t *testing.T) {
	t.Parallel()
	eachFact(t, func(t *testing.T, f fact, s avro.Schema) {
		t.Helper()
		rapid.Check(t, func(rt *rapid.T) {
			x := random(rt, f, s)
			data, err := encode(x)
			if err != nil {
				rt.Fatal(err)
			}
			data = append([]byte(nil), data...)
			back, err := decode(f, data)
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(x, back); diff != "" {
				rt.Fatalf("decoded (-want +got):\n%s", diff)
			}
			var generic any
			if err := avro.Unmarshal(s, data, &generic); err != nil {
				rt.Fatalf("hamba: %v", err)
			}
			same(rt, "", s, reflect.ValueOf(x), generic)
			theirs, err := avro.Marshal(s, generic)
			if err != nil {
				rt.Fatalf("hamba: %v", err)
			}
			if back, err = decode(f, theirs); err != nil {
				rt.Fatalf("decoding what hamba wrote: %v", err)
			}
			if diff := cmp.Diff(x, back); diff != "" {
				rt.Fatalf("decoded from hamba (-want +got):\n%s", diff)
			}
		})
	})
}

// same compares a Go value with what hamba's generic decoder made of its bytes.
func same(t *rapid.T, path string, s avro.Schema, v reflect.Value, g any) {
	differ := func() { t.Fatalf("%s: %v, hamba reads %v (%T)", path, v, g, g) }
	switch s := deref(s).(type) {
	case *avro.RecordSchema:
		m, ok := g.(map[string]any)
		if !ok {
			differ()
		}
		for i, f := range s.Fields() {
			same(t, path+"."+f.Name(), f.Type(), v.Field(i), m[f.Name()])
		}
	case *avro.UnionSchema:
		if v.IsNil() != (g == nil) {
			differ()
		}
		if m, ok := g.(map[string]any); ok { // named types stand under their name
			for _, g = range m {
			}
		}
		if !v.IsNil() {
			same(t, path, s.Types()[1], v.Elem(), g)
		}
	case *avro.ArraySchema:
		items, _ := g.([]any)
		if len(items) != v.Len() {
			differ()
		}
		for i := range items {
			same(t, path+"[]", s.Items(), v.Index(i), items[i])
		}
	case *avro.MapSchema:
		m, _ := g.(map[string]any)
		if len(m) != v.Len() {
			differ()
		}
		for key, value := range m {
			same(t, path+"{}", s.Values(), v.MapIndex(reflect.ValueOf(key)), value)
		}
	default:
		if !equalScalar(v, g) {
			differ()
		}
	}
}

func equalScalar(v reflect.Value, g any) bool {
	switch x := v.Interface().(type) {
	case money.Decimal:
		rat, ok := new(big.Rat).SetString(x.String())
		theirs, isRat := g.(*big.Rat)
		return ok && isRat && rat.Cmp(theirs) == 0
	case time.Time:
		theirs, ok := g.(time.Time)
		return ok && x.Equal(theirs)
	case event.Date:
		theirs, ok := g.(time.Time)
		return ok && x == event.DateOf(theirs, time.UTC)
	}
	return fmt.Sprint(v) == fmt.Sprint(g)
}

// Whatever is cut off, added or out of range is an error.
func TestCodec_malformed(t *testing.T) {
	t.Parallel()
	eachFact(t, func(t *testing.T, f fact, s avro.Schema) {
		t.Helper()
		rapid.Check(t, func(rt *rapid.T) {
			data, err := encode(random(rt, f, s))
			if err != nil {
				rt.Fatal(err)
			}
			for n := range data {
				if _, err := decode(f, data[:n]); err == nil {
					rt.Fatalf("%d of %d bytes are taken for a record", n, len(data))
				}
			}
			trailing := append(append([]byte(nil), data...), rapid.Byte().Draw(rt, "trailing"))
			if _, err := decode(f, trailing); err == nil {
				rt.Fatal("a trailing byte is accepted")
			}
			// Any other byte either makes an error or another value, never the same one.
			at := rapid.IntRange(0, len(data)-1).Draw(rt, "at")
			changed := append([]byte(nil), data...)
			changed[at] ^= rapid.ByteRange(1, 255).Draw(rt, "xor")
			x, err := decode(f, changed)
			if err != nil {
				return
			}
			again, err := encode(x)
			if err == nil && string(again) == string(data) {
				rt.Fatalf("byte %d changed from %x to %x means nothing", at, data[at], changed[at])
			}
		})
	})
}

// Each length, count and index of a record, replaced by one that is out of range.
func TestCodec_corruptedNumbers(t *testing.T) {
	t.Parallel()
	eachFact(t, func(t *testing.T, f fact, s avro.Schema) {
		t.Helper()
		rapid.Check(t, func(rt *rapid.T) {
			data, err := encode(random(rt, f, s))
			if err != nil {
				rt.Fatal(err)
			}
			data = append([]byte(nil), data...)
			places := numbers(s, data)
			p := rapid.SampledFrom(places).Draw(rt, "place")
			for _, value := range []int64{-1, 1 << 31, 1 << 62, -1 << 63, int64(len(data)) + 1, 20_001} {
				bad := append(append(append([]byte(nil), data[:p.from]...), binary.AppendVarint(nil, value)...), data[p.to:]...)
				if _, err := decode(f, bad); err == nil {
					rt.Fatalf("%s at %d: %d is accepted", p.what, p.from, value)
				}
			}
			padded := append(append(append([]byte(nil), data[:p.to-1]...), data[p.to-1]|0x80, 0), data[p.to:]...)
			if _, err := decode(f, padded); err == nil {
				rt.Fatalf("%s at %d: a padded number is accepted", p.what, p.from)
			}
		})
	})
}

// number is a place in an encoding that holds a length, count or index.
type number struct {
	from, to int
	what     string
}

// numbers walks a valid encoding.
func numbers(s avro.Schema, data []byte) []number {
	w := walker{data: data}
	w.walk(s)
	return w.found
}

type walker struct {
	data  []byte
	at    int
	found []number
}

func (w *walker) long(what string) int64 {
	v, n := binary.Varint(w.data[w.at:])
	if what != "" {
		w.found = append(w.found, number{w.at, w.at + n, what})
	}
	w.at += n
	return v
}

func (w *walker) walk(s avro.Schema) {
	switch s := deref(s).(type) {
	case *avro.RecordSchema:
		for _, f := range s.Fields() {
			w.walk(f.Type())
		}
	case *avro.UnionSchema:
		w.walk(s.Types()[w.long("union")])
	case *avro.EnumSchema:
		w.long("enum")
	case *avro.ArraySchema:
		for n := w.long("count"); n > 0; n = w.long("count") {
			for range n {
				w.walk(s.Items())
			}
		}
	case *avro.MapSchema:
		for n := w.long("count"); n > 0; n = w.long("count") {
			for range n {
				w.at += int(w.long("length"))
				w.walk(s.Values())
			}
		}
	case *avro.PrimitiveSchema:
		switch s.Type() {
		case avro.String, avro.Bytes:
			w.at += int(w.long("length"))
		case avro.Int, avro.Long:
			w.long("")
		case avro.Boolean:
			w.at++
		case avro.Double:
			w.at += 8
		}
	}
}

// hostile are records of 1 MiB and less that want as much memory as they can get.
func hostile(tb testing.TB, s avro.Schema) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	for _, f := range s.(*avro.RecordSchema).Fields() {
		var item avro.Schema
		keyed := false
		switch typ := deref(f.Type()).(type) {
		case *avro.ArraySchema:
			item = typ.Items()
		case *avro.MapSchema:
			item, keyed = typ.Values(), true
		default:
			continue
		}
		for _, c := range []struct {
			name          string
			count, blocks int
		}{{"one block", 20_000, 1}, {"many blocks", 20_000, 200}, {"too many", 20_001, 1}, {"blocks of one", 20_000, 20_000}} {
			var b []byte
			for _, before := range s.(*avro.RecordSchema).Fields() {
				if before != f {
					b = least(b, before.Type())
					continue
				}
				for n := range c.blocks {
					b = binary.AppendVarint(b, int64(c.count/c.blocks))
					for i := range c.count / c.blocks {
						if keyed {
							b = append(b, 6, byte(n%90+' '), byte(i%90+' '), byte(i/90%90+' '))
						}
						b = least(b, item)
					}
				}
				b = append(b, 0)
			}
			if len(b) <= 1<<20 {
				out[f.Name()+", "+c.name] = b
			}
		}
	}
	return out
}

// least appends the shortest value of a schema, with nullable records set: they take
// more memory than bytes.
func least(b []byte, s avro.Schema) []byte {
	switch s := deref(s).(type) {
	case *avro.RecordSchema:
		for _, f := range s.Fields() {
			b = least(b, f.Type())
		}
		return b
	case *avro.UnionSchema:
		return least(append(b, 2), s.Types()[1])
	case *avro.PrimitiveSchema:
		switch {
		case s.Type() == avro.Double:
			return append(b, make([]byte, 8)...)
		case s.Type() == avro.Bytes:
			return append(b, 2, 0)
		case s.Logical() != nil && s.Logical().Type() == avro.UUID:
			return append(append(b, 72), "019cec13-177b-835c-af42-62fc597f21c7"...)
		}
	}
	return append(b, 0)
}

// No record makes more than 8 MiB live. Not parallel: it looks at the whole heap,
// while the collector runs all the time.
func TestCodec_memory(t *testing.T) {
	for _, f := range types() {
		s := parse(t, f.AvroSchema())
		for name, data := range hostile(t, s) {
			most, err := allocated(f, data)
			if most > 8<<20 { // not all of it at one time, perhaps
				most, _ = peak(f, data)
			}
			for try := 0; most > 8<<20 && try < 4; try++ { // what dies while the collector marks counts as alive
				again, _ := peak(f, data)
				most = min(most, again)
			}
			if most > 8<<20 {
				t.Errorf("%s, %s: %d bytes live (%v)", f.EventType(), name, most, err)
			}
			if strings.HasSuffix(name, "too many") && err == nil {
				t.Errorf("%s, %s: the element budget is passed", f.EventType(), name)
			}
		}
	}
}

// allocated is all that decoding a record allocates: at least what is ever alive.
func allocated(f fact, data []byte) (uint64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := decode(f, data)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, err
}

// peak is the most memory that was seen alive while a record was decoded.
func peak(f fact, data []byte) (uint64, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	runtime.GC()
	before, most := live(), uint64(0)
	done := make(chan error)
	go func() {
		x, err := decode(f, data)
		runtime.GC()
		runtime.KeepAlive(x)
		done <- err
	}()
	for {
		select {
		case err := <-done:
			return max(most, before) - before, err
		default:
			most = max(most, live())
		}
	}
}

// live is what the last collection found alive.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func FuzzDecode(f *testing.F) {
	all := types()
	for i, x := range all {
		s := parse(f, x.AvroSchema())
		f.Add(byte(i), least(nil, s))
		for _, data := range hostile(f, s) {
			if len(data) < 1<<16 {
				f.Add(byte(i), data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		x, err := decode(all[int(which)%len(all)], data)
		if err != nil {
			return
		}
		again, err := encode(x)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(x, again)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(x, back) { // cmp.Diff takes minutes for thousands of elements
			t.Fatalf("another value after encoding:\n%+v\n%+v", x, back)
		}
	})
}
