package law

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// NoInit is the law that nothing happens before main.
func NoInit() Law {
	return Law{Name: "no-init", Check: func(t *Tree) (found []string) {
		t.each(func(_ *Package, _ *File, n ast.Node) bool {
			if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				found = append(found, fmt.Sprintf("%s: init(): build the value in a constructor and pass it on; registries are list literals", t.at(n)))
			}
			return true
		})
		return found
	}}
}

// NoMutableVariable is the law that packages hold no state. Errors, compiled
// patterns, embedded files and tables that nothing writes to are allowed.
func NoMutableVariable() Law {
	return Law{Name: "no-mutable-variable", Check: func(t *Tree) (found []string) {
		for _, p := range t.Packages {
			names := map[string]bool{}
			for _, f := range p.Files {
				for _, d := range f.Syntax.Decls {
					if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
						found = append(found, variables(t, g, names)...)
					}
				}
			}
			for _, f := range p.Files {
				found = append(found, writes(t, f, names)...)
			}
		}
		return found
	}}
}

func variables(t *Tree, g *ast.GenDecl, names map[string]bool) (found []string) {
	for _, s := range g.Specs {
		spec, ok := s.(*ast.ValueSpec)
		if !ok {
			continue
		}
		embedded := strings.Contains(text(g.Doc)+text(spec.Doc), "//go:embed")
		for i, name := range spec.Names {
			names[name.Name] = true
			if name.Name == "_" || embedded || i < len(spec.Values) && constant(spec.Values[i]) {
				continue
			}
			found = append(found, fmt.Sprintf("%s: package variable %s: make it a field of what uses it, a constant, or a table literal that nothing writes to", t.at(name), name.Name))
		}
	}
	return found
}

// constant tells values that do not change from those that may.
func constant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit, *ast.BasicLit, *ast.FuncLit:
		return true
	case *ast.CallExpr:
		switch fn := e.Fun.(type) {
		case *ast.SelectorExpr:
			pkg, ok := fn.X.(*ast.Ident)
			if !ok {
				return false
			}
			switch pkg.Name + "." + fn.Sel.Name {
			case "errors.New", "regexp.MustCompile", "template.Must", "strings.NewReplacer", "big.NewInt":
				return true
			}
		case *ast.ArrayType:
			return true // a conversion such as []byte("…")
		}
	}
	return false
}

func writes(t *Tree, f *File, names map[string]bool) (found []string) {
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		for _, target := range targets(n) {
			if name := root(f, target); name != "_" && names[name] {
				found = append(found, fmt.Sprintf("%s: package variable %s is written: make it a field of what uses it", t.at(n), name))
			}
		}
		return true
	})
	return found
}

// targets are the expressions that a statement writes to.
func targets(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.CallExpr:
		if fn, ok := n.Fun.(*ast.Ident); ok && (fn.Name == "delete" || fn.Name == "clear") && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// root is the name that x[i].y = … writes to; "_" for a local variable, which may
// shadow: the parser resolves within the file, which is enough to see it.
func root(f *File, e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.Ident:
			if x.Obj != nil && f.Syntax.Scope.Lookup(x.Name) != x.Obj {
				return "_"
			}
			return x.Name
		default:
			return "_"
		}
	}
}

func text(c *ast.CommentGroup) string {
	if c == nil {
		return ""
	}
	var b strings.Builder
	for _, line := range c.List {
		b.WriteString(line.Text + "\n")
	}
	return b.String()
}

// NoContextInStruct is the law that a context is a parameter. A field whose comment
// says "client lifetime" is excepted.
func NoContextInStruct() Law {
	return Law{Name: "no-context-in-struct", Check: func(t *Tree) (found []string) {
		t.each(func(_ *Package, _ *File, n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				sel, ok := field.Type.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != "Context" || strings.Contains(text(field.Doc)+text(field.Comment), "client lifetime") {
					continue
				}
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "context" {
					found = append(found, fmt.Sprintf("%s: a context in a struct: pass it as the first parameter; for a client that outlives calls keep the cancel function, or say \"client lifetime\" in the field's comment", t.at(field)))
				}
			}
			return true
		})
		return found
	}}
}
