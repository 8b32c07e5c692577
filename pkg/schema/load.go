package schema

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/hamba/avro/v2"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/schema/avsc"
)

// Fact is one fact version in its current revision.
type Fact struct {
	Type     event.Type
	File     string // order/placed.v2.avsc, below its root
	Root     int    // which root of Load holds the file
	FullName string // Avro full name and subject
	Doc      string

	Owner          string
	SystemOfRecord string
	Identity       []string
	Key            string
	Retention      string
	Producers      []string
	Deprecated     string // "" = not deprecated
	Upcast         string
	Downcast       string

	// Text is what is registered: compact .avsc text that stands alone, with doc,
	// pii, decimals and defaults, without the properties of the catalogue.
	Text string
	// Schema is Text as parsed by hamba/avro.
	Schema avro.Schema
}

// Shared is a record of schemas/common that facts have in common.
type Shared struct {
	Name     string // Money
	FullName string // spine.common.Money
	File     string // common/money.avsc
	Root     int
	Text     string // stands alone, as of a fact
	Schema   avro.Schema
}

// Set is all facts of a fleet and the records they share.
type Set struct {
	facts    []Fact
	shared   []Shared
	released []Revision
}

// Facts are the fact versions, sorted by name, then version.
func (s *Set) Facts() []Fact { return slices.Clone(s.facts) }

// Shared are the shared records, sorted by full name.
func (s *Set) Shared() []Shared { return slices.Clone(s.shared) }

// Fact finds a fact by its name, such as "order.placed.v2".
func (s *Set) Fact(name string) (Fact, bool) {
	for _, f := range s.facts {
		if f.Type.String() == name {
			return f, true
		}
	}
	return Fact{}, false
}

// Load reads the current revisions below the roots; a root is a schemas folder.
// A later root may use the shared records of an earlier one: that is how facts of
// another module share Spine's EventMeta and Money. All errors are returned
// together, each with file:line:column.
func Load(roots ...fs.FS) (*Set, error) {
	t, errs := avsc.ReadTree(roots)
	set := &Set{}
	for _, name := range slices.Sorted(maps.Keys(t.Shared)) {
		src := t.Shared[name]
		text, schema, err := t.StandAlone(src)
		errs = append(errs, err)
		set.shared = append(set.shared, Shared{
			Name: src.Node.Str("name"), FullName: name, File: src.File, Root: src.Root, Text: text, Schema: schema,
		})
	}
	for _, src := range t.Facts {
		f, err := factOf(t, src)
		if _, twice := set.Fact(f.Type.String()); err == nil && twice {
			err = avsc.Errorf(src.Node.Pos, "%s stands in two roots", f.Type)
		}
		errs = append(errs, err)
		set.facts = append(set.facts, f)
	}
	for _, root := range roots {
		r, err := Revisions(root)
		errs = append(errs, err)
		set.released = append(set.released, r...)
	}
	slices.SortFunc(set.facts, func(a, b Fact) int {
		if c := strings.Compare(a.Type.Name(), b.Type.Name()); c != 0 {
			return c
		}
		return a.Type.Major - b.Type.Major
	})
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("loading schemas:\n%w", err)
	}
	return set, nil
}

func factOf(t *avsc.Tree, src avsc.Source) (Fact, error) {
	n := src.Node
	typ, err := TypeOfFile(src.File)
	if err != nil {
		return Fact{}, avsc.Errorf(n.Pos, "%v", err)
	}
	name := src.FullName()
	if want := FullName(typ); name != want || n.Str("type") != "record" {
		return Fact{}, avsc.Errorf(n.Pos, "%s %s: a fact in this file is the record %s", n.Str("type"), name, want)
	}
	text, schema, err := t.StandAlone(src)
	return Fact{
		Type: typ, File: src.File, Root: src.Root, FullName: name, Doc: n.Str("doc"),
		Owner: n.Str("owner"), SystemOfRecord: n.Str("system_of_record"),
		Identity: n.Strings("identity"), Key: n.Str("key"), Retention: n.Str("retention"),
		Producers: n.Strings("producers"), Deprecated: n.Str("deprecated"),
		Upcast: n.Str("upcast"), Downcast: n.Str("downcast"),
		Text: text, Schema: schema,
	}, err
}
