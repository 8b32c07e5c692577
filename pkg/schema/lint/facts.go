package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/schema/avsc"
)

// maxSample keeps events small enough for every intermediary: CloudEvents asks
// them to forward 64 KiB.
const maxSample = 64 << 10

var (
	keyField  = regexp.MustCompile(`\{([^{}]*)\}`)
	retention = regexp.MustCompile(`^[1-9][0-9]*d$`)
)

// names applies L01 and L02; false means that the file has no fact name at all.
func (l *linter) names(s *subject, p place) bool {
	typ, err := schema.TypeOfFile(s.file)
	if err != nil {
		l.report(p, s.node.Pos, "L01", fmt.Sprintf("the file %s names no fact", s.file), "name it <noun>/<past-participle>.v<N>.avsc, such as order/placed.v2.avsc")
		return false
	}
	s.event = typ
	if ok, past := pastTense(typ.Verb); !ok {
		should := typ
		should.Verb = past
		l.report(p, s.node.Pos, "L01", fmt.Sprintf("%s isn't in the past tense", typ.Name()), fmt.Sprintf("name it %s: a fact has happened; rename the file to %s", should.Name(), schema.FileName(should)))
	}
	at := s.node.Pos
	if n := s.node.Get("name"); n != nil {
		at = n.Pos
	}
	name := avsc.Qualify(s.node.Str("namespace"), s.node.Str("name"))
	if want := schema.FullName(typ); name != want {
		l.report(p, at, "L02", fmt.Sprintf("the full name is %s", name), "make it "+want+", as the file says")
	}
	if s.node.Str("type") != "record" {
		l.report(p, s.node.Pos, "L02", "a fact is a record", "declare \"type\": \"record\"")
	}
	return s.node.Str("type") == "record"
}

func (l *linter) metaFirst(s subject, p place) {
	const remedy = `make the first field {"name": "meta", "type": "` + avsc.SharedNamespace + `.EventMeta", …} without a default`
	switch m := s.typ.Field("meta"); {
	case m == nil:
		l.report(p, s.node.Pos, "L09", "the fact has no meta", remedy)
	case m.Type.Name != avsc.SharedNamespace+".EventMeta" || m.Default != nil || s.typ.Fields[0] != m:
		l.report(p, m.Node.Pos, "L09", "meta isn't a required EventMeta in the first place", remedy)
	}
}

// keyResolves checks the template of the record key.
func (l *linter) keyResolves(s subject, p place) {
	key := s.node.Get("key")
	if key == nil || key.Text == "" {
		l.report(p, s.node.Pos, "L13", "the fact has no key", `add "key", such as "{order_ref}"`)
		return
	}
	for alternative := range strings.SplitSeq(key.Text, " | ") {
		fields := keyField.FindAllStringSubmatch(alternative, -1)
		if len(fields) == 0 {
			l.report(p, key.Pos, "L13", fmt.Sprintf("the key %q names no field", alternative), `put fields in braces, such as "{order_ref}"`)
		}
		for _, m := range fields {
			f := fieldAt(s.typ, m[1])
			if f == nil {
				l.report(p, key.Pos, "L13", fmt.Sprintf("the payload has no field %s", m[1]), "make the key of fields that the payload has")
			} else if t := leaf(f.Type); t.Kind != "string" && t.Name != avsc.SharedNamespace+".Ref" {
				l.report(p, key.Pos, "L13", fmt.Sprintf("%s is %s", m[1], t), "make the key of strings and Refs")
			}
		}
	}
}

// fieldAt follows a path such as lines.line_id through records, arrays and unions.
func fieldAt(t *avsc.Type, path string) *avsc.Field {
	var f *avsc.Field
	for name := range strings.SplitSeq(path, ".") {
		if f = leaf(t).Field(name); f == nil {
			return nil
		}
		t = f.Type
	}
	return f
}

// catalogued checks what the catalogue says about the fact.
func (l *linter) catalogued(s subject, p place) {
	missing := func(what, remedy string) {
		l.report(p, s.node.Pos, "L14", "the fact has no "+what, remedy)
	}
	if s.node.Str("owner") == "" {
		missing("owner", `add "owner": the team that answers for it`)
	}
	if s.node.Str("system_of_record") == "" {
		missing("system_of_record", `add "system_of_record": who is right when sources differ`)
	}
	identity := s.node.Strings("identity")
	if len(identity) == 0 {
		missing("identity", `add "identity": the fields that make two reports the same fact, such as ["order_ref"]`)
	}
	for _, field := range identity {
		if fieldAt(s.typ, field) == nil {
			l.report(p, s.node.Get("identity").Pos, "L14", fmt.Sprintf("identity: the payload has no field %s", field), "name fields that the payload has")
		}
	}
	if len(s.node.Strings("producers")) == 0 && s.node.Str("deprecated") == "" {
		missing("producers", `add "producers": systems such as "shopify", or "spine/<group>"; or say what replaces it in "deprecated"`)
	}
	r := s.node.Str("retention")
	if personal := personalField(s.typ, "", map[*avsc.Type]bool{}); r == "" && personal != "" {
		missing("retention", fmt.Sprintf("add \"retention\" in days, such as \"28d\": %s is personal data", personal))
	} else if r != "" && !retention.MatchString(r) {
		l.report(p, s.node.Get("retention").Pos, "L14", fmt.Sprintf("retention %q", r), `write days, such as "28d"`)
	}
}

// personalField is the first field that holds personal data, "" if none does.
func personalField(t *avsc.Type, at string, seen map[*avsc.Type]bool) string {
	if seen[t] {
		return ""
	}
	seen[t] = true
	for _, f := range t.Fields {
		where := joinPath(at, f.Name)
		if slices.Contains(PIIClasses()[1:], f.Node.Str("pii")) {
			return where
		}
		if inner := leaf(f.Type); inner.Kind == "record" {
			if found := personalField(inner, where, seen); found != "" {
				return found
			}
		}
	}
	return ""
}

// converts applies L15: a new major says how it is made from the one before, and
// into it.
func (l *linter) converts(s subject, p place) {
	if s.event.Major == 1 {
		return
	}
	for _, prop := range []string{"upcast", "downcast"} {
		n := s.node.Get(prop)
		switch {
		case n == nil || n.Text == "":
			l.report(p, s.node.Pos, "L15", "the new major has no "+prop, "write the function beside the generated types and name it in \""+prop+"\", or say \"none: <reason>\"")
		case strings.HasPrefix(n.Text, "none:"):
			if len(strings.TrimSpace(strings.TrimPrefix(n.Text, "none:"))) < minDoc {
				l.report(p, n.Pos, "L15", prop+" is none without a reason", "say why after \"none:\"")
			}
		case !l.hasFunc(s.event.Noun, n.Text):
			l.report(p, n.Pos, "L15", fmt.Sprintf("no Go function %s in %s/", n.Text, s.event.Noun), "write it, or name the one that converts")
		}
	}
	older := s.event
	older.Major--
	for _, t := range []event.Type{older, s.event} {
		if len(l.sampleFiles(t)) == 0 {
			l.report(p, s.node.Pos, "L15", fmt.Sprintf("no golden sample of %s", t), fmt.Sprintf("add %s/testdata/%s.v%d.json, which the converters are tested with", t.Noun, t.Verb, t.Major))
		}
	}
}

// hasFunc looks for a function or method, "Downcast" or "PlacedV2.Upcasts".
func (l *linter) hasFunc(dir, name string) bool {
	files, err := fs.Glob(l.fsys, dir+"/*.go")
	if err != nil {
		return false
	}
	for _, file := range files {
		text, err := fs.ReadFile(l.fsys, file)
		if err != nil {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		if err != nil {
			continue
		}
		for _, d := range parsed.Decls {
			if fn, isFunc := d.(*ast.FuncDecl); isFunc && funcName(fn) == name {
				return true
			}
		}
	}
	return false
}

func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	recv := fn.Recv.List[0].Type
	if star, isPointer := recv.(*ast.StarExpr); isPointer {
		recv = star.X
	}
	if id, isIdent := recv.(*ast.Ident); isIdent {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// sampleFiles are <noun>/testdata/<verb>.v<N>.json and <verb>.v<N>.<case>.json.
func (l *linter) sampleFiles(t event.Type) []string {
	stem := t.Noun + "/testdata/" + strings.TrimSuffix(path.Base(schema.FileName(t)), ".avsc")
	var all []string
	for _, pattern := range []string{stem + ".json", stem + ".*.json"} {
		if found, err := fs.Glob(l.fsys, pattern); err == nil {
			all = append(all, found...)
		}
	}
	return all
}

func (l *linter) samples(s subject, p place) {
	for _, file := range l.sampleFiles(s.event) {
		info, err := fs.Stat(l.fsys, file)
		if err == nil && info.Size() >= maxSample {
			l.report(p, avsc.Pos{File: file, Line: 1, Column: 1}, "L16", fmt.Sprintf("the sample has %d bytes", info.Size()), "keep events below 64 KiB: send bulk by reference")
		}
	}
}

// likeReleased applies L03, L04, L05 and L17 against every frozen revision.
func (l *linter) likeReleased(s subject, p place) {
	for _, r := range l.frozen {
		if r.Fact != s.event.String() {
			continue
		}
		for _, f := range r.Against(s.typ) {
			if strings.HasPrefix(f.Rule, "L") {
				at := avsc.Pos{File: f.File, Line: f.Line, Column: f.Column}
				l.report(place{around: p.around, path: f.Path}, at, f.Rule, f.Message, f.Remedy)
			}
		}
	}
}
