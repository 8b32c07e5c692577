package schema

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"

	"github.com/eventspine/spine/pkg/schema/avsc"
)

// same tells whether two texts are one schema. Registries write a schema in their own
// way: with other white space, and without a namespace that the enclosing type says.
func same(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(fullNames(x, ""), fullNames(y, ""))
}

// fullNames is a schema as JSON with every name in full, of types and of references to
// them. space is the namespace of the enclosing type.
func fullNames(v any, space string) any {
	switch v := v.(type) {
	case string:
		if avsc.Primitive(v) {
			return v
		}
		return avsc.Qualify(space, v)
	case []any:
		union := make([]any, len(v))
		for i, branch := range v {
			union[i] = fullNames(branch, space)
		}
		return union
	case map[string]any:
		return fullNamesOf(v, space)
	}
	return v
}

func fullNamesOf(typ map[string]any, space string) map[string]any {
	out := maps.Clone(typ)
	if name, ok := typ["name"].(string); ok && typ["type"] != nil {
		if own, ok := typ["namespace"].(string); ok {
			space = own
		}
		name = avsc.Qualify(space, name)
		if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
			space = name[:dot]
		}
		out["name"] = name
		delete(out, "namespace")
	}
	for _, part := range []string{"type", "items", "values"} {
		if typ[part] != nil {
			out[part] = fullNames(typ[part], space)
		}
	}
	if fields, ok := typ["fields"].([]any); ok {
		all := make([]any, len(fields))
		for i, f := range fields {
			field, ok := f.(map[string]any)
			if !ok {
				all[i] = f
				continue
			}
			field = maps.Clone(field)
			field["type"] = fullNames(field["type"], space)
			all[i] = field
		}
		out["fields"] = all
	}
	return out
}
