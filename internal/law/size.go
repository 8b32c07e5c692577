package law

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// Limits are the budgets. Special maps a path prefix to a smaller file budget.
type Limits struct {
	Function, Complexity, File, Package, Methods int
	Special                                      map[string]int
}

// Budgets is the law of sizes. Generated files are left out.
func Budgets(l Limits) Law {
	return Law{Name: "budgets", Check: func(t *Tree) (found []string) {
		for _, p := range t.Packages {
			total := 0
			for _, f := range p.Files {
				if f.Generated {
					continue
				}
				total += f.Lines
				limit := l.File
				for prefix, special := range l.Special {
					if strings.HasPrefix(f.Name, prefix) {
						limit = special
					}
				}
				if f.Lines > limit {
					found = append(found, fmt.Sprintf("%s: %d lines, budget %d: split it by concept", f.Name, f.Lines, limit))
				}
			}
			if total > l.Package {
				found = append(found, fmt.Sprintf("%s: %d lines, budget %d: the package holds more than one concept; give one a package of its own", p.Path, total, l.Package))
			}
		}
		t.each(func(_ *Package, _ *File, n ast.Node) bool {
			found = append(found, l.node(t, n)...)
			return true
		})
		return found
	}}
}

func (l Limits) node(t *Tree, n ast.Node) (found []string) {
	switch n := n.(type) {
	case *ast.FuncDecl:
		if n.Body == nil {
			return nil
		}
		if lines := t.Fset.Position(n.End()).Line - t.Fset.Position(n.Pos()).Line + 1; lines > l.Function {
			found = append(found, fmt.Sprintf("%s: %s has %d lines, budget %d: give its steps names", t.at(n), n.Name.Name, lines, l.Function))
		}
		if c := complexity(n); c > l.Complexity {
			found = append(found, fmt.Sprintf("%s: %s has complexity %d, budget %d: give its cases names", t.at(n), n.Name.Name, c, l.Complexity))
		}
	case *ast.InterfaceType:
		if len(n.Methods.List) > l.Methods {
			found = append(found, fmt.Sprintf("%s: interface of %d methods, budget %d: ask for less", t.at(n), len(n.Methods.List), l.Methods))
		}
	}
	return found
}

func complexity(f *ast.FuncDecl) int {
	c := 1
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.CommClause:
			c++
		case *ast.CaseClause:
			if n.List != nil {
				c++
			}
		case *ast.BinaryExpr:
			if n.Op == token.LAND || n.Op == token.LOR {
				c++
			}
		}
		return true
	})
	return c
}

// Documented is the law that everything exported says what it is for.
func Documented() Law {
	return Law{Name: "documented", Check: func(t *Tree) (found []string) {
		for _, p := range t.Packages {
			documented, name := false, ""
			for _, f := range p.Files {
				documented, name = documented || f.Syntax.Doc != nil, f.Syntax.Name.Name
				for _, d := range f.Syntax.Decls {
					found = append(found, undocumented(t, d)...)
				}
			}
			if !documented {
				found = append(found, fmt.Sprintf("%s: package %s has no comment: say what it is for, and what it promises", p.Path, name))
			}
		}
		return found
	}}
}

func undocumented(t *Tree, d ast.Decl) (found []string) {
	for _, name := range bare(d) {
		found = append(found, fmt.Sprintf("%s: %s has no comment: say what it is for, its units, and which errors come back when", t.at(name), name.Name))
	}
	return found
}

// bare are the exported names of a declaration that no comment stands at.
func bare(d ast.Decl) (names []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if name, doc := nameOf(s); d.Doc == nil && doc == nil && name != nil && name.IsExported() {
				names = append(names, name)
			}
		}
	}
	return names
}

func nameOf(s ast.Spec) (*ast.Ident, *ast.CommentGroup) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		return s.Name, s.Doc
	case *ast.ValueSpec:
		if s.Doc == nil {
			return s.Names[0], s.Comment
		}
		return s.Names[0], s.Doc
	}
	return nil, nil
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}
