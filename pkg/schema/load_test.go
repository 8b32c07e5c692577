package schema_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hamba/avro/v2"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/schema"
)

const moneyFile = `{"type":"record","name":"Money","namespace":"spine.common","doc":"Money.","fields":[
  {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":19,"scale":4},"doc":"Amount in its currency.","pii":"none"}]}`

const paidFile = `{"type":"record","name":"InvoicePaidV1","namespace":"spine.invoice","doc":"Paid.","owner":"invoicing",
  "system_of_record":"the bank","identity":["fee"],"key":"{fee}","retention":"28d","producers":["bank"],"lint_ignore":{"L08":"an example"},
  "fields":[
  {"name":"fee","type":["null","spine.common.Money"],"default":null,"doc":"Fee of the bank.","pii":"financial"},
  {"name":"tips","type":{"type":"array","items":"spine.common.Money"},"default":[],"doc":"Tips.","pii":"none"},
  {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["UNKNOWN","A"],"default":"UNKNOWN"},"doc":"Kind.","pii":"none"},
  {"name":"again","type":"Kind","doc":"Kind.","pii":"none","lint_ignore":{"L08":"an example"}}]}`

func files(kv ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = &fstest.MapFile{Data: []byte(kv[i+1])}
	}
	return m
}

// A shared record stands in the place of its first use, other uses and nested
// names are by full name, and what the catalogue says stays out.
func TestLoad_inlines(t *testing.T) {
	t.Parallel()
	set, err := schema.Load(files("common/money.avsc", moneyFile), files("invoice/paid.v1.avsc", paidFile))
	if err != nil {
		t.Fatal(err)
	}
	f, found := set.Fact("invoice.paid.v1")
	if !found || f.Root != 1 || f.FullName != "spine.invoice.InvoicePaidV1" || f.Owner != "invoicing" || f.Type.Major != 1 {
		t.Fatalf("%+v, %v", f, found)
	}
	const want = `{"type":"record","name":"InvoicePaidV1","namespace":"spine.invoice","doc":"Paid.","fields":[` +
		`{"name":"fee","type":["null",{"type":"record","name":"Money","namespace":"spine.common","doc":"Money.","fields":[` +
		`{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":19,"scale":4},"doc":"Amount in its currency.","pii":"none"}]}],"default":null,"doc":"Fee of the bank.","pii":"financial"},` +
		`{"name":"tips","type":{"type":"array","items":"spine.common.Money"},"default":[],"doc":"Tips.","pii":"none"},` +
		`{"name":"kind","type":{"type":"enum","name":"Kind","symbols":["UNKNOWN","A"],"default":"UNKNOWN"},"doc":"Kind.","pii":"none"},` +
		`{"name":"again","type":"spine.invoice.Kind","doc":"Kind.","pii":"none"}]}`
	if f.Text != want {
		t.Errorf("text:\n%s\nwant\n%s", f.Text, want)
	}
	if rec, isRecord := f.Schema.(*avro.RecordSchema); !isRecord || len(rec.Fields()) != 4 {
		t.Errorf("schema %v", f.Schema)
	}
	if shared := set.Shared(); len(shared) != 1 || shared[0].FullName != "spine.common.Money" || shared[0].Root != 0 {
		t.Errorf("shared %+v", shared)
	}
	if avro.DefaultSchemaCache.Get("spine.common.Money") != nil {
		t.Error("the schema is in hamba's global cache")
	}
}

// Errors name file, line and column, all of them at once.
func TestLoad_errors(t *testing.T) {
	t.Parallel()
	_, err := schema.Load(files(
		"common/money.avsc", strings.Replace(moneyFile, "spine.common", "spine.other", 1),
		"invoice/paid.v1.avsc", paidFile,
		"invoice/sent.v1.avsc", `{"type":"record","name":"InvoiceSentV2","namespace":"spine.invoice","fields":[]}`,
		"invoice/voided.v1.avsc", `{"type":"record",`+"\n"+`"name":"InvoiceVoidedV1" "namespace":"spine.invoice"}`,
		"invoice/Seen.avsc", `{"type":"record","name":"Seen","fields":[]}`,
		"invoice/held.v1.avsc", `{"type":"record","name":"InvoiceHeldV1","namespace":"spine.invoice","fields":[{"name":"a","type":"int","default":"x"}]}`,
		"invoice/lost.v1.avsc", `[]`,
	))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"common/money.avsc:1:1: shared record spine.other.Money",
		"invoice/paid.v1.avsc:4:32: unknown type spine.common.Money",
		"invoice/sent.v1.avsc:1:1: record spine.invoice.InvoiceSentV2: a fact in this file is the record spine.invoice.InvoiceSentV1",
		"invoice/voided.v1.avsc:2:26:",
		"invoice/Seen.avsc:1:1:",
		"invoice/held.v1.avsc:1:1: InvoiceHeldV1:",
		"invoice/lost.v1.avsc:1:1: want a record",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error doesn't say %q:\n%v", want, err)
		}
	}
	if _, err := schema.Load(files("common/money.avsc", moneyFile, "invoice/paid.v1.avsc", paidFile), files("invoice/paid.v1.avsc", paidFile)); err == nil {
		t.Error("a fact in two roots is accepted")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	typ := event.Type{Noun: "credit-note", Verb: "partly-issued", Major: 12}
	if got := schema.FullName(typ); got != "spine.creditnote.CreditNotePartlyIssuedV12" {
		t.Error(got)
	}
	if got := schema.FileName(typ); got != "credit-note/partly-issued.v12.avsc" {
		t.Error(got)
	}
	if back, err := schema.TypeOfFile("credit-note/partly-issued.v12.avsc"); err != nil || back != typ {
		t.Errorf("%+v, %v", back, err)
	}
}

// Release freezes what changed, refuses what breaks, and a changed frozen file is
// found with what to do instead.
func TestRelease(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		file = filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(file string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	release := func(revision int, created bool) {
		t.Helper()
		done, err := schema.Release(dir)
		if err != nil || len(done) != 1 || done[0].Revision != revision || done[0].Created != created {
			t.Fatalf("%+v, %v; want r%d created %v", done, err, revision, created)
		}
	}
	const current = "invoice/paid.v1.avsc"
	write("common/money.avsc", moneyFile)
	write(current, paidFile)
	release(1, true)
	release(1, false)
	write(current, strings.Replace(paidFile, `"owner":"invoicing"`, `"owner":"somebody else"`, 1))
	release(1, false) // the owner isn't part of what is registered
	second := strings.Replace(paidFile, `"fields":[`, `"fields":[{"name":"note","type":"string","default":"","doc":"A note.","pii":"none"},`, 1)
	write(current, second)
	release(2, true)

	set, err := schema.Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if frozen := set.Released("invoice.paid.v1"); len(frozen) != 2 || frozen[1].Text != set.Facts()[0].Text || frozen[0].Number != 1 {
		t.Errorf("released %+v", frozen)
	}

	found := func(want ...string) {
		t.Helper()
		got, err := schema.CheckReleased(os.DirFS(dir))
		if err != nil || rules(got) != strings.Join(want, " ") {
			t.Errorf("findings %v, %v; want %v", got, err, want)
		}
	}
	found()
	write("common/money.avsc", strings.Replace(moneyFile, `"scale":4`, `"scale":2`, 1))
	found("L03", "L03") // against both revisions
	if _, err := schema.Release(dir); err == nil {
		t.Error("a change that breaks frozen revisions is frozen")
	}
	write("common/money.avsc", moneyFile)

	const first = "released/invoice/paid.v1.r1.avsc"
	before := read(first)
	write(first, strings.Replace(before, "Fee of the bank.", "Fee.", 1))
	found("R01")
	write(first, before)
	write("released/invoice/paid.v1.r3.avsc", before)
	found("R02")
	if err := os.Remove(filepath.Join(dir, "released/invoice/paid.v1.r3.avsc")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, filepath.FromSlash(first)), filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	found("R01")
	write(first, before)
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(current))); err != nil {
		t.Fatal(err)
	}
	found("R03", "R03")
}
