package avsc

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/hamba/avro/v2"
)

// Where things stand in a schemas folder.
const (
	SharedDir       = "common"       // records that facts share
	SharedNamespace = "spine.common" // their namespace
	ReleasedDir     = "released"     // frozen revisions
)

// Source is one parsed file of a schemas folder.
type Source struct {
	Root int    // which root holds it
	File string // below the root
	Node *Node
}

// Tree is the current revisions below some roots.
type Tree struct {
	Facts  []Source
	Shared map[string]Source // by full name
}

// ReadTree parses all current revisions below the roots, each a schemas folder.
// What doesn't parse is an error and left out.
func ReadTree(roots []fs.FS) (*Tree, []error) {
	t := &Tree{Shared: map[string]Source{}}
	var errs []error
	for i, root := range roots {
		err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if base := path.Base(file); base == ReleasedDir || base == "testdata" {
					return fs.SkipDir
				}
				return nil
			}
			if path.Ext(file) == ".avsc" {
				if err := t.add(root, i, file); err != nil {
					errs = append(errs, err)
				}
			}
			return nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("reading schemas: %w", err))
		}
	}
	return t, errs
}

func (t *Tree) add(root fs.FS, index int, file string) error {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return fmt.Errorf("reading schema: %w", err)
	}
	node, err := Parse(file, text)
	if err != nil {
		return err
	}
	if node.Kind != Object || node.Str("name") == "" {
		return Errorf(node.Pos, "want a record or enum with a name")
	}
	src := Source{Root: index, File: file, Node: node}
	if path.Dir(file) != SharedDir {
		t.Facts = append(t.Facts, src)
		return nil
	}
	name := src.FullName()
	if !strings.HasPrefix(name, SharedNamespace+".") {
		return Errorf(node.Pos, "shared record %s: want namespace %s", name, SharedNamespace)
	}
	if other, taken := t.Shared[name]; taken {
		return Errorf(node.Pos, "shared record %s stands in %s too", name, other.File)
	}
	t.Shared[name] = src
	return nil
}

// FullName is the Avro full name that the file declares.
func (s Source) FullName() string { return Qualify(s.Node.Str("namespace"), s.Node.Str("name")) }

// Lookup finds the declaration of a shared record, nil if there is none.
func (t *Tree) Lookup(fullName string) *Node { return t.Shared[fullName].Node }

// StandAlone inlines the shared records: it returns compact text without the
// properties of the catalogue, and the text as hamba/avro parses it. hamba's
// global cache, in which schemas of the same name would replace each other, stays
// out of it.
func (t *Tree) StandAlone(src Source) (string, avro.Schema, error) {
	node, err := t.inline(src.Node)
	if err != nil {
		return "", nil, err
	}
	text := node.Compact()
	schema, err := avro.ParseBytesWithCache([]byte(text), "", &avro.SchemaCache{})
	if err != nil {
		return text, nil, Errorf(src.Node.Pos, "%s: %v", src.Node.Str("name"), err)
	}
	return text, schema, nil
}
