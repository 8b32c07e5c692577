package schema

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hamba/avro/v2"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/schema/avsc"
)

const (
	sharedDir   = "common"
	releasedDir = "released"
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
	t, errs := readTree(roots)
	set := &Set{}
	for _, name := range slices.Sorted(maps.Keys(t.shared)) {
		src := t.shared[name]
		text, schema, err := t.standAlone(src)
		errs = append(errs, err)
		set.shared = append(set.shared, Shared{
			Name: src.node.Str("name"), FullName: name, File: src.file, Root: src.root, Text: text, Schema: schema,
		})
	}
	for _, src := range t.facts {
		f, err := t.fact(src)
		if _, twice := set.Fact(f.Type.String()); err == nil && twice {
			err = avsc.Errorf(src.node.Pos, "%s stands in two roots", f.Type)
		}
		errs = append(errs, err)
		set.facts = append(set.facts, f)
	}
	for _, root := range roots {
		r, err := revisions(root)
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

// source is one parsed file.
type source struct {
	root int
	file string
	node *avsc.Node
}

type tree struct {
	facts  []source
	shared map[string]source // by full name
}

// readTree parses all files; what does not parse is an error and left out.
func readTree(roots []fs.FS) (tree, []error) {
	t := tree{shared: map[string]source{}}
	var errs []error
	for i, root := range roots {
		err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if base := path.Base(file); base == releasedDir || base == "testdata" {
					return fs.SkipDir
				}
				return nil
			}
			if path.Ext(file) == ".avsc" {
				errs = append(errs, t.add(root, i, file))
			}
			return nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("reading schemas: %w", err))
		}
	}
	return t, slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// lookup finds the declaration of a shared record.
func (t *tree) lookup(fullName string) *avsc.Node { return t.shared[fullName].node }

func (t *tree) add(root fs.FS, index int, file string) error {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return fmt.Errorf("reading schema: %w", err)
	}
	node, err := avsc.Parse(file, text)
	if err != nil {
		return err
	}
	if node.Kind != avsc.Object || node.Str("name") == "" {
		return avsc.Errorf(node.Pos, "want a record or enum with a name")
	}
	src := source{root: index, file: file, node: node}
	if path.Dir(file) != sharedDir {
		t.facts = append(t.facts, src)
		return nil
	}
	name := avsc.Qualify(node.Str("namespace"), node.Str("name"))
	if !strings.HasPrefix(name, SharedNamespace+".") {
		return avsc.Errorf(node.Pos, "shared record %s: want namespace %s", name, SharedNamespace)
	}
	if other, taken := t.shared[name]; taken {
		return avsc.Errorf(node.Pos, "shared record %s stands in %s too", name, other.file)
	}
	t.shared[name] = src
	return nil
}

func (t *tree) fact(src source) (Fact, error) {
	n := src.node
	typ, err := typeOfFile(src.file)
	if err != nil {
		return Fact{}, avsc.Errorf(n.Pos, "%v", err)
	}
	name := avsc.Qualify(n.Str("namespace"), n.Str("name"))
	if want := FullName(typ); name != want || n.Str("type") != "record" {
		return Fact{}, avsc.Errorf(n.Pos, "%s %s: a fact in this file is the record %s", n.Str("type"), name, want)
	}
	text, schema, err := t.standAlone(src)
	return Fact{
		Type: typ, File: src.file, Root: src.root, FullName: name, Doc: n.Str("doc"),
		Owner: n.Str("owner"), SystemOfRecord: n.Str("system_of_record"),
		Identity: n.Strings("identity"), Key: n.Str("key"), Retention: n.Str("retention"),
		Producers: n.Strings("producers"), Deprecated: n.Str("deprecated"),
		Upcast: n.Str("upcast"), Downcast: n.Str("downcast"),
		Text: text, Schema: schema,
	}, err
}

// standAlone inlines the shared records and parses the result. It never touches
// hamba's global cache, in which schemas of the same name would replace each other.
func (t *tree) standAlone(src source) (string, avro.Schema, error) {
	node, err := t.inline(src.node)
	if err != nil {
		return "", nil, err
	}
	text := node.Compact()
	schema, err := avro.ParseBytesWithCache([]byte(text), "", &avro.SchemaCache{})
	if err != nil {
		return text, nil, avsc.Errorf(src.node.Pos, "%s: %v", src.node.Str("name"), err)
	}
	return text, schema, nil
}
