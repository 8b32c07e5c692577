package avrobin_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/wire/avrobin"
	"github.com/eventspine/spine/pkg/wire/avrojson"
)

func parse(tb testing.TB, text string) avro.Schema {
	tb.Helper()
	s, err := avro.ParseWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func amount(tb testing.TB, s string) money.Decimal {
	tb.Helper()
	d, err := money.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// put is what one call writes.
func put(call func(w *avrobin.Writer)) ([]byte, error) {
	w := avrobin.NewWriter()
	w.Reset()
	call(w)
	return w.Finish()
}

// get is what one call says of data.
func get(data []byte, call func(r *avrobin.Reader)) error {
	r := avrobin.NewReader()
	r.Reset(data)
	call(r)
	return r.Finish()
}

// The known answers of decimal(19,4), length included.
func TestDecimal_knownAnswers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"4250.00": "080288 7fa0", "0": "0200", "19.99": "06030cdc", "-19.99": "06fcf324", "0.0001": "0201", "-0.0001": "02ff",
		"12.7": "0601f018", "-1.28": "04ce00", "999999999999999.9999": "12008ac7230489e7ffff", "-0.0128": "0280", "0.0128": "040080",
		"-999999999999999.9999": "12ff7538dcfb76180001",
	} {
		d := amount(t, text)
		data, err := put(func(w *avrobin.Writer) { avrobin.PutDecimal(&d, w, 19, 4) })
		if err != nil || hex.EncodeToString(data) != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %x, %v; want %s", text, data, err, want)
		}
		var back money.Decimal
		if err := get(data, func(r *avrobin.Reader) { avrobin.GetDecimal(&back, r, 19, 4) }); err != nil || back != d && !back.Equal(d) {
			t.Errorf("%s read back: %s, %v", text, back, err)
		}
	}
}

// Decimals agree with hamba's, which takes any *big.Rat.
func TestDecimal_asHamba(t *testing.T) {
	t.Parallel()
	s := parse(t, `{"type":"record","name":"R","fields":[{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":19,"scale":6}}]}`)
	rapid.Check(t, func(rt *rapid.T) {
		d := money.FromUnits(rapid.Int64().Draw(rt, "units"), 6)
		data, err := put(func(w *avrobin.Writer) { avrobin.PutDecimal(&d, w, 19, 6) })
		if err != nil {
			rt.Fatal(err)
		}
		var theirs map[string]any
		if err := avro.Unmarshal(s, data, &theirs); err != nil {
			rt.Fatal(err)
		}
		again, err := avro.Marshal(s, theirs)
		if err != nil {
			rt.Fatal(err)
		}
		var back money.Decimal
		if err := get(again, func(r *avrobin.Reader) { avrobin.GetDecimal(&back, r, 19, 6) }); err != nil || back != d {
			rt.Fatalf("%s comes back from hamba as %s, %v", d, back, err)
		}
	})
}

// Values that a schema cannot hold are refused, each a trap of libraries that round,
// crash or write them all the same.
func TestPut_refuses(t *testing.T) {
	t.Parallel()
	dec := func(text string, precision, scale int) func(*avrobin.Writer) {
		d := amount(t, text)
		return func(w *avrobin.Writer) { avrobin.PutDecimal(&d, w, precision, scale) }
	}
	at := func(v time.Time) func(*avrobin.Writer) { return func(w *avrobin.Writer) { avrobin.PutTime(&v, w) } }
	day := func(v event.Date) func(*avrobin.Writer) { return func(w *avrobin.Writer) { avrobin.PutDate(&v, w) } }
	double := func(v float64) func(*avrobin.Writer) { return func(w *avrobin.Writer) { avrobin.PutDouble(&v, w) } }
	str := func(v string) func(*avrobin.Writer) { return func(w *avrobin.Writer) { avrobin.PutString(&v, w) } }
	id := func(v string) func(*avrobin.Writer) { return func(w *avrobin.Writer) { avrobin.PutUUID(&v, w) } }
	enum := func(v string) func(*avrobin.Writer) {
		return func(w *avrobin.Writer) { avrobin.PutEnum(&v, w, "UNKNOWN", "A") }
	}
	for name, c := range map[string]struct {
		call func(*avrobin.Writer)
		want string
	}{
		"rounding":             {dec("10.005", 19, 2), "10.005 is not exact at 2 decimal places"},
		"rounding to zero":     {dec("-0.001", 19, 2), "-0.001 is not exact at 2 decimal places"},
		"one digit too many":   {dec("1000.0000", 7, 4), "1000 has more than 7 digits"},
		"twenty digits":        {dec("1000000000000000", 19, 4), "1000000000000000 has more than 19 digits"},
		"time not set":         {at(time.Time{}), "time is not set"},
		"nanoseconds":          {at(time.Unix(0, 1)), "not exact in microseconds"},
		"year 10000":           {at(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), "not in the years 1 to 9999"},
		"date not set":         {day(event.Date{}), "0000-00-00 is no date"},
		"30 February":          {day(event.Date{Year: 2026, Month: 2, Day: 30}), "2026-02-30 is no date"},
		"NaN":                  {double(math.NaN()), "NaN is no number"},
		"infinity":             {double(math.Inf(-1)), "-Inf is no number"},
		"Latin-1":              {str("caf\xe9"), "string is not UTF-8"},
		"not-a-uuid":           {id("not-a-uuid"), `"not-a-uuid" is no UUID in lower case`},
		"UUID in capitals":     {id("019CEC13-177B-835C-AF42-62FC597F21C7"), "is no UUID in lower case"},
		"unset enum":           {enum(""), "enum is not set"},
		"symbol of the future": {enum("B"), `"B" is not among the symbols of the enum`},
	} {
		data, err := put(func(w *avrobin.Writer) { c.call(w.At("f")) })
		if !errors.Is(err, avrobin.ErrValue) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "f: ") {
			t.Errorf("%s: %x, %v; want f: … %s", name, data, err, c.want)
		}
	}
	if _, err := put(dec("10.005", 19, 4)); err != nil {
		t.Errorf("10.005 at scale 4: %v", err)
	}
}

// Bytes that mean nothing are refused, where hamba takes many of them.
func TestGet_refuses(t *testing.T) {
	t.Parallel()
	str := func(r *avrobin.Reader) { avrobin.GetString(new(string), r) }
	long := func(r *avrobin.Reader) { avrobin.GetLong(new(int64), r) }
	num := func(r *avrobin.Reader) { avrobin.GetInt(new(int32), r) }
	boolean := func(r *avrobin.Reader) { avrobin.GetBool(new(bool), r) }
	dec := func(r *avrobin.Reader) { avrobin.GetDecimal(new(money.Decimal), r, 5, 2) }
	enum := func(r *avrobin.Reader) { avrobin.GetEnum(new(string), r, "UNKNOWN", "A") }
	null := func(r *avrobin.Reader) { avrobin.GetNull(new(*string), r, avrobin.GetString) }
	array := func(r *avrobin.Reader) { avrobin.GetArray(new([]string), r, 1, avrobin.GetString) }
	dict := func(r *avrobin.Reader) { avrobin.GetMap(new(map[string]string), r, 1, avrobin.GetString) }
	at := func(r *avrobin.Reader) { avrobin.GetTime(new(time.Time), r) }
	day := func(r *avrobin.Reader) { avrobin.GetDate(new(event.Date), r) }
	for name, c := range map[string]struct {
		data string
		call func(*avrobin.Reader)
	}{
		"nothing":                    {"", str},
		"negative length":            {"\x01", str},
		"length over the end":        {"\x04a", str},
		"length of 2^62":             {string(binary.AppendVarint(nil, 1<<62)), str},
		"not UTF-8":                  {"\x02\xff", str},
		"left over":                  {"\x02ab", str},
		"half a number":              {"\x80", long},
		"padded zero":                {"\x80\x00", long},
		"padded number":              {"\x82\x80\x00", long},
		"eleven bytes":               {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", long},
		"bits over 64":               {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x03", long},
		"int of 33 bits":             {string(binary.AppendVarint(nil, 1<<31)), num},
		"int with bits lost":         {"\xff\xff\xff\xff\x7f", num},
		"boolean 2":                  {"\x02", boolean},
		"double cut":                 {"\x00\x00\x00", func(r *avrobin.Reader) { avrobin.GetDouble(new(float64), r) }},
		"double NaN":                 {"\x00\x00\x00\x00\x00\x00\xf8\x7f", func(r *avrobin.Reader) { avrobin.GetDouble(new(float64), r) }},
		"decimal of no bytes":        {"\x00", dec},
		"decimal of six digits":      {"\x06\x01\x86\xa0", dec},
		"decimal of 17 bytes":        {"\x22" + strings.Repeat("\x00", 17), dec},
		"symbol 2 of 2":              {"\x04", enum},
		"symbol -1":                  {"\x01", enum},
		"branch 2 of 2":              {"\x04\x00", null},
		"branch -1":                  {"\x01", null},
		"billion elements":           {string(binary.AppendVarint(nil, 1e9)), array},
		"count of -2^63":             {string(binary.AppendVarint(nil, math.MinInt64)), array},
		"no end of array":            {"\x02\x00", array},
		"block size too large":       {"\x01\x06\x00\x00", array},
		"block size too small":       {"\x01\x00\x00\x00", array},
		"block size negative":        {"\x01\x01\x00\x00", array},
		"more elements than bytes":   {"\x06\x00\x00", array},
		"key twice":                  {"\x04\x02a\x00\x02a\x00\x00", dict},
		"year 10000":                 {string(binary.AppendVarint(nil, 253_402_300_800_000_000)), at},
		"the time that is not set":   {string(binary.AppendVarint(nil, time.Time{}.UnixMicro())), at},
		"nanoseconds as micros":      {string(binary.AppendVarint(nil, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())), at},
		"date of year 10000":         {string(binary.AppendVarint(nil, 2_932_897)), day},
		"uuid of another form":       {"\x14not-a-uuid", func(r *avrobin.Reader) { avrobin.GetUUID(new(string), r) }},
		"bytes longer than declared": {"\x02ab", func(r *avrobin.Reader) { avrobin.GetBytes(new([]byte), r) }},
	} {
		err := get([]byte(c.data), func(r *avrobin.Reader) { c.call(r.At("f")) })
		if !errors.Is(err, avrobin.ErrMalformed) && !errors.Is(err, avrobin.ErrLimit) {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
}

// The payloads of the advisories on hamba, and their kin, end as errors at once.
func TestLimits(t *testing.T) {
	t.Parallel()
	deep := `{"type":"record","name":"Tree","fields":[{"name":"kids","type":{"type":"array","items":"Tree"}}]}`
	record := func(typ string) string {
		return `{"type":"record","name":"R","fields":[{"name":"f","type":` + typ + `}]}`
	}
	blocks := func(n, each int, element string) string {
		var b []byte
		for range n {
			b = binary.AppendVarint(b, int64(each))
			b = append(b, strings.Repeat(element, each)...)
		}
		return string(append(b, 0))
	}
	for name, c := range map[string]struct{ schema, data string }{
		"a billion nulls":        {record(`{"type":"array","items":"null"}`), string(binary.AppendVarint(nil, 1e9)) + "\x00"},
		"2^40 empty records":     {record(`{"type":"array","items":{"type":"record","name":"E","fields":[]}}`), string(binary.AppendVarint(nil, 1<<40)) + "\x00"},
		"nulls in many blocks":   {record(`{"type":"array","items":"null"}`), blocks(200, 9999, "")},
		"empty arrays in arrays": {record(`{"type":"array","items":{"type":"array","items":"null"}}`), blocks(3, 9999, "\x00")},
		"a map of a million":     {record(`{"type":"map","values":"null"}`), string(binary.AppendVarint(nil, 1e6)) + "\x00"},
		"a deep tree":            {deep, strings.Repeat("\x02", 100) + strings.Repeat("\x00", 200)},
		"a very deep tree":       {deep, strings.Repeat("\x02", 1<<20)},
		"a string of 2^31":       {record(`"string"`), string(binary.AppendVarint(nil, 1<<31))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := avrojson.Record(parse(t, c.schema), []byte(c.data), true)
			if !errors.Is(err, avrobin.ErrLimit) && !errors.Is(err, avrobin.ErrMalformed) {
				t.Errorf("%.80s, %v; want an error", out, err)
			}
		})
	}
	many := make([]bool, avrobin.MaxElements+1)
	if _, err := put(func(w *avrobin.Writer) { avrobin.PutArray(many, w, avrobin.PutBool) }); !errors.Is(err, avrobin.ErrLimit) {
		t.Errorf("%d elements are written: %v", len(many), err)
	}
	data, err := put(func(w *avrobin.Writer) { avrobin.PutArray(many[1:], w, avrobin.PutBool) })
	if err != nil {
		t.Fatal(err)
	}
	var back []bool
	if err := get(data, func(r *avrobin.Reader) { avrobin.GetArray(&back, r, 1, avrobin.GetBool) }); err != nil || len(back) != avrobin.MaxElements {
		t.Errorf("%d elements read back: %v", len(back), err)
	}
}

// An error says where.
func TestError_path(t *testing.T) {
	t.Parallel()
	err := get([]byte("\x04\x02a\x02\xff\x00"), func(r *avrobin.Reader) {
		r.Enter()
		avrobin.GetArray(new([]string), r.At("lines"), 1, avrobin.GetString)
		r.Leave()
	})
	if err == nil || err.Error() != "lines[1]: string is not UTF-8" {
		t.Errorf("got %v", err)
	}
}

// Maps are written in one order.
func TestPutMap_canonical(t *testing.T) {
	t.Parallel()
	m := map[string]string{"b": "2", "a": "1", "c": "3"}
	first, err := put(func(w *avrobin.Writer) { avrobin.PutMap(m, w, avrobin.PutString) })
	if err != nil || string(first) != "\x06\x02a\x021\x02b\x022\x02c\x023\x00" {
		t.Errorf("%q, %v", first, err)
	}
	for range 20 {
		if again, _ := put(func(w *avrobin.Writer) { avrobin.PutMap(m, w, avrobin.PutString) }); !bytes.Equal(first, again) {
			t.Fatalf("%q, then %q", first, again)
		}
	}
}

// Defaults of every type reach a record that lacks the fields.
func TestPlan_defaults(t *testing.T) {
	t.Parallel()
	writer := parse(t, `{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}`)
	reader := parse(t, `{"type":"record","name":"R","fields":[
		{"name":"i","type":"int","default":-7},{"name":"l","type":"long","default":8},{"name":"a","type":"string"},
		{"name":"b","type":"boolean","default":true},{"name":"d","type":"double","default":0.5},{"name":"fl","type":"float","default":0.25},
		{"name":"y","type":"bytes","default":"\u00ff"},{"name":"n","type":["null","string"],"default":null},
		{"name":"e","type":{"type":"enum","name":"E","symbols":["X","Y"],"default":"X"},"default":"Y"},
		{"name":"r","type":{"type":"record","name":"In","fields":[{"name":"x","type":"string"},{"name":"z","type":["null","int"],"default":null}]},"default":{"x":"q"}},
		{"name":"ar","type":{"type":"array","items":"string"},"default":["s"]},
		{"name":"m","type":{"type":"map","values":"int"},"default":{"k":1}}]}`)
	plan, err := avrobin.NewPlan(writer, reader)
	if err != nil {
		t.Fatal(err)
	}
	r := avrobin.NewReader()
	if err := plan.Reset(r, []byte("\x02v")); err != nil {
		t.Fatal(err)
	}
	got := avrobin.Rest(r)
	shown, err := avrojson.Record(reader, got, true)
	want := `{"i":-7,"l":"8","a":"v","b":true,"d":0.5,"fl":0.25,"y":"/w==","n":null,"e":"Y","r":{"x":"q","z":null},"ar":["s"],"m":{"k":1}}`
	if err != nil || string(shown) != want {
		t.Errorf("%v\n got %s\nwant %s", err, shown, want)
	}
}

// Records may not grow without bound by defaults.
func TestPlan_limit(t *testing.T) {
	t.Parallel()
	const form = `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":{"type":"record","name":"E","fields":[%]}}}]}`
	writer := parse(t, strings.ReplaceAll(form, "%", ""))
	reader := parse(t, strings.ReplaceAll(form, "%", `{"name":"s","type":"string","default":"`+strings.Repeat("x", 1000)+`"}`))
	plan, err := avrobin.NewPlan(writer, reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Reset(avrobin.NewReader(), append(binary.AppendVarint(nil, 20_000), 0)); !errors.Is(err, avrobin.ErrLimit) {
		t.Errorf("got %v", err)
	}
}
