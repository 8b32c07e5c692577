package avrobin

import (
	"unicode/utf8"

	"github.com/hamba/avro/v2"
)

// skip passes over one value of a schema. It holds to the same bounds as reading: a
// size that a block states is checked, never trusted.
func (r *Reader) skip(s avro.Schema) {
	if r.err != nil {
		return
	}
	switch s := deref(s).(type) {
	case *avro.NullSchema:
	case *avro.PrimitiveSchema:
		r.skipPrimitive(s.Type())
	case *avro.FixedSchema:
		r.take(s.Size())
	case *avro.EnumSchema:
		r.index(len(s.Symbols()), "enum symbol")
	case *avro.UnionSchema:
		if i := r.index(len(s.Types()), "union branch"); r.err == nil && r.enter() {
			r.skip(s.Types()[i])
			r.leave()
		}
	case *avro.RecordSchema:
		if !r.enter() {
			return
		}
		for _, f := range s.Fields() {
			r.At(f.Name()).skip(f.Type())
		}
		r.leave()
	case *avro.ArraySchema:
		r.Elements(func() { r.skip(s.Items()) })
	case *avro.MapSchema:
		r.Elements(func() {
			r.skipPrimitive(avro.String)
			r.skip(s.Values())
		})
	default:
		r.fail(ErrMalformed, "type %s is not supported", s.Type())
	}
}

func (r *Reader) skipPrimitive(t avro.Type) {
	switch t {
	case avro.String:
		if !utf8.Valid(r.bytes()) {
			r.fail(ErrMalformed, "string is not UTF-8")
		}
	case avro.Bytes:
		r.bytes()
	case avro.Int:
		r.int()
	case avro.Long:
		r.long()
	case avro.Boolean:
		r.bool()
	case avro.Float:
		r.float()
	case avro.Double:
		r.double()
	default:
		r.fail(ErrMalformed, "type %s is not supported", t)
	}
}

// Skip passes over one value of any schema and answers its bytes.
func (r *Reader) Skip(s avro.Schema) []byte {
	from := r.pos
	r.skip(s)
	return r.data[from:r.pos]
}

// Elements calls element for each element of an array or entry of a map.
func (r *Reader) Elements(element func()) { r.eachBlock(func(int) {}, element) }

// Index reads the number of a union branch or enum symbol, of which there are count.
func (r *Reader) Index(count int, what string) int { return r.index(count, what) }

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Fail ends reading with an error of a class at the present place.
func (r *Reader) Fail(class error, form string, args ...any) { r.fail(class, form, args...) }

// eachBlock calls begin with the count of each block, then element for each element.
func (r *Reader) eachBlock(begin func(count int), element func()) {
	if !r.enter() {
		return
	}
	for n := 0; ; {
		count, end := r.block(0)
		if count == 0 {
			break
		}
		begin(count)
		for i := 0; i < count && r.err == nil; i++ {
			n++
			r.steps[r.depth] = step{index: n}
			element()
		}
		r.blockEnd(end)
	}
	if r.err == nil {
		r.leave()
	}
}

// deref is the named type that a schema stands for.
func deref(s avro.Schema) avro.Schema {
	if ref, ok := s.(*avro.RefSchema); ok {
		return ref.Schema()
	}
	return s
}
