package law

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Home is what packages under a prefix may import.
type Home struct {
	May    []string // prefixes within the module
	Pure   bool     // nothing from other modules
	Except []string // modules that a pure home may import all the same
}

// Imports is the import law. homes maps a package prefix to its home; "x/*" means
// the folders below x, but not x itself.
func Imports(homes map[string]Home) Law {
	return Law{Name: "imports", Check: func(t *Tree) (found []string) {
		for _, p := range t.Packages {
			home, ok := homeOf(homes, p.Path)
			if !ok {
				found = append(found, fmt.Sprintf("%s: no home in the layout: put the code into the package that carries the concept, or give it a line in homes (arch_test.go) and in the design", p.Path))
				continue
			}
			for _, f := range p.Files {
				for _, spec := range f.Syntax.Imports {
					name, err := strconv.Unquote(spec.Path.Value)
					if err != nil {
						continue
					}
					if what := home.refuses(t.Module, p.Path, name); what != "" {
						found = append(found, fmt.Sprintf("%s: %s may not import %s: %s", t.at(spec), p.Path, name, what))
					}
				}
			}
		}
		return found
	}}
}

func (h Home) refuses(module, from, name string) string {
	if inside, ok := strings.CutPrefix(name, module+"/"); ok {
		own := path.Dir(from) == path.Dir(inside) && from != inside && (under(from, "producers") || under(from, "consumers"))
		if own {
			return "a system or a group never calls another one: let it publish a fact, and react to that"
		}
		if under(inside, from) || slices.ContainsFunc(h.May, func(p string) bool { return under(inside, p) }) {
			return ""
		}
		return "the import law allows " + list(h.May) + ": move the code to where the concept lives, or pass what is needed as an argument"
	}
	first, _, _ := strings.Cut(name, "/")
	if !strings.Contains(first, ".") || !h.Pure || slices.ContainsFunc(h.Except, func(p string) bool { return under(name, p) }) {
		return "" // standard library, or a home that may use other modules
	}
	return "this package stands on the standard library alone: leave I/O and vendor libraries to the engines, or name the exception in homes (arch_test.go) with its reason"
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing of this module here"
	}
	return strings.Join(names, ", ")
}

func under(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

// homeOf finds the longest prefix.
func homeOf(homes map[string]Home, name string) (home Home, ok bool) {
	best := -1
	for prefix, h := range homes {
		dir, star := strings.CutSuffix(prefix, "/*")
		matches := under(name, dir)
		if star {
			matches = strings.HasPrefix(name, dir+"/")
		}
		if matches && len(prefix) > best {
			best, home, ok = len(prefix), h, true
		}
	}
	return home, ok
}

// TestKits is the law that what tests stand on is no part of the program: a package
// whose name ends in "test" is imported by tests, and by others of its kind, alone.
func TestKits() Law {
	return Law{Name: "test-kits", Check: func(t *Tree) (found []string) {
		for _, p := range t.Packages {
			if strings.HasSuffix(p.Path, "test") {
				continue
			}
			for _, f := range p.Files {
				for _, spec := range f.Syntax.Imports {
					name, err := strconv.Unquote(spec.Path.Value)
					if err == nil && under(name, t.Module) && strings.HasSuffix(name, "test") {
						found = append(found, fmt.Sprintf("%s: %s imports the test kit %s: import it from a _test.go file, or move what both need to where the concept lives", t.at(spec), p.Path, name))
					}
				}
			}
		}
		return found
	}}
}

// Listed is the law "one folder, one line": the list package of each root imports
// every folder below the root.
func Listed(roots ...string) Law {
	return Law{Name: "listed", Check: func(t *Tree) (found []string) {
		for _, root := range roots {
			imported, file := listOf(t, root)
			for _, p := range t.Packages {
				rest, ok := strings.CutPrefix(p.Path, root+"/")
				if ok && !strings.Contains(rest, "/") && !imported[p.Path] {
					found = append(found, fmt.Sprintf("%s: not in the list: add one line for it to %s", p.Path, file))
				}
			}
		}
		return found
	}}
}

func listOf(t *Tree, root string) (imported map[string]bool, file string) {
	imported, file = map[string]bool{}, root+"/"+root+".go"
	for _, p := range t.Packages {
		if p.Path != root {
			continue
		}
		for _, f := range p.Files {
			for _, spec := range f.Syntax.Imports {
				name, err := strconv.Unquote(spec.Path.Value)
				if err == nil {
					imported[strings.TrimPrefix(name, t.Module+"/")] = true
				}
			}
		}
	}
	return imported, file
}
