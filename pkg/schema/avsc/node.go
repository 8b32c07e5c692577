// Package avsc reads Avro schema text (.avsc) with the position of every part,
// keeps the order of members, and gives a model of the types that knows what
// registries forget: logical types, decimal scales, defaults and properties.
package avsc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// MaxDepth is how deep JSON may nest, so that no text exhausts the stack.
const MaxDepth = 64

// Kind is the JSON type of a node.
type Kind int

// The JSON types.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// Pos is a place in a file. Line and column count from 1; a column counts bytes.
type Pos struct {
	File         string
	Line, Column int
}

// String is file:line:column, the form that editors jump to.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Error is something wrong at a place.
type Error struct {
	Pos Pos
	Msg string
}

// Error is file:line:column: message.
func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

// Errorf makes an Error at p.
func Errorf(p Pos, format string, args ...any) error {
	return &Error{Pos: p, Msg: fmt.Sprintf(format, args...)}
}

// Node is a JSON value with its place. Members keep the order of the text.
type Node struct {
	Kind    Kind
	Pos     Pos
	Text    string // String: the decoded text; Number and Bool: the literal
	Items   []*Node
	Members []Member
}

// Member is one name and value of an object.
type Member struct {
	Key    string
	KeyPos Pos
	Value  *Node
}

// Get is the value of a member, nil if there is none.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Members {
		if n.Members[i].Key == key {
			return n.Members[i].Value
		}
	}
	return nil
}

// Str is the text of a string member, "" if there is none.
func (n *Node) Str(key string) string {
	if v := n.Get(key); v != nil && v.Kind == String {
		return v.Text
	}
	return ""
}

// Strings are the texts of an array of strings, nil if the member is none.
func (n *Node) Strings(key string) []string {
	v := n.Get(key)
	if v == nil || v.Kind != Array {
		return nil
	}
	out := []string{}
	for _, it := range v.Items {
		if it.Kind == String {
			out = append(out, it.Text)
		}
	}
	return out
}

// Parse reads one JSON value. Errors carry file:line:column; a name that stands
// twice in an object is one of them.
func Parse(file string, text []byte) (*Node, error) {
	r := &reader{file: file, text: text, dec: json.NewDecoder(bytes.NewReader(text)), lines: []int{0}}
	for i, c := range text {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	start := r.start()
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, Errorf(r.at(start), "text after the end of the schema")
	}
	return n, nil
}

type reader struct {
	file  string
	text  []byte
	dec   *json.Decoder
	lines []int // offset at which each line starts
}

// start is the offset of the next token.
func (r *reader) start() int {
	i := int(r.dec.InputOffset())
	for i < len(r.text) && strings.IndexByte(" \t\r\n,:", r.text[i]) >= 0 {
		i++
	}
	return i
}

func (r *reader) at(offset int) Pos {
	offset = min(offset, len(r.text))
	line := sort.SearchInts(r.lines, offset+1) // lines that start at or before offset
	return Pos{File: r.file, Line: line, Column: offset - r.lines[line-1] + 1}
}

func (r *reader) token() (json.Token, Pos, error) {
	start := r.start()
	tok, err := r.dec.Token()
	if err == nil {
		return tok, r.at(start), nil
	}
	return nil, Pos{}, r.syntax(start)
}

// syntax says where the text stops being JSON. json.Unmarshal knows the place
// exactly, json.Decoder only roughly.
func (r *reader) syntax(start int) error {
	var v any
	err := json.Unmarshal(r.text, &v)
	var at *json.SyntaxError
	if !errors.As(err, &at) {
		return Errorf(r.at(start), "no JSON")
	}
	if at.Error() == "unexpected end of JSON input" {
		return Errorf(r.at(len(r.text)), "the text ends inside a value")
	}
	return Errorf(r.at(int(at.Offset)-1), "%s", at.Error())
}

func (r *reader) value(depth int) (*Node, error) {
	tok, pos, err := r.token()
	if err != nil {
		return nil, err
	}
	if depth > MaxDepth {
		return nil, Errorf(pos, "nests deeper than %d levels", MaxDepth)
	}
	n := &Node{Pos: pos}
	switch v := tok.(type) {
	case json.Delim:
		if v == '{' {
			return r.object(n, depth)
		}
		return r.array(n, depth)
	case string:
		n.Kind, n.Text = String, v
	case json.Number:
		n.Kind, n.Text = Number, v.String()
	case bool:
		n.Kind, n.Text = Bool, fmt.Sprint(v)
	}
	return n, nil
}

func (r *reader) object(n *Node, depth int) (*Node, error) {
	n.Kind = Object
	seen := map[string]bool{}
	for r.dec.More() {
		tok, pos, err := r.token()
		if err != nil {
			return nil, err
		}
		key, isString := tok.(string)
		if !isString {
			return nil, Errorf(pos, "want a name in quotation marks")
		}
		if seen[key] {
			return nil, Errorf(pos, "%q stands twice in one object", key)
		}
		seen[key] = true
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.Members = append(n.Members, Member{Key: key, KeyPos: pos, Value: v})
	}
	_, _, err := r.token()
	return n, err
}

func (r *reader) array(n *Node, depth int) (*Node, error) {
	n.Kind = Array
	for r.dec.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.Items = append(n.Items, v)
	}
	_, _, err := r.token()
	return n, err
}

// Compact is the text without spaces, members in their order.
func (n *Node) Compact() string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

// Indented is the text for people to read, members in their order, with a final
// line end.
func (n *Node) Indented() string {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(n.Compact()), "", "  "); err != nil {
		return n.Compact() // unreachable: Compact writes JSON
	}
	b.WriteByte('\n')
	return b.String()
}

func (n *Node) write(b *strings.Builder) {
	switch n.Kind {
	case Null:
		b.WriteString("null")
	case Bool, Number:
		b.WriteString(n.Text)
	case String:
		b.WriteString(quote(n.Text))
	case Array:
		b.WriteByte('[')
		for i, it := range n.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			it.write(b)
		}
		b.WriteByte(']')
	case Object:
		b.WriteByte('{')
		for i, m := range n.Members {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quote(m.Key))
			b.WriteByte(':')
			m.Value.write(b)
		}
		b.WriteByte('}')
	}
}

func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""` // unreachable: a string always encodes
	}
	return strings.TrimSuffix(b.String(), "\n")
}
