package gen_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/schema/gen"
)

const meta = `{"type":"record","name":"EventMeta","namespace":"spine.common","doc":"Identity.","fields":[
	{"name":"event_id","type":{"type":"string","logicalType":"uuid"},"doc":"Id of the event."},
	{"name":"origin","type":{"type":"enum","name":"Origin","symbols":["UNKNOWN","POLL"],"default":"UNKNOWN"},"doc":"Way of arrival."}]}`

const price = `{"type":"record","name":"Price","namespace":"spine.common","doc":"An amount.","fields":[
	{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":19,"scale":4},"doc":"The amount."},
	{"name":"unit","type":{"type":"enum","name":"PriceUnit","symbols":["UNKNOWN","PIECE"],"default":"UNKNOWN"},"doc":"The unit."}]}`

// parcel is parcel.sent.v1 with one more field.
func parcel(field string) string {
	return `{"type":"record","name":"ParcelSentV1","namespace":"spine.parcel","doc":"A parcel was sent.","fields":[
	{"name":"meta","type":"spine.common.EventMeta","doc":"Identity of the event."}` + field + `]}`
}

func field(typ string) string { return `,{"name":"x_id","type":` + typ + `,"doc":"What is tested."}` }

func files(t *testing.T, fact string) (map[string][]byte, error) {
	t.Helper()
	set, err := schema.Load(
		fstest.MapFS{"common/event-meta.avsc": {Data: []byte(meta)}, "common/price.avsc": {Data: []byte(price)}},
		fstest.MapFS{"parcel/sent.v1.avsc": {Data: []byte(fact)}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return gen.Files(set, 1, "example.org/spine/common")
}

// What the field of each type becomes, and how it is written and read.
func TestFiles_types(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string][]string{
		`"string"`:                               {"XID string", `avrobin.PutString(&x.XID, w.At("x_id"))`, `avrobin.GetString(&x.XID, r.At("x_id"))`},
		`"bytes"`:                                {"XID []byte", `avrobin.PutBytes(&x.XID, w.At("x_id"))`},
		`"int"`:                                  {"XID int32"},
		`"long"`:                                 {"XID int64"},
		`"float"`:                                {"XID float32"},
		`"double"`:                               {"XID float64"},
		`"boolean"`:                              {"XID bool"},
		`{"type":"string","logicalType":"uuid"}`: {"XID string", "avrobin.PutUUID("},
		`{"type":"int","logicalType":"date"}`:    {"XID event.Date", "avrobin.GetDate("},
		`{"type":"long","logicalType":"timestamp-micros"}`:                 {"XID time.Time", "avrobin.GetTime("},
		`{"type":"bytes","logicalType":"decimal","precision":9,"scale":6}`: {"XID money.Decimal", `avrobin.PutDecimal(&x.XID, w.At("x_id"), 9, 6)`},
		`["null","long"]`:                               {"XID *int64", `avrobin.GetNull(&x.XID, r.At("x_id"), avrobin.GetLong)`},
		`["null","spine.common.Price"]`:                 {"XID *common.Price", "(*common.Price).EncodeAvro", `"example.org/spine/common"`},
		`{"type":"array","items":"string"}`:             {"XID []string", `avrobin.GetArray(&x.XID, r.At("x_id"), 1, avrobin.GetString)`},
		`{"type":"array","items":"spine.common.Price"}`: {"XID []common.Price", `avrobin.GetArray(&x.XID, r.At("x_id"), 3, (*common.Price).DecodeAvro)`},
		`{"type":"array","items":{"type":"bytes","logicalType":"decimal","precision":9,"scale":6}}`: {
			"XID []money.Decimal", "func(v *money.Decimal, r *avrobin.Reader) { avrobin.GetDecimal(v, r, 9, 6) }",
		},
		`{"type":"map","values":"double"}`: {"XID map[string]float64", `avrobin.GetMap(&x.XID, r.At("x_id"), 8, avrobin.GetDouble)`},
		`{"type":"record","name":"Box","namespace":"spine.parcel.sentv1","doc":"A box.","fields":[{"name":"sku","type":"string","doc":"What is inside."}]}`: {
			"XID SentV1Box", "type SentV1Box struct", "SKU string", `x.XID.DecodeAvro(r.At("x_id"))`,
		},
		`{"type":"enum","name":"Kind","namespace":"spine.parcel.sentv1","doc":"Kinds.","symbols":["UNKNOWN","UPCAST_PARTIAL"],"default":"UNKNOWN"}`: {
			"XID SentV1Kind", `SentV1KindUpcastPartial SentV1Kind = "UPCAST_PARTIAL"`,
		},
	} {
		out, err := files(t, parcel(field(typ)))
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		text := strings.Join(strings.Fields(string(out["parcel/sent_v1_gen.go"])), " ")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %s is missing in\n%s", typ, w, out["parcel/sent_v1_gen.go"])
			}
		}
	}
}

// Types that cannot be read exactly, or not within bounds, have no Go code.
func TestFiles_refuses(t *testing.T) {
	t.Parallel()
	dec := `{"type":"bytes","logicalType":"decimal","precision":19,"scale":4}`
	for typ, want := range map[string]string{
		`["null",` + dec + `]`:                                              "nullable bytes or decimal: use a nullable record",
		`["string","null"]`:                                                 `want a union of the form ["null", type]`,
		`["null","string","int"]`:                                           `want a union of the form ["null", type]`,
		`["null",{"type":"array","items":"string"}]`:                        "nullable array: let it be empty",
		`{"type":"long","logicalType":"timestamp-millis"}`:                  "type long timestamp-millis is not supported",
		`{"type":"fixed","name":"F","size":4}`:                              "is not supported",
		`{"type":"array","items":{"type":"array","items":"string"}}`:        "array inside an array, map or union is not supported: put it into a record",
		`{"type":"bytes","logicalType":"decimal","precision":40,"scale":4}`: "want a precision of at most 38",
	} {
		_, err := files(t, parcel(field(typ)))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "parcel/sent.v1.avsc") {
			t.Errorf("%s: %v, want %s", typ, err, want)
		}
	}
	if _, err := files(t, strings.Replace(parcel(""), `"meta"`, `"metadata"`, 1)); err == nil || !strings.Contains(err.Error(), "the first field of a fact is meta") {
		t.Errorf("a fact without meta: %v", err)
	}
}

// Generate writes what is missing, changed or no longer asked for, and nothing else.
func TestGenerate(t *testing.T) {
	t.Parallel()
	module := t.TempDir()
	dir := filepath.Join(module, "schemas")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(module, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.org/shop\n")
	write("schemas/common/event-meta.avsc", meta)
	write("schemas/common/price.avsc", price)
	write("schemas/parcel/sent.v1.avsc", parcel(field(`"spine.common.Price"`)))
	write("schemas/parcel/lost_v1_gen.go", "package parcel\n")
	write("schemas/parcel/upcast.go", "package parcel\n")
	load := func() *schema.Set {
		t.Helper()
		set, err := schema.Load(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	want := []string{
		"common/doc_gen.go", "common/event_meta_gen.go", "common/price_gen.go", "parcel/doc_gen.go", "parcel/lost_v1_gen.go", "parcel/sent_v1_gen.go",
	}
	if got, err := gen.Check(load(), dir, 0); cmp.Diff(want, got) != "" || err != nil {
		t.Errorf("check: %v, %v", got, err)
	}
	got, err := gen.Generate(load(), dir, 0)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	text, err := os.ReadFile(filepath.Join(dir, "parcel", "sent_v1_gen.go"))
	if err != nil || !strings.Contains(string(text), `"example.org/shop/schemas/common"`) {
		t.Errorf("own shared records are imported from elsewhere: %v\n%s", err, text)
	}
	if _, err := os.Stat(filepath.Join(dir, "parcel", "lost_v1_gen.go")); err == nil {
		t.Error("a generated file without a schema stays")
	}
	if _, err := os.Stat(filepath.Join(dir, "parcel", "upcast.go")); err != nil {
		t.Error(err)
	}
	if got, err := gen.Generate(load(), dir, 0); len(got) > 0 || err != nil {
		t.Errorf("once more: %v, %v", got, err)
	}
	write("schemas/parcel/sent.v1.avsc", parcel(field(`"string"`)))
	if got, err := gen.Check(load(), dir, 0); fmt.Sprint(got) != "[parcel/sent_v1_gen.go]" || err != nil {
		t.Errorf("after a change: %v, %v", got, err)
	}
}
