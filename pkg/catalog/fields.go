package catalog

import (
	"fmt"

	"github.com/hamba/avro/v2"
)

// fieldsOf flattens a payload into its leaves and inner nodes, in the order of the
// schema: totals, totals.tax, lines[], lines[].sku.
func fieldsOf(s avro.Schema) []Field {
	w := walker{fields: []Field{}, open: map[string]bool{}}
	w.walk("", s)
	return w.fields
}

type walker struct {
	fields []Field
	open   map[string]bool // records that are being walked: a type may contain itself
}

func (w *walker) walk(prefix string, s avro.Schema) {
	rec, ok := recordIn(s)
	if !ok || w.open[rec.FullName()] {
		return
	}
	w.open[rec.FullName()] = true
	defer delete(w.open, rec.FullName())
	for _, f := range rec.Fields() {
		path := prefix + f.Name()
		pii, _ := f.Prop("pii").(string)
		w.fields = append(w.fields, Field{Path: path, Type: typeName(f.Type()), PII: pii, Doc: f.Doc()})
		inner, suffix := within(f.Type())
		w.walk(path+suffix+".", inner)
	}
}

// within strips nullability, arrays and maps, and says which stood around.
func within(s avro.Schema) (avro.Schema, string) {
	switch s := s.(type) {
	case *avro.UnionSchema:
		if s.Nullable() {
			_, i := s.Indices()
			return within(s.Types()[i])
		}
	case *avro.ArraySchema:
		inner, suffix := within(s.Items())
		return inner, "[]" + suffix
	case *avro.MapSchema:
		inner, suffix := within(s.Values())
		return inner, "{}" + suffix
	case *avro.RefSchema:
		return s.Schema(), ""
	}
	return s, ""
}

func recordIn(s avro.Schema) (*avro.RecordSchema, bool) {
	if ref, ok := s.(*avro.RefSchema); ok {
		rec, ok := ref.Schema().(*avro.RecordSchema)
		return rec, ok
	}
	rec, ok := s.(*avro.RecordSchema)
	return rec, ok
}

// typeName is a type for people: decimal(19,4), timestamp-micros, Money?, Line[].
func typeName(s avro.Schema) string {
	switch s := s.(type) {
	case *avro.UnionSchema:
		if s.Nullable() {
			_, i := s.Indices()
			return typeName(s.Types()[i]) + "?"
		}
		return "union"
	case *avro.ArraySchema:
		return typeName(s.Items()) + "[]"
	case *avro.MapSchema:
		return "map of " + typeName(s.Values())
	case *avro.RefSchema:
		return s.Schema().Name()
	case avro.NamedSchema:
		return s.Name()
	case avro.LogicalTypeSchema:
		switch l := s.Logical().(type) {
		case nil:
		case *avro.DecimalLogicalSchema:
			return fmt.Sprintf("decimal(%d,%d)", l.Precision(), l.Scale())
		default:
			return string(l.Type())
		}
	}
	return string(s.Type())
}
