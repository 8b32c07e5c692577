package producer

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of a JSON document, beside the receiver's cap on its size.
const (
	maxDepth  = 64  // levels of nesting
	maxNumber = 64  // characters of a number
	maxWord   = 200 // bytes of what JSONField answers
)

// scanner walks over one JSON document (RFC 8259). It never recurses deeper than
// maxDepth, and never reads behind the end.
type scanner struct {
	b     []byte
	i     int
	depth int
	loose bool // do not look for duplicate keys
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
}

// peek is the first byte of the next token, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// accept steps over c if it is next.
func (s *scanner) accept(c byte) bool {
	if s.peek() == c && s.i < len(s.b) {
		s.i++
		return true
	}
	return false
}

// got names the kind of the next value; it never quotes it.
func (s *scanner) got() string {
	switch c := s.peek(); {
	case s.i >= len(s.b):
		return "the end of the document"
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-' || c >= '0' && c <= '9':
		return "a number"
	}
	return "something else"
}

func (s *scanner) enter() *DecodeError {
	if s.depth++; s.depth > maxDepth {
		return &DecodeError{Want: "at most 64 levels of nesting"}
	}
	s.i++
	return nil
}

// object walks over an object and calls field with each key, standing before its
// value, which field must consume.
func (s *scanner) object(field func(key string) *DecodeError) *DecodeError {
	if s.peek() != '{' {
		return &DecodeError{Want: "an object", Got: s.got()}
	}
	if err := s.enter(); err != nil {
		return err
	}
	var seen map[string]bool
	if !s.loose {
		seen = map[string]bool{}
	}
	for first := true; !s.accept('}'); first = false {
		if !first && !s.accept(',') {
			return &DecodeError{Want: "a comma or the end of the object", Got: s.got()}
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if !s.accept(':') {
			return under(&DecodeError{Want: "a colon and a value", Got: s.got()}, segment(key))
		}
		if seen[key] {
			return under(&DecodeError{Want: "one value, the key stands there twice"}, segment(key))
		}
		if !s.loose {
			seen[key] = true
		}
		if err := field(key); err != nil {
			return under(err, segment(key))
		}
	}
	s.depth--
	return nil
}

// array walks over an array and calls element standing before each value, which
// element must consume.
func (s *scanner) array(element func(i int) *DecodeError) *DecodeError {
	if s.peek() != '[' {
		return &DecodeError{Want: "an array", Got: s.got()}
	}
	if err := s.enter(); err != nil {
		return err
	}
	for i := 0; !s.accept(']'); i++ {
		if i > 0 && !s.accept(',') {
			return &DecodeError{Want: "a comma or the end of the array", Got: s.got()}
		}
		if err := element(i); err != nil {
			return under(err, index(i))
		}
	}
	s.depth--
	return nil
}

// skip walks over any value and checks it on the way.
func (s *scanner) skip() *DecodeError {
	var err *DecodeError
	switch s.peek() {
	case '{':
		return s.object(func(string) *DecodeError { return s.skip() })
	case '[':
		return s.array(func(int) *DecodeError { return s.skip() })
	case '"':
		_, err = s.text()
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		_, err = s.number()
	}
	return err
}

func (s *scanner) literal(word string) *DecodeError {
	s.space()
	if !strings.HasPrefix(string(s.b[s.i:min(len(s.b), s.i+len(word))]), word) {
		return &DecodeError{Want: "a JSON value", Got: "a misspelt word"}
	}
	s.i += len(word)
	return nil
}

// number is the literal, verbatim.
func (s *scanner) number() (string, *DecodeError) {
	if got := s.got(); got != "a number" {
		if got == "something else" || got == "the end of the document" {
			return "", &DecodeError{Want: "a JSON value", Got: got}
		}
		return "", &DecodeError{Want: "a number", Got: got}
	}
	start := s.i
	if !s.numeral() {
		return "", &DecodeError{Want: "a number as JSON writes it"}
	}
	if s.i-start > maxNumber {
		return "", &DecodeError{Want: "a number of at most 64 characters"}
	}
	return string(s.b[start:s.i]), nil
}

// numeral steps over the characters of a number.
func (s *scanner) numeral() bool {
	s.step("-")
	whole := s.i
	if !s.digits() || s.b[whole] == '0' && s.i > whole+1 {
		return false
	}
	if s.step(".") && !s.digits() {
		return false
	}
	if s.step("eE") {
		s.step("+-")
		return s.digits()
	}
	return true
}

// step steps over one of these characters if it is next, without space before it.
func (s *scanner) step(oneOf string) bool {
	if s.i >= len(s.b) || strings.IndexByte(oneOf, s.b[s.i]) < 0 {
		return false
	}
	s.i++
	return true
}

// digits steps over digits and says whether there was one.
func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// text is a string, its escapes resolved. The document is known to be valid UTF-8.
func (s *scanner) text() (string, *DecodeError) {
	if s.peek() != '"' {
		return "", &DecodeError{Want: "a string", Got: s.got()}
	}
	s.i++
	start := s.i
	var out []byte // nil as long as the text stands verbatim
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			plain := s.b[start:s.i]
			s.i++
			return string(append(out, plain...)), nil
		case c < 0x20:
			return "", &DecodeError{Want: "a string without bare control characters"}
		case c == '\\':
			out = append(out, s.b[start:s.i]...)
			r, ok := s.escape()
			if !ok {
				return "", &DecodeError{Want: "a string with valid escapes and without NUL"}
			}
			out = utf8.AppendRune(out, r)
			start = s.i
		default:
			s.i++
		}
	}
	return "", &DecodeError{Want: "a string", Got: "the end of the document"}
}

// plainEscapes are the escapes of one letter.
const plainEscapes, plainMeant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"

func (s *scanner) escape() (rune, bool) {
	if s.i+1 >= len(s.b) {
		return 0, false
	}
	if at := strings.IndexByte(plainEscapes, s.b[s.i+1]); at >= 0 {
		s.i += 2
		return rune(plainMeant[at]), true
	}
	r, ok := s.unit()
	if ok && utf16.IsSurrogate(r) {
		low, found := s.unit()
		// utf8.RuneError stands for halves that do not fit together.
		r, ok = utf16.DecodeRune(r, low), found
		ok = ok && r != utf8.RuneError
	}
	return r, ok && r != 0 // PostgreSQL has no text with NUL
}

// unit reads \uXXXX.
func (s *scanner) unit() (rune, bool) {
	if s.i+6 > len(s.b) || s.b[s.i] != '\\' || s.b[s.i+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.b[s.i+2 : s.i+6] {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if d < 0 || c < '0' {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	s.i += 6
	return r, true
}
