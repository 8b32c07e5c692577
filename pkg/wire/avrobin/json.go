package avrobin

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
)

// Masked stands in the place of personal data.
const Masked = "***"

// maxJSON bounds the text that a record becomes: names repeat with every element.
const maxJSON = 6 << 20

// JSON shows a record of any schema, within the same bounds as reading it. Fields
// keep the order of the schema. Decimals, at their full scale, and longs are strings,
// times RFC 3339 UTC with microseconds, dates ISO 8601, bytes base64. Fields with a
// property pii other than none show as "***" unless unmask is set.
func JSON(s avro.Schema, data []byte, unmask bool) (json.RawMessage, error) {
	r := NewReader()
	r.Reset(data)
	p := printer{r: r, unmask: unmask}
	p.value(s)
	if err := r.Finish(); err != nil {
		return nil, err
	}
	return p.out, nil
}

type printer struct {
	r      *Reader
	out    []byte
	unmask bool
}

func (p *printer) raw(s string) {
	if p.out = append(p.out, s...); len(p.out) > maxJSON {
		p.r.fail(ErrLimit, "more than %d bytes of JSON", maxJSON)
	}
}

func (p *printer) text(s string) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // for people to read
	if err := enc.Encode(s); err != nil {
		p.r.fail(ErrMalformed, "%v", err)
		return
	}
	p.raw(strings.TrimSuffix(b.String(), "\n"))
}

func (p *printer) value(s avro.Schema) {
	if p.r.err != nil {
		return
	}
	switch s := deref(s).(type) {
	case *avro.NullSchema:
		p.raw("null")
	case *avro.PrimitiveSchema:
		p.primitive(s)
	case *avro.FixedSchema:
		if n := p.r.pos; p.r.take(s.Size()) {
			p.text(base64.StdEncoding.EncodeToString(p.r.data[n:p.r.pos]))
		}
	case *avro.EnumSchema:
		if i := p.r.index(len(s.Symbols()), "enum symbol"); p.r.err == nil {
			p.text(s.Symbols()[i])
		}
	case *avro.UnionSchema:
		if i := p.r.index(len(s.Types()), "union branch"); p.r.err == nil && p.r.enter() {
			p.value(s.Types()[i])
			p.r.leave()
		}
	case *avro.RecordSchema:
		p.record(s)
	case *avro.ArraySchema:
		p.elements("[", "]", func() { p.value(s.Items()) })
	case *avro.MapSchema:
		p.elements("{", "}", func() {
			p.text(p.r.string())
			p.raw(":")
			p.value(s.Values())
		})
	default:
		p.r.fail(ErrMalformed, "type %s is not supported", s.Type())
	}
}

func (p *printer) record(s *avro.RecordSchema) {
	if !p.r.enter() {
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
		if pii, _ := f.Prop("pii").(string); !p.unmask && pii != "" && pii != "none" {
			p.r.skip(f.Type())
			p.text(Masked)
			continue
		}
		p.value(f.Type())
	}
	p.raw("}")
	p.r.leave()
}

func (p *printer) elements(open, end string, element func()) {
	p.raw(open)
	first := true
	p.r.blocks(func() {
		if !first {
			p.raw(",")
		}
		first = false
		element()
	})
	p.raw(end)
}

func (p *printer) primitive(s *avro.PrimitiveSchema) {
	switch logical(s) + " " + string(s.Type()) {
	case " date int":
		var v event.Date
		if GetDate(&v, p.r); p.r.err == nil {
			p.text(v.String())
		}
	case " timestamp-micros long":
		var v time.Time
		if GetTime(&v, p.r); p.r.err == nil {
			p.text(v.Format("2006-01-02T15:04:05.000000Z"))
		}
	case " uuid string":
		var v string
		GetUUID(&v, p.r)
		p.text(v)
	default:
		if d, ok := s.Logical().(*avro.DecimalLogicalSchema); ok {
			var v money.Decimal
			GetDecimal(&v, p.r, d.Precision(), d.Scale())
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
		p.text(p.r.string())
	case avro.Bytes:
		p.text(base64.StdEncoding.EncodeToString(p.r.bytes()))
	case avro.Int:
		p.raw(strconv.Itoa(int(p.r.int())))
	case avro.Long: // it may pass 2^53, the last that JSON readers hold exactly
		p.text(strconv.FormatInt(p.r.long(), 10))
	case avro.Boolean:
		p.raw(strconv.FormatBool(p.r.bool()))
	case avro.Float:
		p.number(float64(p.r.float()), 32)
	case avro.Double:
		p.number(p.r.double(), 64)
	default:
		p.r.fail(ErrMalformed, "type %s is not supported", t)
	}
}

func (p *printer) number(v float64, bits int) {
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	p.raw(strconv.FormatFloat(v, format, -1, bits))
}
