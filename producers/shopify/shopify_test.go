package shopify_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers/shopify"
)

var update = flag.Bool("update", false, "write the golden files")

func instance() event.Instance {
	return event.Instance{System: "shopify", Name: "uk", BaseCurrency: "GBP", TimeZone: "Europe/London", ShopDomain: "uk.myshopify.com"}
}

func object(tb testing.TB, kind string) producer.Object {
	tb.Helper()
	for _, o := range shopify.Adapter().Objects {
		if slices.Contains(o.Kinds, kind) {
			return o
		}
	}
	tb.Fatalf("no object of kind %s", kind)
	return producer.Object{}
}

// delivery is one of the given kind, as intake hands it on.
func delivery(kind string, body []byte) producer.Delivery {
	return producer.Delivery{Kind: kind, Instance: instance(), Header: http.Header{}, Body: body}
}

// facts translates a body that is the first of its object.
func facts(tb testing.TB, kind string, body []byte) ([]event.New, error) {
	tb.Helper()
	o := object(tb, kind)
	native, err := o.Decode(body)
	if err != nil {
		return nil, err
	}
	return o.Facts(delivery(kind, body), nil, native)
}

// kindOf is the kind that a file of testdata is of: orders-create.x.json.
func kindOf(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return strings.Replace(name, "-", "/", 1)
}

func bodies(tb testing.TB) []string {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no bodies in testdata: %v", err)
	}
	return slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, ".golden.json") })
}

func read(tb testing.TB, file string) []byte {
	tb.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// shown is a fact with its envelope, in words for a golden file. What is null is
// left out, and so is meta, which the engine stamps.
type shown struct {
	Type          string
	Entity        string
	Discriminator string `json:",omitempty"`
	Key           string `json:",omitempty"`
	At            time.Time
	Born          *time.Time `json:",omitempty"`
	Test          bool       `json:",omitempty"`
	Data          any
}

func show(tb testing.TB, facts []event.New) []byte {
	tb.Helper()
	list := []shown{}
	for _, f := range facts {
		s := shown{Type: f.Fact.EventType(), Entity: f.Entity, Discriminator: f.Discriminator, Key: f.Key, At: f.At, Test: f.Test, Data: tree(tb, f.Fact)}
		if !f.Born.IsZero() {
			s.Born = &f.Born
		}
		list = append(list, s)
	}
	b, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		tb.Fatal(err)
	}
	return append(b, '\n')
}

func tree(tb testing.TB, f event.Fact) any {
	tb.Helper()
	b, err := json.Marshal(f)
	if err != nil {
		tb.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		tb.Fatal(err)
	}
	delete(fields, "Meta")
	return withoutNull(fields)
}

func withoutNull(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if value == nil {
				delete(v, key)
			} else {
				v[key] = withoutNull(value)
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutNull(v[i])
		}
	}
	return v
}

// Each body of testdata says what its golden file says: the mapping, field by field.
func TestFacts_golden(t *testing.T) {
	t.Parallel()
	for _, file := range bodies(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			got, err := facts(t, kindOf(file), read(t, file))
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".json") + ".golden.json"
			if *update {
				if err := os.WriteFile(golden, show(t, got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, golden)), string(show(t, got))); diff != "" {
				t.Errorf("facts of %s (-want +got), -update writes them:\n%s", file, diff)
			}
		})
	}
}

// The same body always says the same, and every fact is one that its object declares.
func TestFacts_areDeterministic(t *testing.T) {
	t.Parallel()
	for _, file := range bodies(t) {
		first, err := facts(t, kindOf(file), read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			again, err := facts(t, kindOf(file), read(t, file))
			if err != nil || !bytes.Equal(show(t, first), show(t, again)) {
				t.Fatalf("%s says something else the next time: %v", file, err)
			}
		}
		for _, f := range first {
			if !slices.Contains(object(t, kindOf(file)).Emits, f.Fact.EventType()) {
				t.Errorf("%s emits %s, which its object does not declare", file, f.Fact.EventType())
			}
		}
	}
}

// No two kinds of objects emit the same fact: it could be derived twice.
func TestAdapter_oneKindEmitsEachFact(t *testing.T) {
	t.Parallel()
	emitted := map[string]int{}
	for i, o := range shopify.Adapter().Objects {
		for _, f := range o.Emits {
			if other, found := emitted[f]; found {
				t.Errorf("%s is emitted by objects %d and %d", f, other, i)
			}
			emitted[f] = i
		}
	}
	if len(emitted) != 5 {
		t.Errorf("%d facts, want 5: %v", len(emitted), emitted)
	}
}
