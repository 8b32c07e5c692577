package avrobin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/hamba/avro/v2"
)

// ErrIncompatible is the class of a writer's schema that cannot be read as the
// reader's: what is allowed inside a major is a field added or removed with a
// default, and a new enum symbol.
var ErrIncompatible = errors.New("incompatible")

// maxConverted bounds a record after conversion, defaults included.
const maxConverted = 5 << 18

// Plan reads records of one revision of a schema as those of another. It is made
// once from the writer's schema and says what becomes of each value: fields that both
// know are taken in the writer's order, unknown ones are skipped, missing ones get
// their default, unknown enum symbols become the reader's default. Nothing is
// promoted, and logical types, decimal scales among them, are the same or refused. A
// Plan is safe for concurrent use.
type Plan struct {
	convert conversion
	same    bool // the encodings are equal
}

// conversion reads a value as the writer's and appends it as the reader's.
type conversion func(r *Reader, out []byte) []byte

// NewPlan makes the plan, or an error of class ErrIncompatible that names the field.
// reader is a schema that Go code was generated for: its types do not recur.
func NewPlan(writer, reader avro.Schema) (*Plan, error) {
	convert, same, err := plan(writer, reader)
	if err != nil {
		return nil, err
	}
	return &Plan{convert: convert, same: same}, nil
}

// Reset begins a record of the writer's schema; from then on r reads it as one of the
// reader's.
func (p *Plan) Reset(r *Reader, data []byte) error {
	if p.same {
		r.Reset(data)
		return nil
	}
	r.reset(data, "") // nothing that converts needs the text
	out := p.convert(r, make([]byte, 0, len(data)+256))
	if err := r.Finish(); err != nil {
		return err
	}
	r.resetOwned(bytes.Clone(out)) // out has room that would stay in use
	return nil
}

// plan answers the step for two types, and whether their encodings are equal.
func plan(writer, reader avro.Schema) (conversion, bool, error) {
	writer, reader = deref(writer), deref(reader)
	if writer.Type() != reader.Type() {
		return nil, false, incompatible("%s cannot be read as %s", writer.Type(), reader.Type())
	}
	switch w := writer.(type) {
	case *avro.RecordSchema:
		return planRecord(w, reader.(*avro.RecordSchema)) //nolint:forcetypeassert // the types are equal
	case *avro.EnumSchema:
		return planEnum(w, reader.(*avro.EnumSchema)) //nolint:forcetypeassert // the types are equal
	case *avro.UnionSchema:
		return planUnion(w, reader.(*avro.UnionSchema)) //nolint:forcetypeassert // the types are equal
	case *avro.ArraySchema:
		item, same, err := plan(w.Items(), reader.(*avro.ArraySchema).Items()) //nolint:forcetypeassert // the types are equal
		return planBlocks(item, false), same, under("[]", err)
	case *avro.MapSchema:
		value, same, err := plan(w.Values(), reader.(*avro.MapSchema).Values()) //nolint:forcetypeassert // the types are equal
		return planBlocks(value, true), same, under("{}", err)
	case *avro.PrimitiveSchema:
		if a, b := logical(w), logical(reader.(*avro.PrimitiveSchema)); a != b { //nolint:forcetypeassert // the types are equal
			return nil, false, incompatible("%s%s cannot be read as %s%s", w.Type(), a, reader.Type(), b)
		}
	case *avro.NullSchema:
	default:
		return nil, false, incompatible("type %s is not supported", writer.Type())
	}
	return keep(writer), true, nil
}

// keep copies a value whose encoding is the reader's too.
func keep(s avro.Schema) conversion {
	return func(r *Reader, out []byte) []byte {
		return append(out, r.Skip(s)...)
	}
}

// field is what becomes of one field of the writer.
type field struct {
	name    string
	skip    avro.Schema // unknown to the reader
	convert conversion
}

func planRecord(writer, reader *avro.RecordSchema) (conversion, bool, error) {
	if writer.Name() != reader.Name() {
		return nil, false, incompatible("record %s cannot be read as %s", writer.FullName(), reader.FullName())
	}
	fields := make([]field, len(writer.Fields()))
	place := map[string]int{} // of the writer's fields
	for i, f := range writer.Fields() {
		fields[i], place[f.Name()] = field{name: f.Name(), skip: f.Type()}, i
	}
	same := len(writer.Fields()) == len(reader.Fields())
	source := make([]int, len(reader.Fields())) // which field of the writer, -1 for the default
	defaults := make([][]byte, len(reader.Fields()))
	for i, f := range reader.Fields() {
		at, found := place[f.Name()]
		if !found {
			text, err := defaultOf(f)
			if err != nil {
				return nil, false, under(f.Name(), err)
			}
			source[i], defaults[i], same = -1, text, false
			continue
		}
		convert, equal, err := plan(writer.Fields()[at].Type(), f.Type())
		if err != nil {
			return nil, false, under(f.Name(), err)
		}
		source[i], same = at, same && equal && at == i
		fields[at].convert = convert
	}
	if same {
		return keep(writer), true, nil
	}
	return recordStep(fields, source, defaults), false, nil
}

// recordStep converts the fields in the writer's order, then lines them up in the
// reader's.
func recordStep(fields []field, source []int, defaults [][]byte) conversion {
	type span struct{ from, to int }
	return func(r *Reader, out []byte) []byte {
		if !r.enter() {
			return out
		}
		begin, spans := len(out), make([]span, len(fields))
		for i, f := range fields {
			r.At(f.name)
			from := len(out)
			if f.convert == nil {
				r.skip(f.skip)
			} else {
				out = f.convert(r, out)
			}
			spans[i] = span{from, len(out)}
		}
		if r.err != nil {
			return out
		}
		r.leave()
		end := len(out)
		for i, at := range source {
			if at < 0 {
				out = append(out, defaults[i]...)
			} else {
				out = append(out, out[spans[at].from:spans[at].to]...)
			}
		}
		out = out[:begin+copy(out[begin:], out[end:])]
		if len(out) > maxConverted {
			r.fail(ErrLimit, "record takes more than %d bytes with its defaults", maxConverted)
		}
		return out
	}
}

func planEnum(writer, reader *avro.EnumSchema) (conversion, bool, error) {
	if writer.Name() != reader.Name() {
		return nil, false, incompatible("enum %s cannot be read as %s", writer.FullName(), reader.FullName())
	}
	other := slices.Index(reader.Symbols(), reader.Default())
	to := make([]int64, len(writer.Symbols()))
	same := true
	for i, symbol := range writer.Symbols() {
		at := slices.Index(reader.Symbols(), symbol)
		if same = same && at == i; at < 0 {
			if at = other; at < 0 {
				return nil, false, incompatible("enum %s has no default for symbol %s", reader.FullName(), symbol)
			}
		}
		to[i] = int64(at)
	}
	return func(r *Reader, out []byte) []byte {
		i := r.index(len(to), "enum symbol")
		if r.err != nil {
			return out
		}
		return binary.AppendVarint(out, to[i]) // zigzag, as Avro's
	}, same, nil
}

func planUnion(writer, reader *avro.UnionSchema) (conversion, bool, error) {
	steps, to := make([]conversion, len(writer.Types())), make([]int64, len(writer.Types()))
	same := len(writer.Types()) == len(reader.Types())
	for i, w := range writer.Types() {
		at := slices.IndexFunc(reader.Types(), func(s avro.Schema) bool { return branch(s) == branch(w) })
		if at < 0 {
			return nil, false, incompatible("union branch %s is not known", branch(w))
		}
		convert, equal, err := plan(w, reader.Types()[at])
		if err != nil {
			return nil, false, err
		}
		steps[i], to[i], same = convert, int64(at), same && equal && at == i
	}
	if len(writer.Types()) != len(reader.Types()) {
		return nil, false, incompatible("union of %d branches cannot be read as one of %d", len(writer.Types()), len(reader.Types()))
	}
	return func(r *Reader, out []byte) []byte {
		i := r.index(len(steps), "union branch")
		if r.err != nil {
			return out
		}
		return steps[i](r, binary.AppendVarint(out, to[i]))
	}, same, nil
}

// branch tells the branches of a union apart.
func branch(s avro.Schema) string {
	if named, ok := deref(s).(avro.NamedSchema); ok {
		return string(named.Type()) + " " + named.Name()
	}
	return string(deref(s).Type())
}

func planBlocks(element conversion, keyed bool) conversion {
	return func(r *Reader, out []byte) []byte {
		r.eachBlock(func(count int) {
			out = binary.AppendVarint(out, int64(count))
		}, func() {
			if keyed {
				from := r.pos
				r.skipPrimitive(avro.String)
				out = append(out, r.data[from:r.pos]...)
			}
			if out = element(r, out); len(out) > maxConverted {
				r.fail(ErrLimit, "record takes more than %d bytes with its defaults", maxConverted)
			}
		})
		return append(out, 0)
	}
}

// logical is the logical type with what belongs to it: " decimal(19,4)".
func logical(s *avro.PrimitiveSchema) string {
	switch l := s.Logical().(type) {
	case nil:
		return ""
	case *avro.DecimalLogicalSchema:
		return fmt.Sprintf(" decimal(%d,%d)", l.Precision(), l.Scale())
	default:
		return " " + string(l.Type())
	}
}

// mismatch is an error of class ErrIncompatible at a place.
type mismatch struct{ path, msg string }

func (e *mismatch) Error() string { return "field " + e.path + ": " + e.msg }
func (e *mismatch) Unwrap() error { return ErrIncompatible }

func incompatible(form string, args ...any) error { return &mismatch{msg: fmt.Sprintf(form, args...)} }

// under puts a field before the place of an error.
func under(name string, err error) error {
	var m *mismatch
	if !errors.As(err, &m) {
		return err
	}
	switch {
	case m.path == "":
		return &mismatch{path: name, msg: m.msg}
	case m.path[0] == '[' || m.path[0] == '{':
		return &mismatch{path: name + m.path, msg: m.msg}
	}
	return &mismatch{path: name + "." + m.path, msg: m.msg}
}
