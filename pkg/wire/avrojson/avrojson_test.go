package avrojson_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/hamba/avro/v2"

	"github.com/eventspine/spine/pkg/wire/avrojson"
)

func parse(tb testing.TB, text string) avro.Schema {
	tb.Helper()
	s, err := avro.ParseWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

const shown = `{"type":"record","name":"R","fields":[
	{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":19,"scale":4},"pii":"none"},
	{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
	{"name":"on","type":["null",{"type":"int","logicalType":"date"}]},
	{"name":"count","type":"long"},
	{"name":"small","type":"int"},
	{"name":"email","type":["null","string"],"pii":"contact"},
	{"name":"blob","type":"bytes"},
	{"name":"who","type":{"type":"record","name":"P","fields":[{"name":"name","type":"string","pii":"identity"},{"name":"vip","type":"boolean"}]}},
	{"name":"tags","type":{"type":"map","values":{"type":"array","items":"string"}}},
	{"name":"kind","type":{"type":"enum","name":"K","symbols":["UNKNOWN","A"]}},
	{"name":"rate","type":"double"},
	{"name":"nothing","type":"null"}]}`

func TestRecord(t *testing.T) {
	t.Parallel()
	data := "\x06\x1c\x84\xc8" + string(binary.AppendVarint(nil, 1773487200123456)) + "\x02" + string(binary.AppendVarint(nil, 20526)) +
		string(binary.AppendVarint(nil, 1<<60)) + "\x03" + "\x02\x08a@b\"" + "\x04\x00\xff" + "\x06<é\x01" + "\x02\x02t\x04\x02x\x02y\x00\x00" +
		"\x02" + "\x00\x00\x00\x00\x00\x00\xf8\x3f"
	for unmask, want := range map[bool]string{
		false: `{"amount":"186.9000","at":"2026-03-14T11:20:00.123456Z","on":"2026-03-14","count":"1152921504606846976","small":-2,"email":"***","blob":"AP8=","who":{"name":"***","vip":true},"tags":{"t":["x","y"]},"kind":"A","rate":1.5,"nothing":null}`,
		true:  `{"amount":"186.9000","at":"2026-03-14T11:20:00.123456Z","on":"2026-03-14","count":"1152921504606846976","small":-2,"email":"a@b\"","blob":"AP8=","who":{"name":"<é","vip":true},"tags":{"t":["x","y"]},"kind":"A","rate":1.5,"nothing":null}`,
	} {
		got, err := avrojson.Record(parse(t, shown), []byte(data), unmask)
		if err != nil || string(got) != want {
			t.Errorf("unmask %t: %v\n got %s\nwant %s", unmask, err, got, want)
		}
	}
	for n := range data {
		if got, err := avrojson.Record(parse(t, shown), []byte(data[:n]), false); err == nil {
			t.Errorf("%d of %d bytes show as %s", n, len(data), got)
		}
	}
}

func TestPersonal(t *testing.T) {
	t.Parallel()
	s := parse(t, `{"type":"record","name":"R","fields":[
		{"name":"number","type":"string","pii":"none"},
		{"name":"mail","type":["null","string"],"pii":"contact"},
		{"name":"who","type":{"type":"record","name":"P","fields":[{"name":"first","type":"string","pii":"none"},{"name":"age","type":"int"}]},"pii":"identity"},
		{"name":"at","type":{"type":"array","items":"string"},"pii":"location"},
		{"name":"sums","type":{"type":"map","values":"string"},"pii":"financial"},
		{"name":"yes","type":"boolean","pii":"identity"}]}`)
	data := "\x02n" + "\x02\x06a@b" + "\x02J\x54" + "\x04\x02x\x02y\x00" + "\x02\x02k\x02v\x00" + "\x01"
	got, err := avrojson.Personal(s, []byte(data))
	slices.Sort(got)
	if want := []string{"42", "J", "a@b", "v", "x", "y"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for n := range data {
		if got, err := avrojson.Personal(s, []byte(data[:n])); err == nil {
			t.Errorf("%d of %d bytes hold %q", n, len(data), got)
		}
	}
}

func FuzzRecord(f *testing.F) {
	s := parse(f, shown)
	f.Add([]byte("\x06\x1c\x84\xc8\x00\x00\x02\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		masked, err := avrojson.Record(s, data, false)
		_, err2 := avrojson.Record(s, data, true)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("masked %v, unmasked %v", err, err2)
		}
		if len(masked) > 6<<20 {
			t.Fatalf("%d bytes of text", len(masked))
		}
	})
}
