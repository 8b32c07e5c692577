package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/schema/avsc"
)

// Change is a field that differs between two schemas.
type Change struct {
	Path   string `json:"path"`   // lines[].unit_price
	Change string `json:"change"` // added, removed or changed
	Before string `json:"before"` // type, default and personal data; "" = there is none
	After  string `json:"after"`
}

// The changes of a field.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// Diff lists the fields that differ between two schema texts, each standing alone: in
// the order of the new one, then what is removed. What is inside a field that is added
// or removed goes with it. Whether the change is allowed is what Compatible says.
func Diff(oldText, newText string) ([]Change, error) {
	before, err := flattened("old", oldText)
	if err != nil {
		return nil, fmt.Errorf("reading the old schema: %w", err)
	}
	after, err := flattened("new", newText)
	if err != nil {
		return nil, fmt.Errorf("reading the new schema: %w", err)
	}
	changes := []Change{}
	for _, path := range after.paths {
		switch is, was := after.says[path], before.says[path]; {
		case was == "" && before.parent(after, path):
			changes = append(changes, Change{path, Added, "", is})
		case was != "" && was != is:
			changes = append(changes, Change{path, Changed, was, is})
		}
	}
	for _, path := range before.paths {
		if after.says[path] == "" && after.parent(before, path) {
			changes = append(changes, Change{path, Removed, before.says[path], ""})
		}
	}
	return changes, nil
}

// flat are the fields of a schema by path, those of records inside among them.
type flat struct {
	paths []string
	says  map[string]string
	above map[string]string // path of the field around; "" = the schema itself
}

func flattened(name, text string) (*flat, error) {
	t, err := avsc.ParseType(name, text)
	if err != nil {
		return nil, err
	}
	f := &flat{says: map[string]string{}, above: map[string]string{}}
	f.walk(t, "", "", nil)
	return f, nil
}

// parent says whether the field around a path of another schema is here, too.
func (f *flat) parent(of *flat, path string) bool {
	around := of.above[path]
	return around == "" || f.says[around] != ""
}

// walk adds the fields below a type. inside are the records around it: a recursive one
// is walked once.
func (f *flat) walk(t *avsc.Type, path, field string, inside []*avsc.Type) {
	switch t.Kind {
	case "array":
		f.walk(t.Items, path+"[]", field, inside)
	case "map":
		f.walk(t.Items, path+"{}", field, inside)
	case "union":
		for _, b := range t.Branches {
			f.walk(b, path, field, inside)
		}
	case "record":
		if slices.Contains(inside, t) {
			return
		}
		for _, x := range t.Fields {
			at := join(path, x.Name)
			if f.says[at] == "" { // two records in a union may share a name
				f.paths = append(f.paths, at)
			}
			f.says[at], f.above[at] = described(x), field
			f.walk(x.Type, at, at, append(slices.Clone(inside), t))
		}
	}
}

// described is what a reader of a field has to know.
func described(x *avsc.Field) string {
	s := typed(x.Type)
	if x.Default != nil {
		s += " = " + x.Default.Compact()
	}
	if pii := x.Node.Get("pii"); pii != nil && pii.Text != "none" {
		s += ", pii " + pii.Text
	}
	return s
}

// typed is the type with the symbols of an enum and the size of a fixed.
func typed(t *avsc.Type) string {
	switch t.Kind {
	case "union":
		names := make([]string, len(t.Branches))
		for i, b := range t.Branches {
			names[i] = typed(b)
		}
		return "union{" + strings.Join(names, ", ") + "}"
	case "array", "map":
		return t.Kind + "<" + typed(t.Items) + ">"
	case "enum":
		return t.Unqualified() + "{" + strings.Join(t.Symbols, ", ") + "}"
	case "fixed":
		return fmt.Sprintf("%s(%d)", t, t.Size)
	}
	return t.String()
}
