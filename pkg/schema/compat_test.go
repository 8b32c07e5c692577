package schema_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/schema"
)

func record(fields string) string {
	return `{"type":"record","name":"OrderPlacedV1","namespace":"spine.order","fields":[` + fields + `]}`
}

const (
	decimal42 = `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`
	decimal44 = `{"type":"bytes","logicalType":"decimal","precision":4,"scale":4}`
	micros    = `{"type":"long","logicalType":"timestamp-micros"}`
	millis    = `{"type":"long","logicalType":"timestamp-millis"}`
)

func enum(symbols, rest string) string {
	return `{"type":"enum","name":"E","symbols":[` + symbols + `]` + rest + `}`
}

// Each change, and what breaks in which direction.
func TestCompatible(t *testing.T) {
	t.Parallel()
	f := func(typ, rest string) string { return record(`{"name":"a","type":` + typ + rest + `}`) }
	cases := map[string]struct {
		old, new          string
		backward, forward string // rules
	}{
		"same":                          {f(`"string"`, ``), f(`"string"`, `,"doc":"other"`), "", ""},
		"field with default added":      {f(`"string"`, ``), record(`{"name":"a","type":"string"},{"name":"b","type":"string","default":""}`), "", ""},
		"field without default added":   {f(`"string"`, ``), record(`{"name":"a","type":"string"},{"name":"b","type":"string"}`), "C01", ""},
		"field with default removed":    {record(`{"name":"a","type":"string"},{"name":"b","type":"string","default":""}`), f(`"string"`, ``), "", ""},
		"field without default removed": {record(`{"name":"a","type":"string"},{"name":"b","type":"string"}`), f(`"string"`, ``), "", "C02"},
		"fields in another order":       {record(`{"name":"a","type":"string"},{"name":"b","type":"int"}`), record(`{"name":"b","type":"int"},{"name":"a","type":"string"}`), "", ""},
		"renamed by alias":              {f(`"string"`, ``), record(`{"name":"b","type":"string","aliases":["a"]}`), "", "C03"},
		"renamed":                       {f(`"string"`, ``), record(`{"name":"b","type":"string"}`), "C01", "C02"},
		"int to long":                   {f(`"int"`, ``), f(`"long"`, ``), "", "C04"},
		"double to float":               {f(`"double"`, ``), f(`"float"`, ``), "C04", ""},
		"string to bytes":               {f(`"string"`, ``), f(`"bytes"`, ``), "L05", "L05"},
		"int to string":                 {f(`"int"`, ``), f(`"string"`, ``), "L05", "L05"},
		"int to date":                   {f(`"int"`, ``), f(`{"type":"int","logicalType":"date"}`, ``), "L04", "L04"},
		"decimal scale":                 {f(decimal44, ``), f(decimal42, ``), "L03", "L03"},
		"decimal to bytes":              {f(decimal44, ``), f(`"bytes"`, ``), "L04", "L04"},
		"decimal to double":             {f(decimal44, ``), f(`"double"`, ``), "L04", "L04"},
		"micros to millis":              {f(micros, ``), f(millis, ``), "L04", "L04"},
		"nullable to required":          {f(`["null","string"]`, ``), f(`"string"`, ``), "C05", ""},
		"required to nullable":          {f(`"string"`, ``), f(`["null","string"]`, ``), "", "C05"},
		"promotion in a union":          {f(`["null","int"]`, ``), f(`["null","long"]`, ``), "", "C05"},
		"decimal in a union":            {f(`["null",`+decimal44+`]`, ``), f(`["null",`+decimal42+`]`, ``), "L03", "L03"},
		"symbol added, default":         {f(enum(`"UNKNOWN","A"`, `,"default":"UNKNOWN"`), ``), f(enum(`"UNKNOWN","A","B"`, `,"default":"UNKNOWN"`), ``), "", ""},
		"symbol added, no default":      {f(enum(`"A"`, ``), ``), f(enum(`"A","B"`, ``), ``), "", "C06"},
		"symbol removed":                {f(enum(`"UNKNOWN","A"`, `,"default":"UNKNOWN"`), ``), f(enum(`"UNKNOWN"`, `,"default":"UNKNOWN"`), ``), "C06", ""},
		"enum default changed":          {f(enum(`"UNKNOWN","A"`, `,"default":"UNKNOWN"`), ``), f(enum(`"UNKNOWN","A"`, `,"default":"A"`), ``), "C07", "C07"},
		"enum default removed":          {f(enum(`"UNKNOWN","A"`, `,"default":"UNKNOWN"`), ``), f(enum(`"UNKNOWN","A"`, ``), ``), "C07", "C07"},
		"default changed":               {f(`"int"`, `,"default":0`), f(`"int"`, `,"default":1`), "L17", "L17"},
		"default removed":               {f(`"int"`, `,"default":0`), f(`"int"`, ``), "L17", "L17"},
		"default added":                 {f(`"int"`, ``), f(`"int"`, `,"default":1`), "", ""},
		"items":                         {f(`{"type":"array","items":"int"}`, ``), f(`{"type":"array","items":"string"}`, ``), "L05", "L05"},
		"values":                        {f(`{"type":"map","values":"int"}`, ``), f(`{"type":"map","values":"long"}`, ``), "", "C04"},
		"fixed size":                    {f(`{"type":"fixed","name":"F","size":4}`, ``), f(`{"type":"fixed","name":"F","size":8}`, ``), "C08", "C08"},
		"nested record":                 {f(record(`{"name":"x","type":"int"}`), ``), f(record(`{"name":"x","type":"int"},{"name":"y","type":"int"}`), ``), "C01", ""},
		"another name":                  {record(``), strings.Replace(record(``), "PlacedV1", "PlacedV2", 1), "C09", "C09"},
		"another namespace":             {record(``), strings.Replace(record(``), "spine.order", "spine.orders", 1), "C09", "C09"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(name, "nested") { // its own name twice would be no schema
				c.old = strings.Replace(c.old, `"type":{"type":"record","name":"OrderPlacedV1"`, `"type":{"type":"record","name":"N"`, 1)
				c.new = strings.Replace(c.new, `"type":{"type":"record","name":"OrderPlacedV1"`, `"type":{"type":"record","name":"N"`, 1)
			}
			for mode, want := range map[schema.Mode]string{schema.Backward: c.backward, schema.Forward: c.forward} {
				found, err := schema.Compatible(c.old, c.new, mode)
				if err != nil {
					t.Fatal(err)
				}
				if got := rules(found); got != want {
					t.Errorf("mode %d: rules %q, want %q: %v", mode, got, want, found)
				}
			}
			full, err := schema.Compatible(c.old, c.new, schema.Full)
			if err != nil || (len(full) == 0) != (c.backward == "" && c.forward == "") {
				t.Errorf("full: %v, %v", full, err)
			}
		})
	}
}

func rules(found []schema.Finding) string {
	var out []string
	for _, f := range found {
		out = append(out, f.Rule)
	}
	return strings.Join(out, " ")
}

// All reasons are named, each with its path, direction and remedy, not the first only.
func TestCompatible_allReasons(t *testing.T) {
	t.Parallel()
	tier := func(s string) string {
		return `{"type":"enum","name":"Tier","symbols":[` + s + `],"default":"UNKNOWN"}`
	}
	customer := func(fields, symbols string) string {
		return `{"name":"customer","type":{"type":"record","name":"Customer","fields":[{"name":"tier","type":` + tier(symbols) + `}` + fields + `]}}`
	}
	before := record(customer(``, `"UNKNOWN","GOLD"`) + `,{"name":"total","type":` + decimal44 + `}`)
	after := record(customer(`,{"name":"phone","type":"string"}`, `"UNKNOWN"`) + `,{"name":"total","type":` + decimal42 + `}`)
	found, err := schema.Compatible(before, after, schema.Full)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.Rule+" "+f.Path+" | "+f.Breaks)
		if f.Remedy == "" || f.Message == "" {
			t.Errorf("%+v says not what to do", f)
		}
	}
	want := []string{
		"C06 customer.tier | new readers can't read old events",
		"C01 customer.phone | new readers can't read old events",
		"L03 total | in both directions",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCompatibleAt(t *testing.T) {
	t.Parallel()
	v1 := record(`{"name":"a","type":"int"}`)
	v2 := record(`{"name":"a","type":"int"},{"name":"b","type":"int","default":0}`)
	v3 := record(`{"name":"a","type":"int"},{"name":"b","type":"int"}`) // agrees with v2 but for the default, breaks v1
	for level, want := range map[string]string{
		"NONE": "", "BACKWARD": "L17", "BACKWARD_TRANSITIVE": "C01 L17", "FORWARD": "L17",
		"FORWARD_TRANSITIVE": "L17", "FULL": "L17", "FULL_TRANSITIVE": "C01 L17",
	} {
		found, err := schema.CompatibleAt(level, []string{v1, v2}, v3)
		if err != nil || rules(found) != want {
			t.Errorf("%s: %q, want %q (%v, %v)", level, rules(found), want, found, err)
		}
	}
	found, err := schema.CompatibleAt("FULL_TRANSITIVE", nil, v1)
	if err != nil || len(found) != 0 {
		t.Errorf("the first version: %v, %v", found, err)
	}
	for _, bad := range []string{"", "full", "NONE_TRANSITIVE"} {
		if _, err := schema.CompatibleAt(bad, nil, v1); err == nil {
			t.Errorf("level %q is accepted", bad)
		}
	}
	if _, err := schema.CompatibleAt("FULL", []string{v1}, `{"type":"record"}`); err == nil {
		t.Error("a text that is no schema is accepted")
	}
}

// A schema that contains itself ends.
func TestCompatible_recursive(t *testing.T) {
	t.Parallel()
	tree := func(typ string) string {
		return `{"type":"record","name":"T","fields":[{"name":"v","type":` + typ + `},{"name":"next","type":["null","T"]}]}`
	}
	found, err := schema.Compatible(tree(`"int"`), tree(`"string"`), schema.Full)
	if err != nil || rules(found) != "L05" {
		t.Errorf("%v, %v", found, err)
	}
}

func FuzzCompatible(f *testing.F) {
	f.Add(record(`{"name":"a","type":"int"}`), record(`{"name":"a","type":["null",`+decimal42+`],"default":null}`))
	f.Add(`["null","null"]`, `{"type":"array","items":"a"}`)
	f.Fuzz(func(t *testing.T, before, after string) {
		if found, err := schema.Compatible(before, before, schema.Full); err == nil && len(found) > 0 {
			t.Errorf("%s isn't compatible with itself: %v", before, found)
		}
		_, _ = schema.Compatible(before, after, schema.Full)
	})
}
