package schema

import (
	"strings"

	"github.com/eventspine/spine/pkg/schema/avsc"
)

// catalogProps say things about a fact, not about its bytes. They stay out of the
// registered text, so that a new owner makes no new version.
var catalogProps = map[string]bool{
	"owner": true, "system_of_record": true, "identity": true, "key": true, "retention": true,
	"producers": true, "deprecated": true, "upcast": true, "downcast": true, "lint_ignore": true,
}

// inline returns the schema with every shared record in the place of its first
// use and every other reference by full name.
func (t *tree) inline(root *avsc.Node) (*avsc.Node, error) {
	in := inliner{shared: t.shared, known: map[string]bool{}}
	return in.typ(root, "")
}

type inliner struct {
	shared map[string]source
	known  map[string]bool // named types that are declared in the output
}

func (in *inliner) typ(n *avsc.Node, namespace string) (*avsc.Node, error) {
	switch n.Kind {
	case avsc.String:
		return in.name(n, namespace)
	case avsc.Array:
		out := &avsc.Node{Kind: avsc.Array, Pos: n.Pos}
		for _, branch := range n.Items {
			b, err := in.typ(branch, namespace)
			if err != nil {
				return nil, err
			}
			out.Items = append(out.Items, b)
		}
		return out, nil
	case avsc.Object:
		return in.object(n, namespace)
	}
	return nil, avsc.Errorf(n.Pos, "want a type: a name, a union or an object")
}

func (in *inliner) name(n *avsc.Node, namespace string) (*avsc.Node, error) {
	if avsc.Primitive(n.Text) {
		return n, nil
	}
	full := avsc.Qualify(namespace, n.Text)
	if in.known[full] {
		return &avsc.Node{Kind: avsc.String, Pos: n.Pos, Text: full}, nil
	}
	src, found := in.shared[full]
	if !found {
		return nil, avsc.Errorf(n.Pos, "unknown type %s: declare it before its first use, or as a shared record in %s/", full, sharedDir)
	}
	return in.typ(src.node, "")
}

func (in *inliner) object(n *avsc.Node, namespace string) (*avsc.Node, error) {
	typ := n.Get("type")
	if typ == nil {
		return nil, avsc.Errorf(n.Pos, "a type needs the member \"type\"")
	}
	if name := n.Str("name"); name != "" {
		full := avsc.Qualify(avsc.Or(n.Str("namespace"), namespace), name)
		if in.known[full] {
			return nil, avsc.Errorf(n.Pos, "%s is declared twice", full)
		}
		in.known[full] = true
		namespace = full[:max(strings.LastIndexByte(full, '.'), 0)]
	}
	out := &avsc.Node{Kind: avsc.Object, Pos: n.Pos}
	for _, m := range n.Members {
		if catalogProps[m.Key] {
			continue
		}
		v := m.Value
		var err error
		switch {
		case m.Key == "items" || m.Key == "values", m.Key == "type" && typ.Kind != avsc.String:
			v, err = in.typ(v, namespace)
		case m.Key == "fields":
			v, err = in.fields(v, namespace)
		}
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, avsc.Member{Key: m.Key, KeyPos: m.KeyPos, Value: v})
	}
	return out, nil
}

func (in *inliner) fields(n *avsc.Node, namespace string) (*avsc.Node, error) {
	if n.Kind != avsc.Array {
		return nil, avsc.Errorf(n.Pos, "fields: want an array")
	}
	out := &avsc.Node{Kind: avsc.Array, Pos: n.Pos}
	for _, f := range n.Items {
		field, err := in.field(f, namespace)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, field)
	}
	return out, nil
}

func (in *inliner) field(f *avsc.Node, namespace string) (*avsc.Node, error) {
	if f.Kind != avsc.Object || f.Str("name") == "" || f.Get("type") == nil {
		return nil, avsc.Errorf(f.Pos, "a field needs a name and a type")
	}
	out := &avsc.Node{Kind: avsc.Object, Pos: f.Pos}
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
		out.Members = append(out.Members, avsc.Member{Key: m.Key, KeyPos: m.KeyPos, Value: v})
	}
	return out, nil
}
