// Package avrojson shows Avro records as JSON for people and tools, by their schema
// alone, with personal data masked.
package avrojson

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hamba/avro/v2"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/wire/avrobin"
)

// Masked stands in the place of personal data.
const Masked = "***"

// maxJSON bounds the text that a record becomes: names repeat with every element.
const maxJSON = 6 << 20

// Record shows a record of any schema, within the same bounds as reading it. Fields
// keep the order of the schema. Decimals, at their full scale, and longs are strings,
// times RFC 3339 UTC with microseconds, dates ISO 8601, bytes base64. Fields with a
// property pii other than none show as "***" unless unmask is set.
func Record(s avro.Schema, data []byte, unmask bool) (json.RawMessage, error) {
	r := avrobin.NewReader()
	r.Reset(data)
	p := printer{r: r, unmask: unmask}
	p.value(s)
	if err := r.Finish(); err != nil {
		return nil, err
	}
	return p.out, nil
}

// Personal lists the values of the fields of a record whose property pii is other
// than none, as Record shows them; what is neither text nor a number is left out.
func Personal(s avro.Schema, data []byte) ([]string, error) {
	r := avrobin.NewReader()
	r.Reset(data)
	p := printer{r: r, unmask: true, personal: &[]string{}}
	p.value(s)
	if err := r.Finish(); err != nil {
		return nil, err
	}
	return *p.personal, nil
}

type printer struct {
	r        *avrobin.Reader
	out      []byte
	unmask   bool
	personal *[]string // nil = nobody asks
}

// collect adds the leaves of a value of JSON to the personal ones.
func (p *printer) collect(text []byte) {
	var value any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return // cut off: the reader has the error
	}
	p.leaves(value)
}

func (p *printer) leaves(value any) {
	switch v := value.(type) {
	case string:
		*p.personal = append(*p.personal, v)
	case json.Number:
		*p.personal = append(*p.personal, v.String())
	case []any:
		for _, element := range v {
			p.leaves(element)
		}
	case map[string]any:
		for _, element := range v {
			p.leaves(element)
		}
	}
}

func (p *printer) raw(s string) {
	if p.out = append(p.out, s...); len(p.out) > maxJSON {
		p.r.Fail(avrobin.ErrLimit, "more than %d bytes of JSON", maxJSON)
	}
}

func (p *printer) text(s string) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // for people to read
	if err := enc.Encode(s); err != nil {
		p.r.Fail(avrobin.ErrMalformed, "%v", err)
		return
	}
	p.raw(strings.TrimSuffix(b.String(), "\n"))
}

func (p *printer) value(s avro.Schema) {
	if p.r.Err() != nil {
		return
	}
	switch s := deref(s).(type) {
	case *avro.NullSchema:
		p.raw("null")
	case *avro.PrimitiveSchema:
		p.primitive(s)
	case *avro.FixedSchema:
		p.text(base64.StdEncoding.EncodeToString(p.r.Skip(s)))
	case *avro.EnumSchema:
		if i := p.r.Index(len(s.Symbols()), "enum symbol"); p.r.Err() == nil {
			p.text(s.Symbols()[i])
		}
	case *avro.UnionSchema:
		if i := p.r.Index(len(s.Types()), "union branch"); p.r.Err() == nil && p.r.Enter() {
			p.value(s.Types()[i])
			p.r.Leave()
		}
	case *avro.RecordSchema:
		p.record(s)
	case *avro.ArraySchema:
		p.elements("[", "]", func() { p.value(s.Items()) })
	case *avro.MapSchema:
		p.elements("{", "}", func() {
			p.plain(avro.String)
			p.raw(":")
			p.value(s.Values())
		})
	default:
		p.r.Fail(avrobin.ErrMalformed, "type %s is not supported", s.Type())
	}
}

func (p *printer) record(s *avro.RecordSchema) {
	if !p.r.Enter() {
		return
	}
	p.raw("{")
	for i, f := range s.Fields() {
		if i > 0 {
			p.raw(",")
		}
		p.text(f.Name())
		p.raw(":")
		p.r.At(f.Name())
		pii, _ := f.Prop("pii").(string)
		personal := pii != "" && pii != "none"
		if personal && !p.unmask {
			p.r.Skip(f.Type())
			p.text(Masked)
			continue
		}
		begin := len(p.out)
		p.value(f.Type())
		if personal && p.personal != nil {
			p.collect(p.out[begin:])
		}
	}
	p.raw("}")
	p.r.Leave()
}

func (p *printer) elements(open, end string, element func()) {
	p.raw(open)
	first := true
	p.r.Elements(func() {
		if !first {
			p.raw(",")
		}
		first = false
		element()
	})
	p.raw(end)
}

func (p *printer) primitive(s *avro.PrimitiveSchema) {
	var logical avro.LogicalType
	if s.Logical() != nil {
		logical = s.Logical().Type()
	}
	switch logical {
	case avro.Date:
		var v event.Date
		if avrobin.GetDate(&v, p.r); p.r.Err() == nil {
			p.text(v.String())
		}
	case avro.TimestampMicros:
		var v time.Time
		if avrobin.GetTime(&v, p.r); p.r.Err() == nil {
			p.text(v.Format("2006-01-02T15:04:05.000000Z"))
		}
	case avro.UUID:
		var v string
		avrobin.GetUUID(&v, p.r)
		p.text(v)
	default:
		if d, ok := s.Logical().(*avro.DecimalLogicalSchema); ok {
			var v money.Decimal
			avrobin.GetDecimal(&v, p.r, d.Precision(), d.Scale())
			p.text(v.Text(d.Scale()))
			return
		}
		p.plain(s.Type())
	}
}

// plain shows a value by its type alone.
func (p *printer) plain(t avro.Type) {
	switch t {
	case avro.String:
		p.text(read(avrobin.GetString, p.r))
	case avro.Bytes:
		p.text(base64.StdEncoding.EncodeToString(read(avrobin.GetBytes, p.r)))
	case avro.Int:
		p.raw(strconv.Itoa(int(read(avrobin.GetInt, p.r))))
	case avro.Long: // it may pass 2^53, the last that JSON readers hold exactly
		p.text(strconv.FormatInt(read(avrobin.GetLong, p.r), 10))
	case avro.Boolean:
		p.raw(strconv.FormatBool(read(avrobin.GetBool, p.r)))
	case avro.Float:
		p.number(float64(read(avrobin.GetFloat, p.r)), 32)
	case avro.Double:
		p.number(read(avrobin.GetDouble, p.r), 64)
	default:
		p.r.Fail(avrobin.ErrMalformed, "type %s is not supported", t)
	}
}

// read is the value that get reads.
func read[T any](get func(*T, *avrobin.Reader), r *avrobin.Reader) T {
	var v T
	get(&v, r)
	return v
}

func (p *printer) number(v float64, bits int) {
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	p.raw(strconv.FormatFloat(v, format, -1, bits))
}

func deref(s avro.Schema) avro.Schema {
	if ref, ok := s.(*avro.RefSchema); ok {
		return ref.Schema()
	}
	return s
}
