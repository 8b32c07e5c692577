// Package lint judges schema files by the rules L01 to L18: names, documentation,
// personal data, exact money, times, defaults, keys and what the catalogue needs.
package lint

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/schema/avsc"
)

// Rule is one rule of the linter.
type Rule struct {
	ID   string `json:"id"`
	Says string `json:"says"`
}

// Rules are the rules of the linter. lint_ignore names them by id, with a reason.
func Rules() []Rule {
	return []Rule{
		{"L01", "a fact is named noun.past-participle.vN"},
		{"L02", "the Avro full name is that of the file and the fact"},
		{"L03", "precision and scale of a decimal are those of every released revision"},
		{"L04", "logical types are those of every released revision"},
		{"L05", "base types are those of every released revision"},
		{"L06", "the first symbol of an enum and its default are UNKNOWN"},
		{"L07", "no union holds a decimal: optional money is a nullable Money"},
		{"L08", "every field has doc (10 characters or more) and pii"},
		{"L09", "the first field of a fact is meta, an EventMeta"},
		{"L10", "arrays and maps default to empty, or their doc says ≥ 1"},
		{"L11", "no float or double for an amount, price, total, rate or quantity"},
		{"L12", "timestamps are timestamp-micros and end in _at; dates are dates and end in _date"},
		{"L13", "the record key is made of fields of the payload"},
		{"L14", "a fact has owner, system_of_record, identity, producers, and retention if it holds personal data"},
		{"L15", "a new major has upcast, downcast, or none with a reason, and golden samples"},
		{"L16", "a sample is smaller than 64 KiB"},
		{"L17", "defaults are those of every released revision"},
		{"L18", "money has its currency in the same record or an enclosing one"},
	}
}

// Check judges the files of the last root against the rules L01 to L18; the other
// roots supply shared records. It wants the folder as it stands on disk
// (os.DirFS): L15 and L16 look at the Go files and samples beside the schemas.
// Files in findings are relative to the root. A file that is no schema is a
// finding of rule L00. An error means that the folder can't be read.
func Check(roots ...fs.FS) ([]schema.Finding, error) {
	if len(roots) == 0 {
		return nil, errors.New("linting schemas: no folder")
	}
	t, errs := avsc.ReadTree(roots)
	l := &linter{tree: t, fsys: roots[len(roots)-1]}
	for _, err := range errs {
		var at *avsc.Error
		if !errors.As(err, &at) {
			return nil, fmt.Errorf("linting schemas: %w", err)
		}
		l.unreadable(at)
	}
	frozen, err := schema.Revisions(l.fsys)
	if err != nil {
		return nil, fmt.Errorf("linting schemas: %w", err)
	}
	l.frozen = frozen
	last := len(roots) - 1
	for _, name := range slices.Sorted(sharedOf(t, last)) {
		l.file(t.Shared[name], true)
	}
	for _, src := range t.Facts {
		if src.Root == last {
			l.file(src, false)
		}
	}
	return schema.SortFindings(l.found), nil
}

func sharedOf(t *avsc.Tree, root int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name, src := range t.Shared {
			if src.Root == root && !yield(name) {
				return
			}
		}
	}
}

type linter struct {
	tree   *avsc.Tree
	fsys   fs.FS
	frozen []schema.Revision
	found  []schema.Finding
}

// subject is one file under the rules.
type subject struct {
	file  string
	node  *avsc.Node
	typ   *avsc.Type
	event event.Type // zero for a shared record
}

// place is where a rule looks: the nodes around it decide what is ignored there.
type place struct {
	around []*avsc.Node // file first
	path   string
}

func (p place) in(n *avsc.Node, path string) place {
	return place{around: append(slices.Clip(p.around), n), path: path}
}

// report adds a finding unless a node around it ignores the rule.
func (l *linter) report(p place, at avsc.Pos, rule, message, remedy string) {
	for _, n := range p.around {
		if n.Get("lint_ignore").Str(rule) != "" {
			return
		}
	}
	l.found = append(l.found, schema.Finding{File: at.File, Line: at.Line, Column: at.Column, Rule: rule, Path: p.path, Message: message, Remedy: remedy})
}

func (l *linter) unreadable(err *avsc.Error) {
	l.report(place{}, err.Pos, "L00", err.Msg, "write a record as Avro 1.12 declares it")
}

func (l *linter) file(src avsc.Source, shared bool) {
	s := subject{file: src.File, node: src.Node}
	top := place{around: []*avsc.Node{src.Node}}
	var err error
	if !shared && !l.names(&s, top) {
		return
	}
	if s.typ, err = avsc.Resolve(src.Node, l.tree.Lookup); err == nil {
		_, _, err = l.tree.StandAlone(src)
	}
	if err != nil {
		var at *avsc.Error
		if errors.As(err, &at) {
			l.unreadable(at)
		}
		return
	}
	l.ignores(src.Node, top)
	l.walk(s, s.typ, top)
	if !shared {
		l.metaFirst(s, top)
		l.keyResolves(s, top)
		l.catalogued(s, top)
		l.converts(s, top)
		l.samples(s, top)
		l.likeReleased(s, top)
		l.currencies(s)
	}
}

// ignores checks that each lint_ignore names a rule and a reason.
func (l *linter) ignores(n *avsc.Node, p place) {
	for i := range n.Members {
		m := n.Members[i]
		if m.Key == "lint_ignore" {
			l.ignore(m.Value, p)
			continue
		}
		l.ignores(m.Value, p)
	}
	for _, it := range n.Items {
		l.ignores(it, p)
	}
}

func (l *linter) ignore(n *avsc.Node, p place) {
	known := func(id string) bool {
		return slices.ContainsFunc(Rules(), func(r Rule) bool { return r.ID == id })
	}
	for _, m := range n.Members {
		switch {
		case !known(m.Key):
			l.report(p, m.KeyPos, "L00", fmt.Sprintf("lint_ignore names no rule %s", m.Key), "name one of L01 to L18")
		case len(strings.TrimSpace(m.Value.Text)) < 10:
			l.found = append(l.found, schema.Finding{
				File: n.Pos.File, Line: m.KeyPos.Line, Column: m.KeyPos.Column, Rule: m.Key,
				Message: "lint_ignore gives no reason", Remedy: "say in a few words why the rule doesn't hold here",
			})
		}
	}
	if n.Kind != avsc.Object {
		l.report(p, n.Pos, "L00", "lint_ignore is no object", `write {"L11": "reason"}`)
	}
}

// walk visits every field and type that the file itself declares.
func (l *linter) walk(s subject, t *avsc.Type, p place) {
	if t.Node.Pos.File != s.file {
		return // a shared record, linted in its own file
	}
	switch t.Kind {
	case "record":
		for _, f := range t.Fields {
			at := p.in(f.Node, joinPath(p.path, f.Name))
			l.field(f, at)
			l.nested(s, f.Type, at, at.path)
		}
	case "enum":
		l.unknownFirst(t, p.in(t.Node, p.path))
	case "array":
		l.nested(s, t.Items, p, p.path+"[]")
	case "map":
		l.nested(s, t.Items, p, p.path+"{}")
	case "union":
		for _, b := range t.Branches {
			if b.Logical == "decimal" {
				l.report(p, b.Node.Pos, "L07", "a decimal in a union: decoders turn it into 0 without an error", "use a nullable "+avsc.SharedNamespace+".Money")
			}
			l.nested(s, b, p, p.path)
		}
	}
}

// nested walks a type inside the innermost node around p, unless it is only named
// there: each declaration is judged once, where it stands.
func (l *linter) nested(s subject, t *avsc.Type, p place, path string) {
	if t.Name == "" || declares(p.around[len(p.around)-1], t.Node) {
		l.walk(s, t, place{around: p.around, path: path})
	}
}

// declares says whether the declaration n stands inside outer, rather than being
// referred to by name from there.
func declares(outer, n *avsc.Node) bool {
	if outer == n {
		return true
	}
	for _, m := range outer.Members {
		if declares(m.Value, n) {
			return true
		}
	}
	return slices.ContainsFunc(outer.Items, func(it *avsc.Node) bool { return declares(it, n) })
}

func joinPath(path, name string) string {
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
