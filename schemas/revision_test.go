package schemas_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2"
	"pgregory.net/rapid"

	"github.com/eventspine/spine/pkg/money"
	"github.com/eventspine/spine/pkg/wire/avrobin"
	"github.com/eventspine/spine/schemas/order"
)

// revise is a revision of order.placed.v2: its schema after edit, as another build of
// the program would have registered it.
func revise(tb testing.TB, edit func(fields map[string]map[string]any, record map[string]any)) avro.Schema {
	tb.Helper()
	var record map[string]any
	if err := json.Unmarshal([]byte(order.PlacedV2{}.AvroSchema()), &record); err != nil {
		tb.Fatal(err)
	}
	fields := map[string]map[string]any{}
	index(record, "", fields)
	edit(fields, record)
	text, err := json.Marshal(record)
	if err != nil {
		tb.Fatal(err)
	}
	return parse(tb, string(text))
}

// index finds every field by its path, and every record by its path and "{}".
func index(v any, path string, fields map[string]map[string]any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			index(x, path, fields)
		}
	case map[string]any:
		if list, ok := v["fields"].([]any); ok {
			fields[path+"{}"] = v
			for _, f := range list {
				field, _ := f.(map[string]any)
				name, _ := field["name"].(string)
				fields[path+"."+name] = field
				index(field["type"], path+"."+name, fields)
			}
			return
		}
		index(v["items"], path, fields)
		index(v["type"], path, fields)
	}
}

func remove(record map[string]any, names ...string) {
	list, _ := record["fields"].([]any)
	var kept []any
	for _, f := range list {
		drop := false
		for _, name := range names {
			drop = drop || f.(map[string]any)["name"] == name
		}
		if !drop {
			kept = append(kept, f)
		}
	}
	record["fields"] = kept
}

func add(record map[string]any, at int, field string) {
	var f any
	if err := json.Unmarshal([]byte(field), &f); err != nil {
		panic(err)
	}
	list, _ := record["fields"].([]any)
	record["fields"] = append(append(append([]any{}, list[:at]...), f), list[at:]...)
}

// through writes x as the revision that hamba knows, after edit, and reads it by plan.
func through(t *rapid.T, x order.PlacedV2, own, revision avro.Schema, edit func(m map[string]any)) (order.PlacedV2, error) {
	data, err := encode(x)
	if err != nil {
		t.Fatal(err)
	}
	var generic map[string]any
	if err := avro.Unmarshal(own, data, &generic); err != nil {
		t.Fatal(err)
	}
	edit(generic)
	theirs, err := avro.Marshal(revision, generic)
	if err != nil {
		t.Fatalf("hamba: %v", err)
	}
	plan, err := avrobin.NewPlan(revision, own)
	if err != nil {
		t.Fatal(err)
	}
	n := rapid.IntRange(0, len(theirs)-1).Draw(t, "truncated")
	if _, err := planned(plan, theirs[:n]); err == nil {
		t.Fatalf("%d of %d bytes are taken for a record", n, len(theirs))
	}
	if _, err := planned(plan, append(append([]byte(nil), theirs...), 0)); err == nil {
		t.Fatal("a trailing byte is accepted")
	}
	return planned(plan, theirs)
}

func planned(plan *avrobin.Plan, data []byte) (order.PlacedV2, error) {
	var out order.PlacedV2
	r := avrobin.NewReader()
	if err := plan.Reset(r, data); err != nil {
		return out, err
	}
	out.DecodeAvro(r)
	return out, r.Finish()
}

// A revision from before some fields were added: they read as their defaults.
func TestPlan_olderRevision(t *testing.T) {
	t.Parallel()
	own := parse(t, order.PlacedV2{}.AvroSchema())
	older := revise(t, func(fields map[string]map[string]any, record map[string]any) {
		remove(record, "order_aliases", "notes", "requested_delivery", "sales_channel", "extensions", "tax_completeness")
		remove(fields[".lines{}"], "unit", "discount_amount", "requires_shipping")
		remove(fields[".customer{}"], "is_guest")
	})
	rapid.Check(t, func(rt *rapid.T) {
		x := random(rt, order.PlacedV2{}, own).(order.PlacedV2)
		got, err := through(rt, x, own, older, func(map[string]any) {})
		if err != nil {
			rt.Fatal(err)
		}
		x.OrderAliases, x.Notes, x.RequestedDelivery, x.SalesChannel, x.Extensions = nil, nil, nil, "web", nil
		x.TaxCompleteness, x.Customer.IsGuest = order.PlacedV2TaxCompletenessUnknown, false
		for i := range x.Lines {
			x.Lines[i].Unit, x.Lines[i].DiscountAmount, x.Lines[i].RequiresShipping = "each", money.Decimal{}, true
		}
		if diff := cmp.Diff(x, got); diff != "" {
			rt.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// A revision of the future: unknown fields anywhere, another order, a new symbol.
func TestPlan_newerRevision(t *testing.T) {
	t.Parallel()
	own := parse(t, order.PlacedV2{}.AvroSchema())
	newer := revise(t, func(fields map[string]map[string]any, record map[string]any) {
		add(record, 2, `{"name": "b2b", "type": ["null", {"type": "record", "name": "B2B", "fields": [
			{"name": "po", "type": "string"}, {"name": "levels", "type": {"type": "array", "items": {"type": "map", "values": "double"}}}]}], "default": null}`)
		add(record, 0, `{"name": "first", "type": {"type": "fixed", "name": "F", "size": 3}, "default": "abc"}`)
		add(fields[".lines{}"], 1, `{"name": "weight", "type": ["null", "long", "string"], "default": null}`)
		list, _ := fields[".customer{}"]["fields"].([]any)
		for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
		fields[".tax_completeness"]["type"].(map[string]any)["symbols"] = []any{"UNKNOWN", "HALF", "FULL", "ABSENT", "UPCAST_PARTIAL"}
		fields[".payment_terms.status"]["type"].(map[string]any)["symbols"] = []any{"UNKNOWN", "PENDING", "AUTHORIZED", "PAID", "PARTIAL", "REFUNDED"}
	})
	rapid.Check(t, func(rt *rapid.T) {
		x := random(rt, order.PlacedV2{}, own).(order.PlacedV2)
		refunded := rapid.Bool().Draw(rt, "new symbol")
		got, err := through(rt, x, own, newer, func(m map[string]any) {
			m["first"] = [3]byte{1, 2, 3}
			if rapid.Bool().Draw(rt, "with unknown record") {
				m["b2b"] = map[string]any{"spine.order.B2B": map[string]any{"po": "7", "levels": []any{map[string]any{"a": 1.5}, map[string]any{}}}}
			}
			lines, _ := m["lines"].([]any)
			for i, l := range lines {
				l.(map[string]any)["weight"] = []any{nil, int64(7), "heavy"}[i%3]
			}
			if refunded {
				m["payment_terms"].(map[string]any)["status"] = "REFUNDED"
			}
		})
		if err != nil {
			rt.Fatal(err)
		}
		if refunded {
			x.PaymentTerms.Status = order.PlacedV2PaymentStatusUnknown
		}
		if diff := cmp.Diff(x, got); diff != "" {
			rt.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// What is no revision of the same major is refused when the plan is made, with the
// field: registries and libraries would read it as something else.
func TestPlan_refuses(t *testing.T) {
	t.Parallel()
	own := parse(t, order.PlacedV2{}.AvroSchema())
	typ := func(path string, change func(map[string]any)) func(map[string]map[string]any, map[string]any) {
		return func(fields map[string]map[string]any, _ map[string]any) {
			change(fields[path]["type"].(map[string]any))
		}
	}
	for name, c := range map[string]struct {
		want string
		edit func(fields map[string]map[string]any, record map[string]any)
	}{
		"scale":             {"field lines[].unit_price: bytes decimal(19,2) cannot be read as bytes decimal(19,6)", typ(".lines.unit_price", func(m map[string]any) { m["scale"] = 2 })},
		"precision":         {"field lines[].unit_price: bytes decimal(18,6) cannot be read as bytes decimal(19,6)", typ(".lines.unit_price", func(m map[string]any) { m["precision"] = 18 })},
		"no decimal":        {"field lines[].quantity: bytes cannot be read as bytes decimal(19,4)", typ(".lines.quantity", func(m map[string]any) { delete(m, "logicalType") })},
		"decimal as string": {"field lines[].quantity: string cannot be read as bytes", func(f map[string]map[string]any, _ map[string]any) { f[".lines.quantity"]["type"] = "string" }},
		"milliseconds":      {"field placed_at: long timestamp-millis cannot be read as long timestamp-micros", typ(".placed_at", func(m map[string]any) { m["logicalType"] = "timestamp-millis" })},
		"nanoseconds":       {"field placed_at: long cannot be read as long timestamp-micros", typ(".placed_at", func(m map[string]any) { m["logicalType"] = "timestamp-nanos" })},
		"nullable": {"field order_number: union cannot be read as string", func(f map[string]map[string]any, _ map[string]any) {
			f[".order_number"]["type"] = []any{"null", "string"}
		}},
		"required": {"field notes: string cannot be read as union", func(f map[string]map[string]any, _ map[string]any) {
			f[".notes"]["type"] = "string"
			delete(f[".notes"], "default")
		}},
		"missing":            {"field order_number: is missing in the writer's schema and has no default", func(_ map[string]map[string]any, r map[string]any) { remove(r, "order_number") }},
		"other nested name":  {"field customer: record spine.order.placedv2.Person cannot be read as spine.order.placedv2.Customer", typ(".customer", func(m map[string]any) { m["name"] = "Person" })},
		"another union type": {"field notes: union branch bytes is not known", func(f map[string]map[string]any, _ map[string]any) { f[".notes"]["type"] = []any{"null", "bytes"} }},
		"wider union": {"field notes: union branch long is not known", func(f map[string]map[string]any, _ map[string]any) {
			f[".notes"]["type"] = []any{"null", "string", "long"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := avrobin.NewPlan(revise(t, c.edit), own)
			if !errors.Is(err, avrobin.ErrIncompatible) || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Between equal schemas there is nothing to convert, whatever else the texts say.
func TestPlan_sameEncoding(t *testing.T) {
	t.Parallel()
	own := parse(t, order.PlacedV2{}.AvroSchema())
	other := revise(t, func(fields map[string]map[string]any, record map[string]any) {
		record["doc"] = "other words"
		fields[".notes"]["pii"] = "none"
	})
	rapid.Check(t, func(rt *rapid.T) {
		x := random(rt, order.PlacedV2{}, own).(order.PlacedV2)
		got, err := through(rt, x, own, other, func(map[string]any) {})
		if err != nil || !reflect.DeepEqual(x, got) {
			rt.Fatalf("%v: %s", err, cmp.Diff(x, got))
		}
	})
}

func FuzzPlan(f *testing.F) {
	own := parse(f, order.PlacedV2{}.AvroSchema())
	other := revise(f, func(fields map[string]map[string]any, record map[string]any) {
		remove(record, "order_aliases", "notes")
		add(record, 2, `{"name": "tree", "type": {"type": "record", "name": "Tree", "fields": [{"name": "children", "type": {"type": "array", "items": "Tree"}}]}}`)
		add(fields[".lines{}"], 1, `{"name": "nothing", "type": {"type": "array", "items": "null"}}`)
	})
	plan, err := avrobin.NewPlan(other, own)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := planned(plan, data)
		if err != nil {
			return
		}
		if _, err := decode(x, mustEncode(t, x)); err != nil {
			t.Fatal(err)
		}
	})
}

func mustEncode(t *testing.T, f fact) []byte {
	t.Helper()
	data, err := encode(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
