package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decode reads YAML into v by its yaml tags. It works on the syntax tree rather
// than through Unmarshal, so that every value knows its line and column, all unknown
// keys are reported at once, and a string stays the text that stands in the file
// (0123 is not 83).
func decode(file string, src []byte, v any, origins map[string]string) error {
	doc, err := parser.ParseBytes(src, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(doc.Docs) > 1 {
		return fmt.Errorf("%s: %d documents: want one", file, len(doc.Docs))
	}
	d := decoder{file: file, origins: origins}
	if len(doc.Docs) == 1 && doc.Docs[0].Body != nil {
		d.value(doc.Docs[0].Body, reflect.ValueOf(v).Elem(), "")
	}
	return errors.Join(d.errs...)
}

type decoder struct {
	file    string
	origins map[string]string
	errs    []error
}

func (d *decoder) at(n ast.Node) string {
	p := n.GetToken().Position
	return fmt.Sprintf("%s:%d:%d", d.file, p.Line, p.Column)
}

func (d *decoder) fail(n ast.Node, format string, args ...any) {
	d.errs = append(d.errs, fmt.Errorf("%s: %s", d.at(n), fmt.Sprintf(format, args...)))
}

func (d *decoder) value(n ast.Node, v reflect.Value, path string) {
	if n != nil && (n.Type() == ast.AnchorType || n.Type() == ast.AliasType) {
		d.fail(n, "%s: anchors and aliases are not supported: write the value out", path)
		return
	}
	if n == nil || n.Type() == ast.NullType {
		return // nothing said: the default stands
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		d.value(n, v.Elem(), path)
	case reflect.Struct:
		d.mapping(n, path, func(key string, entry *ast.MappingValueNode) { d.field(v, key, path, entry) })
	case reflect.Map:
		d.mapping(n, path, func(key string, entry *ast.MappingValueNode) { d.entry(v, key, path, entry) })
	case reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) mapping(n ast.Node, path string, fn func(string, *ast.MappingValueNode)) {
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		d.fail(n, "%s: want keys and values", orRoot(path))
		return
	}
	seen := map[string]bool{}
	for _, entry := range entries {
		key := entry.Key.GetToken().Value
		if seen[key] {
			d.fail(entry.Key, "%s stands twice", join(path, key))
		}
		seen[key] = true
		fn(key, entry)
	}
}

// field sets one field of a struct, looking into inlined structs, too.
func (d *decoder) field(v reflect.Value, key, path string, entry *ast.MappingValueNode) {
	known := fields(v)
	for _, f := range known {
		if f.name == key {
			d.value(entry.Value, f.value, join(path, key))
			return
		}
	}
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
	}
	d.fail(entry.Key, "unknown key %s%s", join(path, key), suggestion(key, names))
}

// entry sets one entry of a map. Entries of a map of pointers must be there
// already: they are the names that exist.
func (d *decoder) entry(v reflect.Value, key, path string, entry *ast.MappingValueNode) {
	at := reflect.ValueOf(key)
	if v.Type().Elem().Kind() == reflect.Pointer {
		existing := v.MapIndex(at)
		if !existing.IsValid() {
			var names []string
			for _, k := range v.MapKeys() {
				names = append(names, k.String())
			}
			d.fail(entry.Key, "unknown key %s%s", join(path, key), suggestion(key, names))
			return
		}
		d.value(entry.Value, existing.Elem(), join(path, key))
		d.origins[join(path, key)] = d.at(entry.Key)
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	value := reflect.New(v.Type().Elem()).Elem()
	d.value(entry.Value, value, join(path, key))
	v.SetMapIndex(at, value)
	if value.Kind() == reflect.Struct {
		d.origins[join(path, key)] = d.at(entry.Key)
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, "%s: want a list, such as [a, b]", path)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		d.value(item, out.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
	v.Set(out)
	d.origins[path] = d.at(n)
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) {
	text, ok := scalarText(n)
	if !ok {
		d.fail(n, "%s: want a single value", path)
		return
	}
	if err := setScalar(v, text); err != nil {
		d.fail(n, "%s: %v", path, err)
		return
	}
	d.origins[path] = d.at(n)
}

// scalarText is the text of a scalar as it stands in the file. Within nested flow
// collections the parser takes host:port for a key and a value (YAML 1.2 §7.3.3: a
// colon without a space behind it is part of the text): put back together here.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.MappingNode:
		if len(n.Values) == 1 {
			return scalarText(n.Values[0])
		}
	case *ast.MappingValueNode:
		key, value := n.Key.GetToken(), n.Value.GetToken()
		colon := n.Start
		if colon == nil || key.Position.Offset+len(key.Value) != colon.Position.Offset || colon.Position.Offset+1 != value.Position.Offset {
			return "", false
		}
		return key.Value + ":" + value.Value, true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// setScalar sets v from text; the error says what is wanted.
func setScalar(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(interface{ UnmarshalText(text []byte) error }); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q: want true or false", text)
		}
		v.SetBool(b)
		return nil
	case reflect.Int, reflect.Int64:
		if v.Type() == reflect.TypeFor[time.Duration]() {
			dur, err := time.ParseDuration(text)
			if err != nil {
				return fmt.Errorf("%q: want a duration, such as 30s", text)
			}
			v.SetInt(int64(dur))
			return nil
		}
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q: want a whole number", text)
		}
		v.SetInt(i)
		return nil
	case reflect.Slice:
		var parts []string
		if text != "" {
			parts = strings.Split(text, ",")
		}
		out := reflect.MakeSlice(v.Type(), len(parts), len(parts))
		for i, part := range parts {
			if err := setScalar(out.Index(i), strings.TrimSpace(part)); err != nil {
				return err
			}
		}
		v.Set(out)
		return nil
	default:
		return fmt.Errorf("a %s cannot be given as one value: use the configuration file", v.Kind())
	}
}

type field struct {
	name  string
	value reflect.Value
}

// fields are the keys of a struct. A field without a yaml tag goes by its name in
// lower case; "-" is left out; ",inline" adds the keys of what it holds.
func fields(v reflect.Value) (all []field) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case options == "inline":
			inner := v.Field(i)
			for inner.Kind() == reflect.Interface || inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				all = append(all, fields(inner)...)
			}
		case name == "":
			all = append(all, field{strings.ToLower(f.Name), v.Field(i)})
		default:
			all = append(all, field{name, v.Field(i)})
		}
	}
	return all
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orRoot(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// suggestion names the nearest known key, or all of them where none is near.
func suggestion(key string, known []string) string {
	if len(known) == 0 {
		return ": nothing can be set here"
	}
	slices.Sort(known)
	if best := Nearest(key, known); best != "" {
		return fmt.Sprintf(": did you mean %s?", best)
	}
	return ": known keys are " + strings.Join(known, ", ")
}

// Nearest is the known word that is like another, "" = none is near.
func Nearest(word string, known []string) string {
	best, distance := "", len(word)/2+2
	for _, k := range known {
		if n := edits(word, k); n < distance {
			best, distance = k, n
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
