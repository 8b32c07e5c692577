// Package filter is --where: a condition in CEL on what a record shows. It sees what the
// output shows and nothing else: personal data is masked for it, too, unless it is
// unmasked, so that no condition can be used to guess at it.
package filter

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/show"
	"github.com/eventspine/spine/pkg/catalog"
)

// Usage is the help text of --where.
const Usage = `only what this CEL condition holds for: on event (id, type, source, subject, time, correlation_id, causation_id,
sequence), headers, key, topic, partition, offset, timestamp, data`

// maxCost bounds one evaluation: a condition is for one record, not a programme.
const maxCost = 1_000_000

// envelope is what a condition sees as event.
type envelope struct {
	ID            string    `cel:"id"`
	Type          string    `cel:"type"`
	Source        string    `cel:"source"`
	Subject       string    `cel:"subject"`
	Time          time.Time `cel:"time"`
	CorrelationID string    `cel:"correlation_id"`
	CausationID   string    `cel:"causation_id"`
	Sequence      string    `cel:"sequence"`
}

// Dead is what a condition on dead letters sees beside the record.
type Dead struct {
	Class, Fingerprint, Reason string
	Attempts, Redriven         int
}

// Filter is a condition that was checked.
type Filter struct {
	program cel.Program
	data    bool  // it looks at the payload
	failed  int   // records on which it could not be evaluated
	first   error // the first reason
}

// Options say what a condition may look at.
type Options struct {
	Dead   bool // class, fingerprint, reason, attempts, redriven, too
	Unmask bool
	Facts  func() (catalog.Catalog, error) // whose personal data is masked; asked where the payload is looked at
}

// FactsOf are the facts of a fleet.
func FactsOf(f cli.Fleet) func() (catalog.Catalog, error) {
	return func() (catalog.Catalog, error) {
		facts, topics, err := f.Contracts()
		if err != nil {
			return catalog.Catalog{}, err
		}
		return catalog.New(catalog.Fleet{Schemas: facts, Topics: topics, Adapters: f.Adapters, Groups: f.Groups}), nil
	}
}

// Compile checks a condition. What is wrong with it is a usage error with line and
// column; one on personal data that is masked is refused.
func Compile(condition string, o Options) (*Filter, error) {
	names := map[string]*cel.Type{
		"event": cel.ObjectType("filter.envelope"), "headers": cel.MapType(cel.StringType, cel.StringType), "key": cel.StringType,
		"topic": cel.StringType, "partition": cel.IntType, "offset": cel.IntType, "timestamp": cel.TimestampType, "data": cel.DynType,
	}
	if o.Dead {
		names["class"], names["fingerprint"], names["reason"] = cel.StringType, cel.StringType, cel.StringType
		names["attempts"], names["redriven"] = cel.IntType, cel.IntType
	}
	opts := []cel.EnvOption{ext.NativeTypes(reflect.TypeFor[envelope](), types.ParseStructTag("cel")), cel.CrossTypeNumericComparisons(true), ext.Strings()}
	var known []string
	for name, kind := range names {
		opts, known = append(opts, cel.Variable(name, kind)), append(known, name)
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return nil, fmt.Errorf("preparing --where: %w", err)
	}
	checked, issues := env.Compile(condition)
	if issues.Err() != nil {
		return nil, explain(condition, issues.Errors()[0], known)
	}
	if kind := checked.OutputType(); !kind.IsExactType(cel.BoolType) && !kind.IsExactType(cel.DynType) {
		return nil, cli.Usage("--where gives a %s, want true or false", kind)
	}
	f := &Filter{}
	if err := f.guard(checked, o); err != nil {
		return nil, err
	}
	f.program, err = env.Program(checked, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, fmt.Errorf("preparing --where: %w", err)
	}
	return f, nil
}

// explain says where a condition is wrong, and which name is near to the one there.
func explain(condition string, e *cel.Error, known []string) error {
	t := reflect.TypeFor[envelope]()
	for i := range t.NumField() {
		known = append(known, t.Field(i).Tag.Get("cel"))
	}
	hint := ""
	if lines := strings.Split(condition, "\n"); e.Location.Line() >= 1 && e.Location.Line() <= len(lines) {
		line := []rune(lines[e.Location.Line()-1])
		word := wordAt(string(line[min(max(e.Location.Column(), 0), len(line)):]))
		if near := config.Nearest(word, known); word != "" && near != "" && !slices.Contains(known, word) {
			hint = ": did you mean " + near + "?"
		}
	}
	message, _, _ := strings.Cut(e.Message, " (in container")
	return cli.Usage("--where: line %d, column %d: %s%s", e.Location.Line(), e.Location.Column()+1, message, hint)
}

// wordAt is the name at the beginning of a text, behind a dot or a blank.
func wordAt(text string) string {
	text = strings.TrimLeft(text, ". ")
	n := strings.IndexFunc(text, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	if n >= 0 {
		text = text[:n]
	}
	return text
}

// guard refuses a condition on personal data that is masked: it would never hold, and
// nobody would notice.
func (f *Filter) guard(checked *cel.Ast, o Options) error {
	var paths []string
	for _, e := range ast.MatchDescendants(ast.NavigateAST(checked.NativeRep()), func(e ast.NavigableExpr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == "data" }) {
		f.data = true
		paths = append(paths, pathOf(e))
	}
	if o.Unmask || len(paths) == 0 || o.Facts == nil {
		return nil
	}
	c, err := o.Facts()
	if err != nil {
		return err
	}
	for _, fact := range c.Facts {
		for _, field := range fact.Fields {
			name := strings.NewReplacer("[]", "", "{}", "", "?", "").Replace(field.Path)
			personal := field.PII != "" && field.PII != "none"
			for _, path := range paths {
				if personal && (path == name || strings.HasPrefix(path, name+".")) {
					return cli.Refused("--where looks at data.%s, which is personal data (%s) in %s: it is masked without --unmask", path, field.PII, fact.Fact)
				}
			}
		}
	}
	return nil
}

// pathOf is what follows data in a condition, as far as it is names: data.a["b"].c is a.b.c.
func pathOf(e ast.NavigableExpr) string {
	var path []string
	for {
		parent, ok := e.Parent()
		if !ok {
			break
		}
		if parent.Kind() == ast.SelectKind {
			path = append(path, parent.AsSelect().FieldName())
		} else if name, index := indexed(parent, e); !index {
			break
		} else if name != "" {
			path = append(path, name)
		}
		e = parent
	}
	return strings.Join(path, ".")
}

// indexed says that call takes an element of e, and which, where it is named.
func indexed(call, e ast.NavigableExpr) (name string, ok bool) {
	if call.Kind() != ast.CallKind || call.AsCall().FunctionName() != "_[_]" || call.AsCall().Args()[0].ID() != e.ID() {
		return "", false
	}
	if at := call.AsCall().Args()[1]; at.Kind() == ast.LiteralKind {
		name, _ = at.AsLiteral().Value().(string)
	}
	return name, true
}

// Payload says that the condition looks at the payload: without it, nothing has to be
// decoded.
func (f *Filter) Payload() bool { return f.data }

// Match says whether the condition holds. Where it cannot be evaluated, because what it
// names is not there, it doesn't hold, and that is counted.
func (f *Filter) Match(ctx context.Context, s show.Event, dead *Dead) bool {
	vars := map[string]any{
		"headers": s.Headers, "key": s.Key, "topic": s.Topic, "partition": int64(s.Partition), "offset": s.Offset,
		"timestamp": moment(s.Timestamp), "event": &envelope{},
	}
	if e := s.Event; e != nil {
		vars["event"] = &envelope{e.ID, e.Type, e.Source, e.Subject, moment(e.Time), e.CorrelationID, e.CausationID, e.Sequence}
	}
	if dead != nil {
		vars["class"], vars["fingerprint"], vars["reason"] = dead.Class, dead.Fingerprint, dead.Reason
		vars["attempts"], vars["redriven"] = dead.Attempts, dead.Redriven
	}
	var data any
	if s.Data != nil && f.data {
		if err := json.Unmarshal(s.Data, &data); err != nil {
			return f.fail(err)
		}
	}
	vars["data"] = data
	out, _, err := f.program.ContextEval(ctx, vars)
	if err != nil {
		return f.fail(err)
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return f.fail(fmt.Errorf("it gives a %s, want true or false", out.Type().TypeName()))
	}
	return holds
}

func (f *Filter) fail(err error) bool {
	if f.failed++; f.first == nil {
		f.first = err
	}
	return false
}

// Report says on how many records the condition could not be evaluated; "" = on none.
func (f *Filter) Report() string {
	if f == nil || f.failed == 0 {
		return ""
	}
	return fmt.Sprintf("spine: --where could not be evaluated on %d records, which count as no match; the first: %v\n", f.failed, f.first)
}

// moment reads a time as it is shown; the zero time if it is none.
func moment(text string) time.Time {
	at, _ := time.Parse(cli.MicroTime, text)
	return at
}
