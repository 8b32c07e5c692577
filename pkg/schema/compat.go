package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/schema/avsc"
)

// Mode is a direction of compatibility.
type Mode int

// The directions. Full, both of them, is the law inside a major.
const (
	Backward Mode = 1 << iota // readers of the new schema read events of the old one
	Forward                   // readers of the old schema read events of the new one
	Full     = Backward | Forward
)

// breaks says who is hurt by a change.
func (m Mode) breaks() string {
	switch m {
	case Backward:
		return "new readers can't read old events"
	case Forward:
		return "old readers can't read new events"
	}
	return "in both directions"
}

const newMajor = "make it a new major: a new fact with the next version, an upcast and a downcast"

// Compatible says what stands against replacing one schema text by another, each
// text standing alone: all reasons, with path and remedy. Registries compare the
// bytes only; here a change of decimal precision or scale, of a logical type, of a
// default or between string and bytes is refused too, because every reader would
// decode it, and read something else. An error means that a text is no schema.
func Compatible(oldText, newText string, mode Mode) ([]Finding, error) {
	before, err := avsc.ParseType("old", oldText)
	if err != nil {
		return nil, fmt.Errorf("reading the old schema: %w", err)
	}
	after, err := avsc.ParseType("new", newText)
	if err != nil {
		return nil, fmt.Errorf("reading the new schema: %w", err)
	}
	return compare(before, after, mode), nil
}

// CompatibleAt is Compatible at a level of a registry: NONE, BACKWARD, FORWARD,
// FULL, each but NONE also _TRANSITIVE. olds are the texts of the older versions
// in their order; a level that isn't transitive looks at the last one only. The
// findings name the version, counted from 1, that a text breaks.
func CompatibleAt(level string, olds []string, newText string) ([]Finding, error) {
	base, transitive := strings.CutSuffix(level, "_TRANSITIVE")
	mode, known := map[string]Mode{"NONE": 0, "BACKWARD": Backward, "FORWARD": Forward, "FULL": Full}[base]
	if !known || (base == "NONE" && transitive) {
		return nil, fmt.Errorf("compatibility level %q: want NONE, BACKWARD, FORWARD, FULL or one of the last three with _TRANSITIVE", level)
	}
	first := 0
	if !transitive {
		first = max(len(olds)-1, 0)
	}
	if mode == 0 {
		return nil, nil
	}
	var all []Finding
	for i := first; i < len(olds); i++ {
		found, err := Compatible(olds[i], newText, mode)
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", i+1, err)
		}
		for _, f := range found {
			f.Message = fmt.Sprintf("against version %d: %s", i+1, f.Message)
			all = append(all, f)
		}
	}
	return all, nil
}

func compare(before, after *avsc.Type, mode Mode) []Finding {
	c := &comparison{mode: mode, seen: map[[2]*avsc.Type]bool{}}
	c.types(before, after, "")
	return SortFindings(c.found)
}

type comparison struct {
	mode  Mode
	seen  map[[2]*avsc.Type]bool // pairs of named types: each is judged once, at its first path
	found []Finding
}

// add keeps a finding if one of the directions that it breaks is asked for.
func (c *comparison) add(breaks Mode, rule string, at *avsc.Node, path, message, remedy string) {
	if breaks &= c.mode; breaks == 0 {
		return
	}
	c.found = append(c.found, Finding{
		File: at.Pos.File, Line: at.Pos.Line, Column: at.Pos.Column,
		Rule: rule, Path: path, Breaks: breaks.breaks(), Message: message, Remedy: remedy,
	})
}

func (c *comparison) types(before, after *avsc.Type, path string) {
	if before.Kind == "union" || after.Kind == "union" {
		c.unions(before, after, path)
		return
	}
	if before.Kind != after.Kind {
		c.kinds(before, after, path)
		return
	}
	if before.Name != "" {
		pair := [2]*avsc.Type{before, after}
		if c.seen[pair] {
			return
		}
		c.seen[pair] = true
		if before.Name != after.Name {
			c.add(Full, "C09", after.Node, path, fmt.Sprintf("the name changed from %s to %s", before.Name, after.Name), "keep the name; a schema is found by it")
		}
	}
	c.meaning(before, after, path)
	switch after.Kind {
	case "record":
		c.fields(before, after, path)
	case "enum":
		c.symbols(before, after, path)
	case "array":
		c.types(before.Items, after.Items, path+"[]")
	case "map":
		c.types(before.Items, after.Items, path+"{}")
	case "fixed":
		if before.Size != after.Size {
			c.add(Full, "C08", after.Node, path, fmt.Sprintf("the size changed from %d to %d", before.Size, after.Size), newMajor)
		}
	}
}

// meaning finds what a decoder doesn't notice: the same bytes would be read as
// something else.
func (c *comparison) meaning(before, after *avsc.Type, path string) {
	switch {
	case before.Logical != after.Logical:
		c.add(Full, "L04", after.Node, path, fmt.Sprintf("the logical type changed from %s to %s", avsc.Or(before.Logical, "none"), avsc.Or(after.Logical, "none")), newMajor)
	case before.Logical == "decimal" && (before.Precision != after.Precision || before.Scale != after.Scale):
		c.add(Full, "L03", after.Node, path, fmt.Sprintf("%s became %s: amounts would be read with the wrong scale", before, after), newMajor)
	}
}

// promotions are the types that Avro reads as others, by the writer's type.
var promotions = map[string][]string{
	"int":   {"long", "float", "double"},
	"long":  {"float", "double"},
	"float": {"double"},
}

func (c *comparison) kinds(before, after *avsc.Type, path string) {
	message := fmt.Sprintf("the type changed from %s to %s", before, after)
	switch {
	case before.Logical != "" || after.Logical != "":
		c.add(Full, "L04", after.Node, path, message, newMajor)
	case slices.Contains(promotions[before.Kind], after.Kind):
		c.add(Forward, "C04", after.Node, path, message, newMajor)
	case slices.Contains(promotions[after.Kind], before.Kind):
		c.add(Backward, "C04", after.Node, path, message, newMajor)
	default:
		c.add(Full, "L05", after.Node, path, message, newMajor)
	}
}

func (c *comparison) fields(before, after *avsc.Type, path string) {
	renamed := map[string]bool{}
	for _, f := range after.Fields {
		at := join(path, f.Name)
		old := before.Field(f.Name)
		if old == nil {
			for _, alias := range f.Aliases {
				if o := before.Field(alias); o != nil && after.Field(alias) == nil {
					old = o
					renamed[alias] = true
					c.add(Forward, "C03", f.Node, at, fmt.Sprintf("%s was renamed: old readers know the old name only", alias), "keep the name "+alias+", or "+newMajor)
					break
				}
			}
		}
		if old == nil {
			if f.Default == nil {
				c.add(Backward, "C01", f.Node, at, "the field is new and has no default", "give it a default that means unknown, or "+newMajor)
			}
			continue
		}
		c.types(old.Type, f.Type, at)
		if old.Default != nil && (f.Default == nil || f.Default.Compact() != old.Default.Compact()) {
			c.add(Full, "L17", f.Node, at, fmt.Sprintf("the default changed from %s to %s", old.Default.Compact(), literal(f.Default)), "keep the default; events without the field would change their meaning")
		}
	}
	for _, f := range before.Fields {
		if after.Field(f.Name) == nil && !renamed[f.Name] && f.Default == nil {
			c.add(Forward, "C02", after.Node, join(path, f.Name), "the field is gone and had no default", "keep it, or "+newMajor)
		}
	}
}

func (c *comparison) symbols(before, after *avsc.Type, path string) {
	for _, s := range before.Symbols {
		if !slices.Contains(after.Symbols, s) {
			c.add(Backward, "C06", after.Node, path, fmt.Sprintf("the symbol %s is gone: stored events would lose it", s), "keep the symbol")
		}
	}
	if before.Default == nil {
		for _, s := range after.Symbols {
			if !slices.Contains(before.Symbols, s) {
				c.add(Forward, "C06", after.Node, path, fmt.Sprintf("the symbol %s is new and the old schema has no default to read it as", s), newMajor)
			}
		}
	} else if after.Default == nil || after.Default.Text != before.Default.Text {
		c.add(Full, "C07", after.Node, path, fmt.Sprintf("the default of the enum changed from %s to %s", before.Default.Compact(), literal(after.Default)), "keep the default")
	}
}

// unions judges a change that has a union on either side. Branches are matched by
// what they are; a branch without a partner can't be read by the other side.
func (c *comparison) unions(before, after *avsc.Type, path string) {
	olds, news := branches(before), branches(after)
	for _, n := range news {
		if o := partner(n, olds); o != nil {
			c.types(o, n, path)
		} else if !promoted(n, olds) {
			c.add(Forward, "C05", after.Node, path, fmt.Sprintf("%s became %s: the old type can't hold %s", before, after, n), newMajor)
		}
	}
	for _, o := range olds {
		if partner(o, news) == nil && !promoted(o, news) {
			c.add(Backward, "C05", after.Node, path, fmt.Sprintf("%s became %s: the new type can't hold %s", before, after, o), newMajor)
		}
	}
}

// promoted says whether a reader with one of these types reads what t wrote.
func promoted(t *avsc.Type, readers []*avsc.Type) bool {
	return t.Logical == "" && slices.ContainsFunc(readers, func(r *avsc.Type) bool {
		return r.Logical == "" && slices.Contains(promotions[t.Kind], r.Kind)
	})
}

func branches(t *avsc.Type) []*avsc.Type {
	if t.Kind == "union" {
		return t.Branches
	}
	return []*avsc.Type{t}
}

// partner is the branch of the same kind, and of the same unqualified name where
// types have one: that is how Avro matches them.
func partner(t *avsc.Type, among []*avsc.Type) *avsc.Type {
	for _, o := range among {
		if o.Kind == t.Kind && (t.Name == "" || o.Unqualified() == t.Unqualified()) {
			return o
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func literal(n *avsc.Node) string {
	if n == nil {
		return "none"
	}
	return n.Compact()
}
