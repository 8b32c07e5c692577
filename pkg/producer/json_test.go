package producer_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/producer"
)

// Decimal stands for a decimal type with a text form of its own.
type Decimal string

func (d *Decimal) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "" || strings.Trim(text, "0123456789.-") != "" {
		return errors.New("not a decimal: " + text)
	}
	*d = Decimal(text)
	return nil
}

type Level struct{ name string }

func (l *Level) UnmarshalText(b []byte) error {
	if string(b) != "high" && string(b) != "low" {
		return errors.New("unknown")
	}
	l.name = string(b)
	return nil
}

type Named struct {
	Name string `json:"name"`
}

type line struct {
	Price    Decimal `json:"price" spine:"required"`
	Quantity int32   `json:"quantity" spine:"required"`
	Children []line  `json:"children"`
}

type order struct {
	Named
	ID        json.Number       `json:"id" spine:"required"`
	Number    int64             `json:"number"`
	Small     uint8             `json:"small"`
	Test      bool              `json:"test"`
	Level     Level             `json:"level"`
	CreatedAt time.Time         `json:"created_at"`
	Note      *string           `json:"note"`
	Lines     []line            `json:"lines"`
	Tags      map[string]string `json:"tags"`
	Any       any               `json:"any"`
	Raw       json.RawMessage   `json:"raw"`
	Next      *order            `json:"next"`
	Hidden    string            `json:"-"`
}

func TestDecodeJSON(t *testing.T) {
	t.Parallel()
	note := "a\u00e9\U0001F600\n\"/"
	for body, want := range map[string]order{
		`{"id":820982911946154508}`: {ID: "820982911946154508"},
		`{"id":1e400}`:              {ID: "1e400"},
		"\n{ \"id\" : -0.50 , \"name\":\"x\",\"Hidden\":\"a\", \"ID\": 4}\t": {ID: "-0.50", Named: Named{"x"}},
		`{"id":1,"note":"aé\uD83D\ude00\n\"\/"}`:                             {ID: "1", Note: &note},
		`{"id":1,"note":null,"lines":null,"level":null,"created_at":null}`:   {ID: "1"},
		`{"id":1,"lines":[{"price":"1.10","quantity":2,"children":[{"price":3,"quantity":-1}]}]}`: {ID: "1", Lines: []line{
			{Price: "1.10", Quantity: 2, Children: []line{{Price: "3", Quantity: -1}}},
		}},
		`{"id":1,"lines":[],"tags":{"a":"b","c":null},"test":true,"small":255,"number":-9223372036854775808}`: {
			ID: "1", Lines: []line{}, Tags: map[string]string{"a": "b", "c": ""}, Test: true, Small: 255, Number: -1 << 63,
		},
		`{"id":1,"any":{"n":[12345678901234567890.12,null]},"raw":{"x": 1 },"next":{"id":2}}`: {
			ID: "1", Any: map[string]any{"n": []any{json.Number("12345678901234567890.12"), nil}}, Raw: json.RawMessage(`{"x": 1 }`), Next: &order{ID: "2"},
		},
		`{"id":1,"created_at":"2026-03-14T11:20:00.123-05:00","level":"high","new":{"deep":[{}]}}`: {
			ID: "1", CreatedAt: time.Date(2026, 3, 14, 16, 20, 0, 123e6, time.UTC), Level: Level{"high"},
		},
	} {
		var got order
		if err := producer.DecodeJSON([]byte(body), &got); err != nil {
			t.Errorf("%s: %v", body, err)
		} else if diff := cmp.Diff(want, got, cmp.AllowUnexported(Level{}), cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Errorf("%s: -want +got\n%s", body, diff)
		}
	}
}

func TestDecodeJSON_refusals(t *testing.T) {
	t.Parallel()
	deep := func(n int) string {
		return `{"id":1,"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}"
	}
	for body, want := range map[string]string{
		``:                                       "body: want a JSON document, got nothing",
		" \n":                                    "body: want a JSON document, got nothing",
		`null`:                                   "body: want a JSON document, got null",
		`[]`:                                     "body: want an object, got an array",
		`"x"`:                                    "body: want an object, got a string",
		`hello`:                                  "body: want an object, got something else",
		`{`:                                      "body: want a string, got the end of the document",
		`{}`:                                     "id: want a value, it is required, got nothing",
		`{"id":null}`:                            "id: want a value, it is required, got null",
		`{"id":"1"}`:                             "id: want a number, got a string",
		`{"id":true}`:                            "id: want a number, got a boolean",
		`{"id":1} {}`:                            "body: want one document, got more at offset 9",
		`{"id":1}x`:                              "body: want one document, got more at offset 8",
		`{"id":1,}`:                              "body: want a string, got something else",
		`{"id":1,"id":2}`:                        "id: want one value, the key stands there twice",
		`{"id":1,"x":{"a":1,"\u0061":2}}`:        "x.a: want one value, the key stands there twice",
		`{"id":01}`:                              "id: want a number as JSON writes it",
		`{"id":1.}`:                              "id: want a number as JSON writes it",
		`{"id":-}`:                               "id: want a number as JSON writes it",
		`{"id":+1}`:                              "id: want a number, got something else",
		`{"id":NaN}`:                             "id: want a number, got something else",
		`{"id":1e}`:                              "id: want a number as JSON writes it",
		`{"id":` + strings.Repeat("9", 65) + `}`: "id: want a number of at most 64 characters",
		`{"id":1,"x":` + strings.Repeat("9", 65) + `}`:                 "x: want a number of at most 64 characters",
		`{"id":1,"number":1.0}`:                                        "number: want a whole number of 64 bits, got another number",
		`{"id":1,"number":9223372036854775808}`:                        "number: want a whole number of 64 bits, got another number",
		`{"id":1,"small":-1}`:                                          "small: want a whole number of 8 bits, not negative, got another number",
		`{"id":1,"name":5}`:                                            "name: want a string, got a number",
		`{"id":1,"test":"yes"}`:                                        "test: want true or false, got a string",
		`{"id":1,"test":tru}`:                                          "test: want a JSON value, got a misspelt word",
		`{"id":1,"level":"secret value"}`:                              "level: want a level, got another string",
		`{"id":1,"level":7}`:                                           "level: want a level, got a number",
		`{"id":1,"created_at":"yesterday"}`:                            "created_at: want an RFC 3339 time, got another string",
		`{"id":1,"created_at":17}`:                                     "created_at: want an RFC 3339 time, got another number",
		`{"id":1,"lines":{}}`:                                          "lines: want an array, got an object",
		`{"id":1,"lines":[{"price":"1","quantity":1},{"quantity":1}]}`: "lines[1].price: want a value, it is required, got nothing",
		`{"id":1,"lines":[{"price":"1","quantity":1},{"price":"free","quantity":1}]}`:             "lines[1].price: want a decimal, got another string",
		`{"id":1,"lines":[{"price":"1","quantity":1,"children":[{"price":"2","quantity":"x"}]}]}`: "lines[0].children[0].quantity: want a number, got a string",
		`{"id":1,"lines":[null]}{`:                                 "body: want one document, got more at offset 23",
		`{"id":1,"tags":{"a":1}}`:                                  "tags.a: want a string, got a number",
		`{"id":1,"name":"a` + "\x01" + `"}`:                        "name: want a string without bare control characters",
		`{"id":1,"name":"a\u0000"}`:                                "name: want a string with valid escapes and without NUL",
		`{"id":1,"name":"a\ud800"}`:                                "name: want a string with valid escapes and without NUL",
		`{"id":1,"name":"a\ud800\u0041"}`:                          "name: want a string with valid escapes and without NUL",
		`{"id":1,"name":"a\udc00"}`:                                "name: want a string with valid escapes and without NUL",
		`{"id":1,"name":"\x"}`:                                     "name: want a string with valid escapes and without NUL",
		`{"id":1,"name":"\u00g0"}`:                                 "name: want a string with valid escapes and without NUL",
		`{"id":1,"name":"a`:                                        "name: want a string, got the end of the document",
		"{\"id\":1,\"name\":\"\xff\"}":                             "body: want valid UTF-8, got an invalid byte at offset 16",
		"\xef\xbb\xbf{\"id\":1}":                                   "body: want an object, got something else",
		`{"id":1,"a b.c":{"` + strings.Repeat("k", 65) + `":[x]}}`: `"a b.c".(a long key)[0]: want a JSON value, got something else`,
		`{"id" 1}`:           "id: want a colon and a value, got a number",
		`{"id":1 2}`:         "body: want a comma or the end of the object, got a number",
		`{"id":1,"x":[1 2]}`: "x: want a comma or the end of the array, got a number",
		`{"id":1,"x":[1,]}`:  "x[1]: want a JSON value, got something else",
		deep(64):             "x" + strings.Repeat("[0]", 63) + ": want at most 64 levels of nesting",
	} {
		var got order
		err := producer.DecodeJSON([]byte(body), &got)
		var unreadable *producer.DecodeError
		if !errors.As(err, &unreadable) || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", body, err, want)
		}
	}
	if err := producer.DecodeJSON([]byte(deep(63)), new(order)); err != nil {
		t.Errorf("64 levels: %v", err)
	}
	if err := producer.DecodeJSON([]byte(deep(10000)), new(order)); err == nil {
		t.Error("10,000 levels are accepted")
	}
}

func TestDecodeJSON_wrongTargets(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		nil,
		order{},
		(*order)(nil), new(float64), new(struct{ F []float32 }), new(map[int]string), new(func()),
		new(struct {
			F string `spine:"requierd"`
		}),
	} {
		err := producer.DecodeJSON([]byte(`{}`), v)
		var unreadable *producer.DecodeError
		if err == nil || errors.As(err, &unreadable) {
			t.Errorf("%T: %v", v, err)
		}
	}
}

func TestJSONField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		path []string
		want string
	}{
		{`{"id":820982911946154508}`, []string{"id"}, "820982911946154508"},
		{`{"a":{"id":1},"b":[{"id":2}],"id":"x1"}`, []string{"id"}, "x1"},
		{`{"order_edit":{"id":1,"order_id":5}}`, []string{"order_edit", "order_id"}, "5"},
		{`{"order_edit":7}`, []string{"order_edit", "order_id"}, ""},
		{`{"id":7,"broken`, []string{"id"}, "7"},
		{`{"x":[,"id":7}`, []string{"id"}, ""},
		{`{"id":null}`, []string{"id"}, ""},
		{`{"id":{"id":4}}`, []string{"id"}, ""},
		{`{"id":true}`, []string{"id"}, ""},
		{`{"ID":1}`, []string{"id"}, ""},
		{`{"id":"` + strings.Repeat("x", 201) + `"}`, []string{"id"}, ""},
		{`{"id":"` + strings.Repeat("x", 200) + `"}`, []string{"id"}, strings.Repeat("x", 200)},
		{`{"id":"a\nb"}`, []string{"id"}, ""},
		{"{\"id\":\"\xff\"}", []string{"id"}, ""},
		{"{\"x\":\"\xff\",\"id\":5}", []string{"id"}, "5"},
		{`[{"id":1}]`, []string{"id"}, ""},
		{``, []string{"id"}, ""},
		{`5`, nil, "5"},
		{`{"x":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `,"id":1}`, []string{"id"}, ""},
	} {
		if got := producer.JSONField(c.path...)(nil, []byte(c.body)); got != c.want {
			t.Errorf("%s at %v: %q, want %q", c.body, c.path, got, c.want)
		}
	}
}

// What is accepted is what the standard library reads, and nothing panics.
func FuzzDecodeJSON(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"name":"a\u00e9\ud83d\ude00","lines":[{"price":"1.10","quantity":2}],"any":[1e5,{}],"tags":{"a":"b"}}`,
		`{"id":1,"id":2}`, `[[[[]]]]`, "\xff", `{"id":"\ud800"}`, `{"id":-0.0e-1}`, `nul`, `"`, `{"next":{"id":2,"next":null},"id":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		look := producer.JSONField("id")(nil, body)
		_ = producer.JSONField("order_edit", "order_id")(nil, body)
		var o order
		if err := producer.DecodeJSON(body, &o); err == nil && len(o.ID) <= 64 && look != o.ID.String() {
			t.Errorf("the look says %q, the document %q", look, o.ID)
		}
		var tree any
		if err := producer.DecodeJSON(body, &tree); err != nil {
			var unreadable *producer.DecodeError
			if !errors.As(err, &unreadable) || !utf8.ValidString(err.Error()) {
				t.Errorf("error %v", err)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("the standard library refuses it: %v", err)
		}
		if diff := cmp.Diff(want, tree); diff != "" {
			t.Errorf("-standard library +own\n%s", diff)
		}
	})
}
