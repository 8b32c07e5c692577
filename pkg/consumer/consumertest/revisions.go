package consumertest

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/hamba/avro/v2"

	"github.com/eventspine/spine/pkg/wire/avrobin"
)

// revision is a frozen schema of a fact that differs from the one of its type.
type revision struct {
	name   string // as its file: placed.v2.r1
	schema avro.Schema
	write  *avrobin.Plan // from today's payloads to its own
	read   *avrobin.Plan // and back, as a reader does
}

// revisions are the older ones of a fact, by file.
func revisions(tb testing.TB, released fs.FS, fact any) (older []revision) {
	tb.Helper()
	known, ok := fact.(interface {
		EventType() string
		AvroSchema() string
	})
	if !ok || released == nil {
		return nil
	}
	noun, rest, _ := strings.Cut(known.EventType(), ".")
	files, err := fs.Glob(released, path.Join("released", noun, rest+".r*.avsc"))
	if err != nil {
		tb.Fatal(err)
	}
	today := parsed(tb, known.AvroSchema())
	for _, file := range files {
		text, err := fs.ReadFile(released, file)
		if err != nil {
			tb.Fatal(err)
		}
		r := revision{name: strings.TrimSuffix(path.Base(file), ".avsc"), schema: parsed(tb, string(text))}
		if r.schema.String() == today.String() {
			continue
		}
		if r.write, err = avrobin.NewPlan(today, r.schema); err == nil {
			r.read, err = avrobin.NewPlan(r.schema, today)
		}
		if err != nil {
			tb.Fatalf("%s and %s of today: %v", file, known.EventType(), err)
		}
		older = append(older, r)
	}
	return older
}

func parsed(tb testing.TB, text string) avro.Schema {
	tb.Helper()
	schema, err := avro.ParseWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		tb.Fatal(err)
	}
	return schema
}

// written is an event as a writer of the revision tells it, where it can.
func (r revision) written(e given) (given, error) {
	reader := avrobin.NewReader()
	if err := r.write.Reset(reader, e.payload); err != nil {
		return e, err
	}
	payload := slices.Clone(reader.Skip(r.schema))
	if err := reader.Finish(); err != nil {
		return e, fmt.Errorf("writing %s as %s: %w", e.Type, r.name, err)
	}
	e.payload, e.revision = payload, r
	return e, nil
}

// aged tells the history as writers of several revisions do, who take turns. What a
// revision can't tell stays as it is.
func aged(tb testing.TB, released fs.FS, history []given, readers map[string]func() any) []given {
	tb.Helper()
	older, turn := map[string][]revision{}, map[string]int{}
	for typ, fact := range readers {
		older[typ] = revisions(tb, released, fact())
	}
	for i, e := range history {
		all := older[e.Type]
		n := turn[e.Type] % (len(all) + 1)
		turn[e.Type]++
		if n == len(all) {
			continue // today's
		}
		if told, err := all[n].written(e); err == nil {
			history[i] = told
		}
	}
	return history
}
