// Package law checks the laws of a repository on its source: who may import whom,
// how large things may grow, what must not exist. Each finding says what is wrong,
// where, and what to do.
package law

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Law is one rule. Check returns a line per violation.
type Law struct {
	Name  string
	Check func(*Tree) []string
}

// Tree is the parsed source of a module, test files and testdata left out.
type Tree struct {
	Module   string
	Fset     *token.FileSet
	Packages []*Package // sorted by path
}

// Package is one folder with Go files.
type Package struct {
	Path  string // within the module: "pkg/event"
	Files []*File
}

// File is one source file.
type File struct {
	Name      string // path within the tree
	Lines     int
	Generated bool
	Syntax    *ast.File
}

// Load parses the Go files below dir, which stand for the module.
func Load(dir, module string) (*Tree, error) {
	t := &Tree{Module: module, Fset: token.NewFileSet()}
	packages := map[string]*Package{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != dir && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		return t.add(packages, dir, name)
	})
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", dir, err)
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("loading %s: no Go files", dir)
	}
	for _, p := range packages {
		t.Packages = append(t.Packages, p)
	}
	sort.Slice(t.Packages, func(i, j int) bool { return t.Packages[i].Path < t.Packages[j].Path })
	return t, nil
}

func (t *Tree) add(packages map[string]*Package, dir, name string) error {
	src, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(dir, name)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	syntax, err := parser.ParseFile(t.Fset, rel, src, parser.ParseComments)
	if err != nil {
		return err
	}
	p := packages[path.Dir(rel)]
	if p == nil {
		p = &Package{Path: path.Dir(rel)}
		packages[p.Path] = p
	}
	p.Files = append(p.Files, &File{
		Name: rel, Lines: strings.Count(string(src), "\n"), Generated: ast.IsGenerated(syntax), Syntax: syntax,
	})
	return nil
}

func (t *Tree) at(n ast.Node) string {
	p := t.Fset.Position(n.Pos())
	return p.Filename + ":" + strconv.Itoa(p.Line)
}

// each calls fn for every node of every file that a person wrote.
func (t *Tree) each(fn func(p *Package, f *File, n ast.Node) bool) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !f.Generated {
				ast.Inspect(f.Syntax, func(n ast.Node) bool { return n == nil || fn(p, f, n) })
			}
		}
	}
}
