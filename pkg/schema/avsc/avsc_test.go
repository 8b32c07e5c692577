package avsc_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/eventspine/spine/pkg/schema/avsc"
)

func TestParse_positions(t *testing.T) {
	t.Parallel()
	text := "{\n  \"type\": \"record\",\n  \"fields\": [ {\"name\" : \"é\", \"type\": [\"null\", 1.50]},\n\ttrue ]\n}"
	n, err := avsc.Parse("a.avsc", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	field := n.Get("fields").Items[0]
	for want, got := range map[string]avsc.Pos{
		"a.avsc:1:1": n.Pos, "a.avsc:2:11": n.Get("type").Pos, "a.avsc:3:15": field.Pos,
		"a.avsc:3:16": field.Members[0].KeyPos, "a.avsc:3:25": field.Get("name").Pos,
		"a.avsc:3:39": field.Get("type").Pos, "a.avsc:3:48": field.Get("type").Items[1].Pos, "a.avsc:4:2": n.Get("fields").Items[1].Pos,
	} {
		if got.String() != want {
			t.Errorf("at %s, want %s", got, want)
		}
	}
	if got := n.Compact(); got != `{"type":"record","fields":[{"name":"é","type":["null",1.50]},true]}` {
		t.Error(got)
	}
}

func TestParse_errors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "x:1:1: the text ends",
		"{\"a\": 1,\n \"a\": 2}":  `x:2:2: "a" stands twice`,
		"{\"a\": ":                "x:1:7: the text ends",
		"[1] 2":                   "x:1:5: text after the end",
		"{\n\"a\": tru}":          "x:2:9:",
		"[1,]":                    "x:1:4:",
		strings.Repeat("[", 1000): "x:1:66: nests deeper",
		"{\"a\" 1}":               "x:1:6:",
		"{1:2}":                   "x:1:2:",
	} {
		_, err := avsc.Parse("x", []byte(text))
		var at *avsc.Error
		if !errors.As(err, &at) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", text, err, want)
		}
	}
}

func TestResolve_errors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`1`, `"Unknown"`, `[]`, `{}`, `{"type":"array"}`, `{"type":"record"}`, `{"type":"record","name":"A"}`,
		`{"type":"record","name":"A","fields":[{}]}`, `{"type":"record","name":"A","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}`,
		`["null",{"type":"enum","name":"E"},{"type":"enum","name":"E"}]`, `{"type":"fixed","name":"F"}`, `{"type":"fixed","name":"F","size":-1}`,
		`{"type":"bytes","logicalType":"decimal"}`, `{"type":"bytes","logicalType":"decimal","precision":1.5}`,
	} {
		if typ, err := avsc.ParseType("x", text); err == nil {
			t.Errorf("%s is %s", text, typ)
		}
	}
}

// What Parse accepts is what encoding/json accepts, and Compact keeps its value.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,"\u0000\u00e4<",null,true]}`, `"x"`, ` [ ] `, `{"a":{}}x`, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := avsc.Parse("x", text)
		var want any
		wantErr := json.Unmarshal(text, &want)
		if err != nil {
			var at *avsc.Error
			if !errors.As(err, &at) || at.Pos.Line < 1 || at.Pos.Column < 1 {
				t.Errorf("error without a place: %v", err)
			}
			return // stricter about depth and repeated names
		}
		if wantErr != nil {
			var numbers *json.UnmarshalTypeError // a number beyond float64
			if !errors.As(wantErr, &numbers) {
				t.Fatalf("accepted, while json says %v", wantErr)
			}
			return
		}
		var got any
		if err := json.Unmarshal([]byte(n.Compact()), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q became %q: %v", text, n.Compact(), err)
		}
		_, _ = avsc.Resolve(n, nil)
	})
}
