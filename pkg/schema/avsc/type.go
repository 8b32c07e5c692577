package avsc

import (
	"strconv"
	"strings"
)

// Type is a resolved Avro type. Named types that are used twice are one value, so
// a recursive schema is a cycle.
type Type struct {
	Kind      string // record, enum, fixed, array, map, union or a primitive type
	Name      string // full name of record, enum and fixed
	Logical   string
	Precision int // decimal
	Scale     int // decimal
	Size      int // fixed
	Fields    []*Field
	Symbols   []string
	Default   *Node // enum
	Items     *Type // array; values of a map
	Branches  []*Type
	Aliases   []string
	Node      *Node
}

// Field is a field of a record.
type Field struct {
	Name    string
	Type    *Type
	Default *Node // nil = none
	Aliases []string
	Node    *Node
}

// Unqualified is the name without its namespace: what Avro resolution compares.
func (t *Type) Unqualified() string { return t.Name[strings.LastIndexByte(t.Name, '.')+1:] }

// Field finds a field by name, nil if there is none.
func (t *Type) Field(name string) *Field {
	for _, f := range t.Fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// String is the type in a few words: decimal(19,4), union{null, string}.
func (t *Type) String() string {
	switch {
	case t.Logical == "decimal":
		return "decimal(" + strconv.Itoa(t.Precision) + "," + strconv.Itoa(t.Scale) + ")"
	case t.Logical != "":
		return t.Kind + "(" + t.Logical + ")"
	case t.Kind == "union":
		names := make([]string, len(t.Branches))
		for i, b := range t.Branches {
			names[i] = b.String()
		}
		return "union{" + strings.Join(names, ", ") + "}"
	case t.Kind == "array" || t.Kind == "map":
		return t.Kind + "<" + t.Items.String() + ">"
	case t.Name != "":
		return t.Unqualified()
	}
	return t.Kind
}

// Resolve makes the type that a node declares. lookup finds the declaration of a
// name that the node doesn't declare itself; nil = none.
func Resolve(n *Node, lookup func(fullName string) *Node) (*Type, error) {
	r := &resolver{named: map[string]*Type{}, lookup: lookup}
	return r.typ(n, "")
}

// ParseType is Resolve for text that stands alone. file names it in errors.
func ParseType(file, text string) (*Type, error) {
	n, err := Parse(file, []byte(text))
	if err != nil {
		return nil, err
	}
	return Resolve(n, nil)
}

type resolver struct {
	named  map[string]*Type
	lookup func(string) *Node
}

func (r *resolver) typ(n *Node, namespace string) (*Type, error) {
	switch n.Kind {
	case String:
		return r.name(n, namespace)
	case Array:
		return r.union(n, namespace)
	case Object:
		return r.object(n, namespace)
	}
	return nil, Errorf(n.Pos, "want a type: a name, a union or an object")
}

func (r *resolver) name(n *Node, namespace string) (*Type, error) {
	if Primitive(n.Text) {
		return &Type{Kind: n.Text, Node: n}, nil
	}
	full := Qualify(namespace, n.Text)
	if t := r.named[full]; t != nil {
		return t, nil
	}
	if r.lookup != nil {
		if found := r.lookup(full); found != nil {
			return r.typ(found, "")
		}
	}
	return nil, Errorf(n.Pos, "unknown type %s", full)
}

func (r *resolver) union(n *Node, namespace string) (*Type, error) {
	t := &Type{Kind: "union", Node: n}
	for _, it := range n.Items {
		b, err := r.typ(it, namespace)
		if err != nil {
			return nil, err
		}
		t.Branches = append(t.Branches, b)
	}
	if len(t.Branches) == 0 {
		return nil, Errorf(n.Pos, "a union needs a branch")
	}
	return t, nil
}

func (r *resolver) object(n *Node, namespace string) (*Type, error) {
	kind := n.Get("type")
	if kind == nil {
		return nil, Errorf(n.Pos, "a type needs the member \"type\"")
	}
	if kind.Kind != String {
		return r.typ(kind, namespace)
	}
	switch kind.Text {
	case "record", "error", "enum", "fixed":
		return r.declare(n, namespace, kind.Text)
	case "array", "map":
		member := map[string]string{"array": "items", "map": "values"}[kind.Text]
		of := n.Get(member)
		if of == nil {
			return nil, Errorf(n.Pos, "%s needs %q", kind.Text, member)
		}
		items, err := r.typ(of, namespace)
		return &Type{Kind: kind.Text, Items: items, Node: n}, err
	}
	t, err := r.name(kind, namespace)
	if err != nil || !Primitive(kind.Text) {
		return t, err
	}
	t.Node = n
	return t, logical(t, n)
}

// logical reads the logical type, and for decimals precision and scale.
func logical(t *Type, n *Node) error {
	t.Logical = n.Str("logicalType")
	if t.Logical != "decimal" {
		return nil
	}
	var err error
	if t.Precision, err = number(n, "precision"); err != nil {
		return err
	}
	if n.Get("scale") != nil {
		t.Scale, err = number(n, "scale")
	}
	return err
}

func (r *resolver) declare(n *Node, namespace, kind string) (*Type, error) {
	name := n.Str("name")
	if name == "" {
		return nil, Errorf(n.Pos, "%s needs a name", kind)
	}
	full := Qualify(Or(n.Str("namespace"), namespace), name)
	if r.named[full] != nil {
		return nil, Errorf(n.Pos, "%s is declared twice", full)
	}
	t := &Type{Kind: kind, Name: full, Node: n, Aliases: n.Strings("aliases")}
	r.named[full] = t
	switch kind {
	case "enum":
		t.Symbols, t.Default = n.Strings("symbols"), n.Get("default")
		return t, nil
	case "fixed":
		var err error
		if t.Size, err = number(n, "size"); err != nil {
			return nil, err
		}
		return t, logical(t, n)
	}
	t.Kind = "record"
	fields := n.Get("fields")
	if fields == nil || fields.Kind != Array {
		return nil, Errorf(n.Pos, "record %s needs \"fields\"", full)
	}
	namespace = full[:max(strings.LastIndexByte(full, '.'), 0)]
	for _, f := range fields.Items {
		field, err := r.field(f, namespace)
		if err != nil {
			return nil, err
		}
		if t.Field(field.Name) != nil {
			return nil, Errorf(f.Pos, "field %s stands twice", field.Name)
		}
		t.Fields = append(t.Fields, field)
	}
	return t, nil
}

func (r *resolver) field(f *Node, namespace string) (*Field, error) {
	if f.Kind != Object || f.Str("name") == "" || f.Get("type") == nil {
		return nil, Errorf(f.Pos, "a field needs a name and a type")
	}
	t, err := r.typ(f.Get("type"), namespace)
	if err != nil {
		return nil, err
	}
	return &Field{Name: f.Str("name"), Type: t, Default: f.Get("default"), Aliases: f.Strings("aliases"), Node: f}, nil
}

func number(n *Node, key string) (int, error) {
	v := n.Get(key)
	if v == nil || v.Kind != Number {
		return 0, Errorf(n.Pos, "%q: want a number", key)
	}
	i, err := strconv.Atoi(v.Text)
	if err != nil || i < 0 {
		return 0, Errorf(v.Pos, "%q: want a whole number, not %s", key, v.Text)
	}
	return i, nil
}
