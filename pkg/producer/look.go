package producer

import (
	"net/http"
	"unicode"
	"unicode/utf8"
)

// JSONField looks at one field of a JSON object: JSONField("id"), or, one level
// further down for each name more, JSONField("order_edit", "order_id"). A string is
// answered as it reads, a number as it is written. It is "" where the field is not
// found, is neither, is longer than 200 bytes or not printable, or where the
// document is not readable up to it: looking is no decoding, and what is "" here is
// found out later, when the delivery is translated.
func JSONField(path ...string) Look {
	return func(_ http.Header, body []byte) string {
		s := &scanner{b: body, loose: true}
		word, _ := s.find(path)
		if len(word) > maxWord || !utf8.ValidString(word) {
			return ""
		}
		for _, r := range word {
			if !unicode.IsPrint(r) {
				return ""
			}
		}
		return word
	}
}

// stop ends a walk early.
const stop = "nothing more"

func (s *scanner) find(path []string) (string, bool) {
	if len(path) == 0 {
		switch s.got() {
		case "a string":
			word, err := s.text()
			return word, err == nil
		case "a number":
			word, err := s.number()
			return word, err == nil
		}
		return "", false
	}
	word, found := "", false
	if s.peek() != '{' {
		return "", false
	}
	_ = s.object(func(key string) *DecodeError { // how the rest of the document reads is not asked here
		if key != path[0] {
			return s.skip()
		}
		word, found = s.find(path[1:])
		return &DecodeError{Want: stop}
	})
	return word, found
}
