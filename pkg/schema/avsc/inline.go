package avsc

import "strings"

// catalogProps say things about a fact, not about its bytes. They stay out of the
// registered text, so that a new owner makes no new version.
var catalogProps = map[string]bool{
	"owner": true, "system_of_record": true, "identity": true, "key": true, "retention": true,
	"producers": true, "deprecated": true, "upcast": true, "downcast": true, "lint_ignore": true,
}

// inline returns the schema with every shared record in the place of its first
// use and every other reference by full name.
func (t *Tree) inline(root *Node) (*Node, error) {
	in := inliner{shared: t.Shared, known: map[string]bool{}}
	return in.typ(root, "")
}

type inliner struct {
	shared map[string]Source
	known  map[string]bool // named types that are declared in the output
}

func (in *inliner) typ(n *Node, namespace string) (*Node, error) {
	switch n.Kind {
	case String:
		return in.name(n, namespace)
	case Array:
		out := &Node{Kind: Array, Pos: n.Pos}
		for _, branch := range n.Items {
			b, err := in.typ(branch, namespace)
			if err != nil {
				return nil, err
			}
			out.Items = append(out.Items, b)
		}
		return out, nil
	case Object:
		return in.object(n, namespace)
	}
	return nil, Errorf(n.Pos, "want a type: a name, a union or an object")
}

func (in *inliner) name(n *Node, namespace string) (*Node, error) {
	if Primitive(n.Text) {
		return n, nil
	}
	full := Qualify(namespace, n.Text)
	if in.known[full] {
		return &Node{Kind: String, Pos: n.Pos, Text: full}, nil
	}
	src, found := in.shared[full]
	if !found {
		return nil, Errorf(n.Pos, "unknown type %s: declare it before its first use, or as a shared record in %s/", full, SharedDir)
	}
	return in.typ(src.Node, "")
}

func (in *inliner) object(n *Node, namespace string) (*Node, error) {
	typ := n.Get("type")
	if typ == nil {
		return nil, Errorf(n.Pos, "a type needs the member \"type\"")
	}
	if name := n.Str("name"); name != "" {
		full := Qualify(Or(n.Str("namespace"), namespace), name)
		if in.known[full] {
			return nil, Errorf(n.Pos, "%s is declared twice", full)
		}
		in.known[full] = true
		namespace = full[:max(strings.LastIndexByte(full, '.'), 0)]
	}
	out := &Node{Kind: Object, Pos: n.Pos}
	for _, m := range n.Members {
		if catalogProps[m.Key] {
			continue
		}
		v := m.Value
		var err error
		switch {
		case m.Key == "items" || m.Key == "values", m.Key == "type" && typ.Kind != String:
			v, err = in.typ(v, namespace)
		case m.Key == "fields":
			v, err = in.fields(v, namespace)
		}
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, Member{Key: m.Key, KeyPos: m.KeyPos, Value: v})
	}
	return out, nil
}

func (in *inliner) fields(n *Node, namespace string) (*Node, error) {
	if n.Kind != Array {
		return nil, Errorf(n.Pos, "fields: want an array")
	}
	out := &Node{Kind: Array, Pos: n.Pos}
	for _, f := range n.Items {
		field, err := in.field(f, namespace)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, field)
	}
	return out, nil
}

func (in *inliner) field(f *Node, namespace string) (*Node, error) {
	if f.Kind != Object || f.Str("name") == "" || f.Get("type") == nil {
		return nil, Errorf(f.Pos, "a field needs a name and a type")
	}
	out := &Node{Kind: Object, Pos: f.Pos}
	for _, m := range f.Members {
		v := m.Value
		if m.Key == "lint_ignore" {
			continue
		}
		if m.Key == "type" {
			var err error
			if v, err = in.typ(v, namespace); err != nil {
				return nil, err
			}
		}
		out.Members = append(out.Members, Member{Key: m.Key, KeyPos: m.KeyPos, Value: v})
	}
	return out, nil
}
