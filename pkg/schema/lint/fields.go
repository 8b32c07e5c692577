package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/eventspine/spine/pkg/schema/avsc"
)

// PIIClasses are the values of the property pii.
func PIIClasses() []string {
	return []string{"none", "contact", "identity", "location", "financial", "credential"}
}

const minDoc = 10

var (
	measured = regexp.MustCompile(`(?i)amount|price|total|rate|quantity`)
	counted  = regexp.MustCompile(`(?i)rate|quantity|^fx_`)
	timed    = regexp.MustCompile(`(?i)(^|_)(time|timestamp|datetime|ts)$`)
	atLeast  = regexp.MustCompile(`≥ ?1|>= ?1|at least one`)
)

// field applies the rules of a single field.
func (l *linter) field(f *avsc.Field, p place) {
	if doc := f.Node.Str("doc"); utf8.RuneCountInString(doc) < minDoc {
		l.report(p, f.Node.Pos, "L08", fmt.Sprintf("doc %q says too little", doc), "say what the field means in 10 characters or more")
	}
	if pii := f.Node.Str("pii"); !slices.Contains(PIIClasses(), pii) {
		l.report(p, f.Node.Pos, "L08", fmt.Sprintf("pii is %q", pii), "set pii to one of "+strings.Join(PIIClasses(), ", "))
	}
	l.empty(f, p)
	l.exact(f, p)
	l.times(f, p)
}

func (l *linter) empty(f *avsc.Field, p place) {
	want := map[string]string{"array": "[]", "map": "{}"}[f.Type.Kind]
	if want == "" || (f.Default != nil && f.Default.Compact() == want) || atLeast.MatchString(f.Node.Str("doc")) {
		return
	}
	l.report(p, f.Node.Pos, "L10", fmt.Sprintf("the %s has the default %s", f.Type.Kind, literal(f.Default)), "add \"default\": "+want+", or say ≥ 1 in its doc")
}

func (l *linter) exact(f *avsc.Field, p place) {
	if kind := leaf(f.Type).Kind; (kind == "float" || kind == "double") && measured.MatchString(f.Name) {
		l.report(p, f.Node.Get("type").Pos, "L11", kind+" can't hold "+f.Name+" exactly", "use decimal(19,4), for prices per unit decimal(19,6)")
	}
}

// leaf is the type inside arrays, maps and unions with null.
func leaf(t *avsc.Type) *avsc.Type {
	for {
		switch t.Kind {
		case "array", "map":
			t = t.Items
		case "union":
			i := slices.IndexFunc(t.Branches, func(b *avsc.Type) bool { return b.Kind != "null" })
			if i < 0 {
				return t
			}
			t = t.Branches[i]
		default:
			return t
		}
	}
}

func (l *linter) times(f *avsc.Field, p place) {
	t := leaf(f.Type)
	at, date := strings.HasSuffix(f.Name, "_at"), strings.HasSuffix(f.Name, "_date") || f.Name == "date"
	say := func(message, remedy string) { l.report(p, f.Node.Get("type").Pos, "L12", message, remedy) }
	switch {
	case strings.Contains(t.Logical, "timestamp") && t.Logical != "timestamp-micros":
		say("the time is "+t.Logical, "use timestamp-micros, the unit of all times")
	case t.Logical == "timestamp-micros" && !at:
		say("a time that is named "+f.Name, "let the name end in _at")
	case at && t.Logical != "timestamp-micros":
		say(fmt.Sprintf("%s is %s", f.Name, t), "use long with logicalType timestamp-micros")
	case t.Logical == "date" && !date:
		say("a date that is named "+f.Name, "let the name end in _date")
	case date && t.Logical != "date":
		say(fmt.Sprintf("%s is %s", f.Name, t), "use int with logicalType date")
	case timed.MatchString(f.Name) && t.Logical == "" && t.Kind != "boolean":
		say(fmt.Sprintf("%s is a time as %s", f.Name, t.Kind), "use timestamp-micros with a name in _at")
	}
}

func (l *linter) unknownFirst(t *avsc.Type, p place) {
	if len(t.Symbols) == 0 || t.Symbols[0] != "UNKNOWN" {
		l.report(p, t.Node.Pos, "L06", "the first symbol of "+t.Unqualified()+" isn't UNKNOWN", "put UNKNOWN first: it stands for what a reader doesn't know yet")
	}
	if t.Default == nil || t.Default.Text != "UNKNOWN" {
		l.report(p, t.Node.Pos, "L06", fmt.Sprintf("the default of %s is %s", t.Unqualified(), literal(t.Default)), `add "default": "UNKNOWN", or old readers fail on a new symbol`)
	}
}

// currencies checks that all money of a fact has a currency beside or around it,
// also the money in shared records, which is judged where they are used.
func (l *linter) currencies(s subject) {
	c := &currencyWalk{linter: l, open: map[*avsc.Type]bool{}}
	c.record(s.typ, false, place{around: []*avsc.Node{s.node}}, nil)
}

type currencyWalk struct {
	*linter
	open map[*avsc.Type]bool // records that are being walked: a recursive schema ends
}

// record walks a record; known says that an enclosing record has the currency,
// and at is the field of the file through which a shared record was reached.
func (c *currencyWalk) record(t *avsc.Type, known bool, p place, at *avsc.Field) {
	if c.open[t] {
		return
	}
	c.open[t] = true
	defer delete(c.open, t)
	known = known || isText(t.Field("currency"))
	for _, f := range t.Fields {
		field := at
		if f.Node.Pos.File == p.around[0].Pos.File {
			field = f
		}
		here := p.in(f.Node, joinPath(p.path, f.Name))
		fieldKnown := known
		if named := f.Node.Str("currency"); named != "" {
			if fieldKnown = isText(t.Field(named)); !fieldKnown {
				c.report(here, field.Node.Pos, "L18", fmt.Sprintf("the property currency names %s, which is no string field beside it", named), "name the field that holds the currency")
				continue
			}
		}
		inner := leaf(f.Type)
		if inner.Kind == "record" {
			c.record(inner, fieldKnown, here, field)
		} else if isMoney(f, inner) && !fieldKnown {
			c.report(here, field.Node.Pos, "L18", "money without a currency", "add the field currency beside it or in the record around it; for what is no money set the property unit")
		}
	}
}

func isText(f *avsc.Field) bool { return f != nil && f.Type.Kind == "string" }

// isMoney: every decimal is money unless it counts something else; a float only
// if its name says so.
func isMoney(f *avsc.Field, t *avsc.Type) bool {
	if f.Node.Str("unit") != "" || counted.MatchString(f.Name) {
		return false
	}
	return t.Logical == "decimal" || (t.Kind == "double" || t.Kind == "float") && measured.MatchString(f.Name)
}
