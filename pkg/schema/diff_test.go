package schema_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/schema"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	line := func(fields string) string {
		return `{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[` + fields + `]}}}`
	}
	sku, price := `{"name":"sku","type":"string"}`, `{"name":"price","type":`+decimal42+`}`
	tree := record(`{"name":"next","type":["null","spine.order.OrderPlacedV1"]}`)
	for name, c := range map[string]struct {
		before, after string
		want          []schema.Change
	}{
		"same":          {record(line(sku)), record(line(sku)), []schema.Change{}},
		"doc and order": {record(sku + "," + price), record(`{"name":"price","doc":"other","type":` + decimal42 + `},` + sku), []schema.Change{}},
		"recursive":     {tree, tree, []schema.Change{}},
		"inside":        {record(line(sku)), record(line(sku + "," + price)), []schema.Change{{"lines[].price", schema.Added, "", "decimal(4,2)"}}},
		"removed": {
			record(sku + `,{"name":"note","type":["null","string"],"default":null,"pii":"contact"}`), record(sku),
			[]schema.Change{{"note", schema.Removed, "union{null, string} = null, pii contact", ""}},
		},
		"a record goes with its fields": {record(sku + "," + line(sku)), record(sku), []schema.Change{{"lines", schema.Removed, "array<Line>", ""}}},
		"scale":                         {record(price), record(`{"name":"price","type":` + decimal44 + `}`), []schema.Change{{"price", schema.Changed, "decimal(4,2)", "decimal(4,4)"}}},
		"default": {
			record(`{"name":"a","type":"string","default":"x"}`), record(`{"name":"a","type":"string","default":"y"}`),
			[]schema.Change{{"a", schema.Changed, `string = "x"`, `string = "y"`}},
		},
		"symbol": {
			record(`{"name":"a","type":` + enum(`"A"`, ``) + `}`), record(`{"name":"a","type":` + enum(`"A","B"`, ``) + `}`),
			[]schema.Change{{"a", schema.Changed, "E{A}", "E{A, B}"}},
		},
		"personal data": {
			record(`{"name":"a","type":"string","pii":"none"}`), record(`{"name":"a","type":"string","pii":"name"}`),
			[]schema.Change{{"a", schema.Changed, "string", "string, pii name"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := schema.Diff(c.before, c.after)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := schema.Diff("{", record(sku)); err == nil {
		t.Error("no schema is taken")
	}
}
