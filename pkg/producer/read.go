package producer

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// reader reads the next value of a document into v.
type reader func(s *scanner, v reflect.Value) *DecodeError

// reading makes the readers of a type, once for all documents of that type.
type reading struct {
	strict bool                     // fields tagged as required are
	made   map[reflect.Type]*reader // types that refer to themselves
}

// null steps over null if it is next.
func (s *scanner) null() bool { return s.peek() == 'n' && s.literal("null") == nil }

// of is the reader of a type.
func (r reading) of(t reflect.Type) (reader, error) {
	if r.made == nil {
		r.made = map[reflect.Type]*reader{}
	}
	if made, ok := r.made[t]; ok {
		return func(s *scanner, v reflect.Value) *DecodeError { return (*made)(s, v) }, nil
	}
	r.made[t] = new(reader)
	read, err := r.kind(t)
	if err != nil {
		return nil, err
	}
	*r.made[t] = func(s *scanner, v reflect.Value) *DecodeError {
		if s.null() { // as if it was not there; required ones look before
			v.SetZero()
			return nil
		}
		return read(s, v)
	}
	return *r.made[t], nil
}

func (r reading) kind(t reflect.Type) (reader, error) {
	switch ptr := reflect.PointerTo(t); {
	case t == reflect.TypeFor[json.Number]():
		return readNumber, nil
	case ptr.Implements(reflect.TypeFor[json.Unmarshaler]()):
		return readUnmarshaler, nil
	case ptr.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return readText, nil
	}
	switch t.Kind() {
	case reflect.String:
		return readString, nil
	case reflect.Bool:
		return readBool, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return readInt, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return readUint, nil
	case reflect.Pointer:
		return r.pointer(t)
	case reflect.Slice:
		return r.slice(t)
	case reflect.Map:
		return r.mapOf(t)
	case reflect.Struct:
		return r.structOf(t)
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return readAny, nil
		}
	}
	return nil, fmt.Errorf("decoding JSON: into %s: not a type to decode into", t)
}

func readNumber(s *scanner, v reflect.Value) *DecodeError {
	if got := s.got(); got != "a number" {
		return &DecodeError{Want: "a number", Got: got}
	}
	n, err := s.number()
	v.SetString(n)
	return err
}

func readString(s *scanner, v reflect.Value) *DecodeError {
	text, err := s.text()
	v.SetString(text)
	return err
}

func readBool(s *scanner, v reflect.Value) *DecodeError {
	if got := s.got(); got != "a boolean" {
		return &DecodeError{Want: "true or false", Got: got}
	}
	yes := s.peek() == 't'
	v.SetBool(yes)
	return s.literal(strconv.FormatBool(yes))
}

func readInt(s *scanner, v reflect.Value) *DecodeError {
	text, err := s.number()
	if err != nil {
		return err
	}
	n, bad := strconv.ParseInt(text, 10, v.Type().Bits())
	if bad != nil {
		return &DecodeError{Want: "a whole number of " + strconv.Itoa(v.Type().Bits()) + " bits", Got: "another number"}
	}
	v.SetInt(n)
	return nil
}

func readUint(s *scanner, v reflect.Value) *DecodeError {
	text, err := s.number()
	if err != nil {
		return err
	}
	n, bad := strconv.ParseUint(text, 10, v.Type().Bits())
	if bad != nil {
		return &DecodeError{Want: "a whole number of " + strconv.Itoa(v.Type().Bits()) + " bits, not negative", Got: "another number"}
	}
	v.SetUint(n)
	return nil
}

// readUnmarshaler hands the checked bytes of one value to the type's own method.
func readUnmarshaler(s *scanner, v reflect.Value) *DecodeError {
	s.space()
	start, got := s.i, s.got()
	if err := s.skip(); err != nil {
		return err
	}
	own, ok := v.Addr().Interface().(json.Unmarshaler)
	if !ok || own.UnmarshalJSON(s.b[start:s.i]) != nil { // its error may quote the value
		return &DecodeError{Want: named(v.Type()), Got: other(got)}
	}
	return nil
}

func readText(s *scanner, v reflect.Value) *DecodeError {
	got := s.got()
	text, err := s.text()
	if err != nil {
		err.Want = named(v.Type())
		return err
	}
	own, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	if !ok || own.UnmarshalText([]byte(text)) != nil {
		return &DecodeError{Want: named(v.Type()), Got: other(got)}
	}
	return nil
}

// other is "another string" for "a string": the kind fits, the content does not.
func other(got string) string {
	_, kind, found := strings.Cut(got, " ")
	if !found {
		return got
	}
	return "another " + kind
}

// named says what a type of its own is, by its name: Decimal is "a decimal".
func named(t reflect.Type) string {
	if t == reflect.TypeFor[time.Time]() {
		return "an RFC 3339 time"
	}
	name := strings.ToLower(t.Name())
	if name == "" {
		return "a value"
	}
	if strings.ContainsRune("aeiou", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}

func readAny(s *scanner, v reflect.Value) *DecodeError {
	s.space()
	start := s.i
	if err := s.skip(); err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(s.b[start:s.i])))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return &DecodeError{Want: "a JSON value"}
	}
	v.Set(reflect.ValueOf(tree))
	return nil
}

func (r reading) pointer(t reflect.Type) (reader, error) {
	read, err := r.of(t.Elem())
	if err != nil {
		return nil, err
	}
	return func(s *scanner, v reflect.Value) *DecodeError {
		v.Set(reflect.New(t.Elem()))
		return read(s, v.Elem())
	}, nil
}

func (r reading) slice(t reflect.Type) (reader, error) {
	read, err := r.of(t.Elem())
	if err != nil {
		return nil, err
	}
	return func(s *scanner, v reflect.Value) *DecodeError {
		list := reflect.MakeSlice(t, 0, 0)
		if err := s.array(func(int) *DecodeError {
			element := reflect.New(t.Elem()).Elem()
			if err := read(s, element); err != nil {
				return err
			}
			list = reflect.Append(list, element)
			return nil
		}); err != nil {
			return err
		}
		v.Set(list)
		return nil
	}, nil
}

func (r reading) mapOf(t reflect.Type) (reader, error) {
	if t.Key().Kind() != reflect.String {
		return nil, fmt.Errorf("decoding JSON: into %s: want map[string]T", t)
	}
	read, err := r.of(t.Elem())
	if err != nil {
		return nil, err
	}
	return func(s *scanner, v reflect.Value) *DecodeError {
		m := reflect.MakeMap(t)
		if err := s.object(func(key string) *DecodeError {
			element := reflect.New(t.Elem()).Elem()
			if err := read(s, element); err != nil {
				return err
			}
			m.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), element)
			return nil
		}); err != nil {
			return err
		}
		v.Set(m)
		return nil
	}, nil
}

// field is one field of a struct in a document.
type field struct {
	name     string
	at       []int // index path: embedded structs are part of their outer one
	read     reader
	required bool
}

func (r reading) structOf(t reflect.Type) (reader, error) {
	fields := map[string]field{}
	var required []string // in order of declaration, so that an error is always the same one
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		read, err := r.of(f.Type)
		if err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", f.Name, t, err)
		}
		tag := f.Tag.Get("spine")
		if tag != "" && tag != "required" {
			return nil, fmt.Errorf("field %s of %s: tag spine:%q: want required", f.Name, t, tag)
		}
		fields[name] = field{name: name, at: f.Index, read: read, required: r.strict && tag != ""}
		if fields[name].required {
			required = append(required, name)
		}
	}
	return func(s *scanner, v reflect.Value) *DecodeError { return readStruct(s, v, fields, required) }, nil
}

func readStruct(s *scanner, v reflect.Value, fields map[string]field, required []string) *DecodeError {
	there := map[string]bool{}
	if err := s.object(func(key string) *DecodeError {
		f, known := fields[key]
		if !known {
			return s.skip()
		}
		if f.required && s.null() {
			return &DecodeError{Want: "a value, it is required", Got: "null"}
		}
		there[key] = true
		to, err := v.FieldByIndexErr(f.at)
		if err != nil {
			return &DecodeError{Want: "a struct without embedded pointers"}
		}
		return f.read(s, to)
	}); err != nil {
		return err
	}
	for _, name := range required {
		if !there[name] {
			return &DecodeError{Path: name, Want: "a value, it is required", Got: "nothing"}
		}
	}
	return nil
}
