package avrobin

import "github.com/hamba/avro/v2"

// defaultOf is the encoding of a field's default. A field without one is an error of
// class ErrIncompatible.
func defaultOf(f *avro.Field) ([]byte, error) {
	if !f.HasDefault() {
		return nil, incompatible("is missing in the writer's schema and has no default")
	}
	w := NewWriter()
	w.Reset()
	putAny(w, f.Type(), f.Default())
	text, err := w.Finish()
	if err != nil {
		return nil, incompatible("default: %v", err)
	}
	return text, nil
}

// putAny writes a value as hamba holds the defaults of a schema.
func putAny(w *Writer, s avro.Schema, v any) {
	ok := true
	switch s := deref(s).(type) {
	case *avro.NullSchema:
	case *avro.PrimitiveSchema:
		ok = putPrimitive(w, v)
	case *avro.EnumSchema:
		var symbol string
		if symbol, ok = v.(string); ok {
			PutEnum(&symbol, w, s.Symbols()...)
		}
	case *avro.UnionSchema: // a default is of the first branch
		w.raw.WriteLong(0)
		putAny(w, s.Types()[0], v)
	case *avro.RecordSchema:
		var values map[string]any
		values, ok = v.(map[string]any)
		for _, f := range s.Fields() {
			putAny(w, f.Type(), values[f.Name()])
		}
	case *avro.ArraySchema:
		var values []any
		values, ok = v.([]any)
		PutArray(values, w, func(v *any, w *Writer) { putAny(w, s.Items(), *v) })
	case *avro.MapSchema:
		var values map[string]any
		values, ok = v.(map[string]any)
		PutMap(values, w, func(v *any, w *Writer) { putAny(w, s.Values(), *v) })
	default:
		ok = false
	}
	if !ok {
		w.fail(ErrValue, "%v is no %s", v, s.Type())
	}
}

func putPrimitive(w *Writer, v any) bool {
	switch v := v.(type) {
	case string:
		PutString(&v, w)
	case []byte:
		PutBytes(&v, w)
	case bool:
		PutBool(&v, w)
	case int:
		w.raw.WriteLong(int64(v)) // as an int
	case int64:
		PutLong(&v, w)
	case float32:
		PutFloat(&v, w)
	case float64:
		PutDouble(&v, w)
	default:
		return false
	}
	return true
}
