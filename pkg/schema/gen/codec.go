package gen

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hamba/avro/v2"
)

// primitive is how a primitive Avro type looks in Go.
type primitive struct {
	goType string
	codec  string // end of the names Get… and Put… in package avrobin
	min    int    // least bytes of its encoding
	args   string // further arguments of Get and Put
}

// primitiveOf knows the types and logical types that Go code is made for.
func primitiveOf(s *avro.PrimitiveSchema) (primitive, error) {
	logical := avro.LogicalType("")
	if s.Logical() != nil {
		logical = s.Logical().Type()
	}
	switch key := string(s.Type()) + " " + string(logical); key {
	case "string ":
		return primitive{goType: "string", codec: "String", min: 1}, nil
	case "string uuid":
		return primitive{goType: "string", codec: "UUID", min: 1 + 36}, nil
	case "bytes ":
		return primitive{goType: "[]byte", codec: "Bytes", min: 1}, nil
	case "bytes decimal":
		d, ok := s.Logical().(*avro.DecimalLogicalSchema)
		if !ok || d.Precision() > 38 {
			return primitive{}, fmt.Errorf("decimal: want a precision of at most 38")
		}
		return primitive{goType: "money.Decimal", codec: "Decimal", min: 2, args: fmt.Sprintf(", %d, %d", d.Precision(), d.Scale())}, nil
	case "boolean ":
		return primitive{goType: "bool", codec: "Bool", min: 1}, nil
	case "int ":
		return primitive{goType: "int32", codec: "Int", min: 1}, nil
	case "int date":
		return primitive{goType: "event.Date", codec: "Date", min: 1}, nil
	case "long ":
		return primitive{goType: "int64", codec: "Long", min: 1}, nil
	case "long timestamp-micros":
		return primitive{goType: "time.Time", codec: "Time", min: 1}, nil
	case "float ":
		return primitive{goType: "float32", codec: "Float", min: 4}, nil
	case "double ":
		return primitive{goType: "float64", codec: "Double", min: 8}, nil
	default:
		return primitive{}, fmt.Errorf("type %s is not supported", strings.TrimSpace(key))
	}
}

// recordCodec writes EncodeAvro and DecodeAvro of a record.
func (u *unit) recordCodec(name string, s *avro.RecordSchema) error {
	u.printf("// EncodeAvro writes the fields in the order of the schema.\n")
	u.printf("func (x %s) EncodeAvro(w *avrobin.Writer) {\n\tif !w.Enter() {\n\t\treturn\n\t}\n", name)
	for _, f := range s.Fields() {
		line, err := u.put("x."+camel(f.Name(), "_"), f)
		if err != nil {
			return err
		}
		u.printf("\t%s\n", line)
	}
	u.printf("\tw.Leave()\n}\n\n")
	u.printf("// DecodeAvro reads what EncodeAvro writes.\n")
	u.printf("func (x *%s) DecodeAvro(r *avrobin.Reader) {\n\tif !r.Enter() {\n\t\treturn\n\t}\n", name)
	for _, f := range s.Fields() {
		line, err := u.get("x."+camel(f.Name(), "_"), f)
		if err != nil {
			return err
		}
		u.printf("\t%s\n", line)
	}
	u.printf("\tr.Leave()\n}\n\n")
	return nil
}

// metaCodec writes the codec of the record that is event.Meta in Go.
func (u *unit) metaCodec(s *avro.RecordSchema) error {
	u.printf("// PutMeta writes event.Meta as the record %s.\n", metaRecord)
	u.printf("func PutMeta(x *event.Meta, w *avrobin.Writer) {\n\tif !w.Enter() {\n\t\treturn\n\t}\n")
	var origin *avro.EnumSchema
	for _, f := range s.Fields() {
		line, err := u.put("x."+camel(f.Name(), "_"), f)
		if err != nil {
			return err
		}
		u.printf("\t%s\n", line)
		if enum, ok := deref(f.Type()).(*avro.EnumSchema); ok && enum.FullName() == metaOrigin {
			origin = enum
		}
	}
	if origin == nil {
		return fmt.Errorf("%s has no field of type %s", metaRecord, metaOrigin)
	}
	u.printf("\tw.Leave()\n}\n\n// GetMeta reads what PutMeta writes.\n")
	u.printf("func GetMeta(x *event.Meta, r *avrobin.Reader) {\n\tif !r.Enter() {\n\t\treturn\n\t}\n")
	for _, f := range s.Fields() {
		line, err := u.get("x."+camel(f.Name(), "_"), f)
		if err != nil {
			return err
		}
		u.printf("\t%s\n", line)
	}
	symbols := quoted(origin.Symbols())
	u.printf("\tr.Leave()\n}\n\n// PutOrigin writes the enum %s.\n", metaOrigin)
	u.printf("func PutOrigin(v *event.Origin, w *avrobin.Writer) { avrobin.PutEnum(v, w, %s) }\n\n", symbols)
	u.printf("// GetOrigin reads what PutOrigin writes.\n")
	u.printf("func GetOrigin(v *event.Origin, r *avrobin.Reader) { avrobin.GetEnum(v, r, %s) }\n", symbols)
	return nil
}

func (u *unit) enumCodec(name string, s *avro.EnumSchema) {
	symbols := quoted(s.Symbols())
	u.printf("// EncodeAvro writes the place of the symbol.\n")
	u.printf("func (v %s) EncodeAvro(w *avrobin.Writer) { avrobin.PutEnum(&v, w, %s) }\n\n", name, symbols)
	u.printf("// DecodeAvro reads what EncodeAvro writes.\n")
	u.printf("func (v *%s) DecodeAvro(r *avrobin.Reader) { avrobin.GetEnum(v, r, %s) }\n\n", name, symbols)
}

func quoted(symbols []string) string {
	out := make([]string, len(symbols))
	for i, s := range symbols {
		out[i] = strconv.Quote(s)
	}
	return strings.Join(out, ", ")
}

// put is the statement that writes a field.
func (u *unit) put(x string, f *avro.Field) (string, error) {
	at := fmt.Sprintf("w.At(%q)", f.Name())
	var line string
	var err error
	switch s := deref(f.Type()).(type) {
	case *avro.ArraySchema:
		line, err = u.compose("avrobin.PutArray(%s, %s, %s)", "w", s.Items(), x, at)
	case *avro.MapSchema:
		line, err = u.compose("avrobin.PutMap(%s, %s, %s)", "w", s.Values(), x, at)
	case *avro.UnionSchema:
		var value avro.Schema
		if value, err = nullable(s); err == nil {
			line, err = u.compose("avrobin.PutNull(%s, %s, %s)", "w", value, x, at)
		}
	default:
		line, err = u.call("w", s, x, at)
	}
	if err != nil {
		return "", fmt.Errorf("field %s: %w", f.Name(), err)
	}
	return line, nil
}

// get is the statement that reads a field.
func (u *unit) get(x string, f *avro.Field) (string, error) {
	at := fmt.Sprintf("r.At(%q)", f.Name())
	var line string
	var err error
	switch s := deref(f.Type()).(type) {
	case *avro.ArraySchema:
		form := fmt.Sprintf("avrobin.GetArray(&%%s, %%s, %d, %%s)", least(s.Items()))
		line, err = u.compose(form, "r", s.Items(), x, at)
	case *avro.MapSchema:
		form := fmt.Sprintf("avrobin.GetMap(&%%s, %%s, %d, %%s)", least(s.Values()))
		line, err = u.compose(form, "r", s.Values(), x, at)
	case *avro.UnionSchema:
		var value avro.Schema
		if value, err = nullable(s); err == nil {
			line, err = u.compose("avrobin.GetNull(&%s, %s, %s)", "r", value, x, at)
		}
	default:
		line, err = u.call("r", s, x, at)
	}
	if err != nil {
		return "", fmt.Errorf("field %s: %w", f.Name(), err)
	}
	return line, nil
}

func (u *unit) compose(form, dir string, element avro.Schema, x, at string) (string, error) {
	fn, err := u.element(dir, element)
	return fmt.Sprintf(form, x, at, fn), err
}

// call writes ("w") or reads ("r") one value that is neither array, map nor union.
func (u *unit) call(dir string, s avro.Schema, x, at string) (string, error) {
	switch s := s.(type) {
	case *avro.PrimitiveSchema:
		p, err := primitiveOf(s)
		return fmt.Sprintf("avrobin.%s%s(&%s, %s%s)", verb(dir), p.codec, x, at, p.args), err
	case avro.NamedSchema:
		if fn := u.foreign(dir, s); fn != "" {
			return fmt.Sprintf("%s(&%s, %s)", fn, x, at), nil
		}
		return fmt.Sprintf("%s.%s(%s)", x, method(dir), at), nil
	}
	return "", fmt.Errorf("type %s is not supported", s.Type())
}

// element is the function that writes or reads an element, func(*T, *Writer) or
// func(*T, *Reader).
func (u *unit) element(dir string, s avro.Schema) (string, error) {
	typ, err := u.goType(s)
	if err != nil {
		return "", err
	}
	switch s := deref(s).(type) {
	case *avro.PrimitiveSchema:
		p, err := primitiveOf(s)
		if err != nil || p.args == "" {
			return "avrobin." + verb(dir) + p.codec, err
		}
		line, err := u.call(dir, s, "*v", dir)
		line = strings.Replace(line, "&*v", "v", 1)
		return fmt.Sprintf("func(v *%s, %s) { %s }", typ, parameter(dir), line), err
	case avro.NamedSchema:
		if fn := u.foreign(dir, s); fn != "" {
			return fn, nil
		}
		return fmt.Sprintf("(*%s).%s", typ, method(dir)), nil
	}
	return "", fmt.Errorf("%s inside an array, map or union is not supported: put it into a record", s.Type())
}

// foreign is the function for types of package event, which have no codec of their own.
func (u *unit) foreign(dir string, s avro.NamedSchema) string {
	name := map[string]string{metaRecord: "Meta", metaOrigin: "Origin"}[s.FullName()]
	if name == "" {
		return ""
	}
	if u.pkg == "common" {
		return verb(dir) + name
	}
	return "common." + verb(dir) + name
}

func verb(dir string) string {
	if dir == "w" {
		return "Put"
	}
	return "Get"
}

func method(dir string) string {
	if dir == "w" {
		return "EncodeAvro"
	}
	return "DecodeAvro"
}

func parameter(dir string) string {
	if dir == "w" {
		return "w *avrobin.Writer"
	}
	return "r *avrobin.Reader"
}

// least is the number of bytes that a value takes at least. Types do not recur: Go
// code is made for finite ones only.
func least(s avro.Schema) int {
	switch s := deref(s).(type) {
	case *avro.PrimitiveSchema:
		p, _ := primitiveOf(s)
		return p.min
	case *avro.RecordSchema:
		n := 0
		for _, f := range s.Fields() {
			n += least(f.Type())
		}
		return n
	default: // an index or a count
		return 1
	}
}
