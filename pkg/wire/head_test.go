package wire_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
)

// fixture is a file of vendors' own examples, kept beside the repository.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above this package")
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "..", "shared", "fixtures", name))
	if err != nil {
		t.Skipf("needs the fixtures beside the repository: %v", err)
	}
	return b
}

func TestAttribute_vectors(t *testing.T) {
	t.Parallel()
	var file struct {
		Vectors []struct {
			Attribute, Header string
			Reject            bool
		}
	}
	if err := json.Unmarshal(fixture(t, "custom/cloudevents_header_encoding_vectors.json"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range file.Vectors {
		got, err := wire.DecodeAttribute([]byte(v.Header))
		if v.Reject {
			if err == nil {
				t.Errorf("%s is read as %q", v.Header, got)
			}
			continue
		}
		if err != nil || got != v.Attribute || wire.EncodeAttribute(v.Attribute) != v.Header {
			t.Errorf("%q is written as %s and read as %q, %v", v.Attribute, wire.EncodeAttribute(v.Attribute), got, err)
		}
	}
}

func TestAttribute(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"order:shopify/uk:5001": "order:shopify/uk:5001", "Euro € 😀": "Euro%20%E2%82%AC%20%F0%9F%98%80",
		`a"b%c`: "a%22b%25c", "line\nfeed": "line%0Afeed", "": "", "~\x7f": "~%7F",
	} {
		if got := wire.EncodeAttribute(in); got != want {
			t.Errorf("%q is written as %s, want %s", in, got, want)
		}
	}
	for _, bad := range []string{"%", "%4", "%zz", "%C0%A0", "caf\xe9", "%FF", strings.Repeat("a", 4097)} {
		if got, err := wire.DecodeAttribute([]byte(bad)); err == nil {
			t.Errorf("%.20q is read as %.20q", bad, got)
		}
	}
	if got, err := wire.DecodeAttribute([]byte("plain € text")); err != nil || got != "plain € text" {
		t.Errorf("plain UTF-8 is read as %q, %v", got, err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.String().Draw(rt, "value")
		h := wire.EncodeAttribute(s)
		if back, err := wire.DecodeAttribute([]byte(h)); err != nil || back != s {
			rt.Fatalf("%q is written as %s and read as %q, %v", s, h, back, err)
		}
	})
}

// head is a record with good headers.
func head() *kgo.Record {
	rec := &kgo.Record{Key: []byte("shopify/uk:5001")}
	for _, h := range [][2]string{
		{"ce_specversion", "1.0"},
		{"ce_id", "019cec13-177b-835c-af42-62fc597f21c7"},
		{"ce_source", "shopify/uk"},
		{"ce_type", "order.placed.v2"},
		{"ce_time", "2026-03-14T12:20:00.123456+01:00"},
		{"ce_subject", "order/50/01"},
		{"content-type", "application/avro"},
		{"ce_causationid", "c"},
		{"spine_origin", "POLL"},
		{"x-other", "1"},
	} {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	return rec
}

func TestHead(t *testing.T) {
	t.Parallel()
	got, err := wire.Head(head())
	want := event.Event{
		ID: "019cec13-177b-835c-af42-62fc597f21c7", Type: "order.placed.v2", Source: "shopify/uk", Entity: "50/01",
		Key: "shopify/uk:5001", Origin: event.OriginPoll, OccurredAt: placedAt, CausationID: "c",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// set replaces a header, or adds one that was not there.
func set(rec *kgo.Record, key, value string) {
	i := slices.IndexFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == key })
	if i < 0 {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
		return
	}
	rec.Headers = slices.Clone(rec.Headers)
	rec.Headers[i].Value = []byte(value)
}

func drop(rec *kgo.Record, key string) {
	rec.Headers = slices.DeleteFunc(slices.Clone(rec.Headers), func(h kgo.RecordHeader) bool { return h.Key == key })
}

func TestHead_refuses(t *testing.T) {
	t.Parallel()
	twice := func(key string) func(*kgo.Record) {
		return func(r *kgo.Record) { r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte("1")}) }
	}
	to := func(key, value string) func(*kgo.Record) { return func(r *kgo.Record) { set(r, key, value) } }
	without := func(key string) func(*kgo.Record) { return func(r *kgo.Record) { drop(r, key) } }
	for name, c := range map[string]struct {
		change func(*kgo.Record)
		typ    string // what is known of the type
	}{
		"no headers":           {func(r *kgo.Record) { r.Headers = nil }, ""},
		"no type":              {without("ce_type"), ""},
		"empty type":           {to("ce_type", ""), ""},
		"type of others":       {to("ce_type", "com.example.order"), ""},
		"type in capitals":     {to("ce_type", "Order.placed.v2"), ""},
		"type without version": {to("ce_type", "order.placed"), ""},
		"version 0":            {to("ce_type", "order.placed.v0"), ""},
		"type twice":           {twice("ce_type"), ""},
		"no id":                {without("ce_id"), "order.placed.v2"},
		"id twice":             {twice("ce_id"), "order.placed.v2"},
		"empty id":             {to("ce_id", ""), "order.placed.v2"},
		"id not UTF-8":         {to("ce_id", "%C0%A0"), "order.placed.v2"},
		"no version":           {without("ce_specversion"), "order.placed.v2"},
		"version 0.3":          {to("ce_specversion", "0.3"), "order.placed.v2"},
		"no source":            {without("ce_source"), "order.placed.v2"},
		"source as URI":        {to("ce_source", "/shopify/uk"), "order.placed.v2"},
		"no time":              {without("ce_time"), "order.placed.v2"},
		"time of nanoseconds":  {to("ce_time", "2026-03-14T11:20:00.123456789Z"), "order.placed.v2"},
		"no subject":           {without("ce_subject"), "order.placed.v2"},
		"subject of others":    {to("ce_subject", "invoice/5001"), "order.placed.v2"},
		"subject of nobody":    {to("ce_subject", "order/"), "order.placed.v2"},
		"no key":               {func(r *kgo.Record) { r.Key = nil }, "order.placed.v2"},
		"key not UTF-8":        {func(r *kgo.Record) { r.Key = []byte("\xff") }, "order.placed.v2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := head()
			c.change(rec)
			e, err := wire.Head(rec)
			var bad *wire.BadRecordError
			if !errors.As(err, &bad) || bad.Code != wire.BadHeaders {
				t.Errorf("got %+v, %v", e, err)
			}
			if diff := cmp.Diff(event.Event{Type: c.typ}, e); diff != "" {
				t.Errorf("what is known of it (-want +got):\n%s", diff)
			}
		})
	}
}

// Head accepts exactly the types that the law of names accepts.
func TestHead_typeLaw(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		typ := rapid.OneOf(rapid.StringMatching(`[a-z0-9.-]{0,12}\.?[a-zA-Z-]{0,6}\.?v?[0-9]{0,6}`), rapid.String()).Draw(rt, "type")
		rec := head()
		set(rec, "ce_type", typ)
		noun, _, _ := strings.Cut(typ, ".")
		set(rec, "ce_subject", wire.EncodeAttribute(noun+"/1"))
		_, law := event.ParseType(typ)
		if _, err := wire.Head(rec); (err == nil) != (law == nil) {
			rt.Fatalf("%q: head %v, law %v", typ, err, law)
		}
	})
}

func FuzzHead(f *testing.F) {
	for _, h := range head().Headers {
		f.Add(h.Key, h.Value, []byte("key"))
	}
	f.Fuzz(func(t *testing.T, key string, value, recordKey []byte) {
		rec := head()
		rec.Key = recordKey
		set(rec, key, string(value))
		e, err := wire.Head(rec)
		var bad *wire.BadRecordError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%v is no BadRecordError", err)
		}
		if err == nil && (e.ID == "" || e.Entity == "" || e.Key == "" || e.OccurredAt.IsZero()) {
			t.Fatalf("accepted: %+v", e)
		}
	})
}
