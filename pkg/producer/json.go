package producer

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// DecodeError says where a document is not what was expected. It names the field
// and the expectation and never quotes a value, so that it can be shown.
type DecodeError struct {
	Path string // "line_items[2].price"; "" = the document itself
	Want string // "a decimal"
	Got  string // the kind of what stands there, "null", "a number"; "" = not said
}

// Error is "line_items[2].price: want a decimal, got null".
func (e *DecodeError) Error() string {
	text := e.Path
	if text == "" {
		text = "body"
	}
	text += ": want " + e.Want
	if e.Got != "" {
		text += ", got " + e.Got
	}
	return text
}

// under puts a segment in front of the path.
func under(e *DecodeError, segment string) *DecodeError {
	if e.Path != "" && e.Path[0] != '[' {
		segment += "."
	}
	return &DecodeError{Path: segment + e.Path, Want: e.Want, Got: e.Got}
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// segment is a key as it stands in a path: short and printable.
func segment(key string) string {
	if len(key) > 64 {
		return "(a long key)"
	}
	for _, r := range key {
		if !unicode.IsPrint(r) || r == '.' || r == '[' {
			return strconv.Quote(key)
		}
	}
	return key
}

// DecodeJSON reads one JSON document into what v points to: strictly, and bounded
// for input from outside. Errors are *DecodeError but for a v that cannot be read
// into.
//
//   - The whole document is checked: valid UTF-8, no duplicate keys, no more than 64
//     levels, numbers of at most 64 characters, no lone surrogates, no NUL, nothing
//     after it.
//   - Names of fields are those of the json tag, in their exact case. Fields that the
//     struct does not know are allowed.
//   - A field tagged `spine:"required"` must be present and not null, in every object
//     that is there, those inside arrays too. "" and [] are present. Any other field
//     that is missing or null keeps its zero value.
//   - Types: structs (embedded ones too), slices, map[string]T, pointers, string, bool,
//     integers (whole numbers in range only), json.Number (verbatim), json.RawMessage,
//     any (numbers as json.Number) and whatever has UnmarshalJSON or UnmarshalText,
//     such as time.Time and decimals. Floats are refused: they are wrong for money.
func DecodeJSON(body []byte, v any) error {
	ptr := reflect.ValueOf(v)
	if ptr.Kind() != reflect.Pointer || ptr.IsNil() {
		return fmt.Errorf("decoding JSON: into %T: want a pointer", v)
	}
	read, err := reading{strict: true}.of(ptr.Type().Elem())
	if err != nil {
		return err
	}
	return document(body, ptr.Elem(), read)
}

// document reads the whole of body by read.
func document(body []byte, v reflect.Value, read reader) error {
	if at := invalidUTF8(body); at >= 0 {
		return &DecodeError{Want: "valid UTF-8", Got: "an invalid byte at offset " + strconv.Itoa(at)}
	}
	s := &scanner{b: body}
	if len(bytes.TrimSpace(body)) == 0 {
		return &DecodeError{Want: "a JSON document", Got: "nothing"}
	}
	if s.null() {
		return &DecodeError{Want: "a JSON document", Got: "null"}
	}
	if err := read(s, v); err != nil {
		return err
	}
	if s.space(); s.i < len(body) {
		return &DecodeError{Want: "one document", Got: "more at offset " + strconv.Itoa(s.i)}
	}
	return nil
}

func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}
