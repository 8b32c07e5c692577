package again

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/show"
	"github.com/eventspine/spine/pkg/once/difference"
	"github.com/eventspine/spine/pkg/wire/avrojson"
)

// shadowed is what a shadow prints: a contract.
type shadowed struct {
	plan
	Shadow    bool                       `json:"shadow"`
	Rebuild   bool                       `json:"rebuild"`  // from nothing
	Warnings  []string                   `json:"warnings"` // why a rebuild may differ
	Handled   int64                      `json:"handled"`  // in the shadow
	Tables    []tableDifference          `json:"tables"`
	Published show.Listed[publishedFact] `json:"would_publish"`
	Asked     show.Listed[askedEffect]   `json:"would_ask"`
	Failures  show.Listed[failedFact]    `json:"would_fail"`
}

func newShadowed(limit int) shadowed {
	return shadowed{
		Shadow: true, Warnings: []string{}, Tables: []tableDifference{}, Published: show.Listed[publishedFact]{Shown: []publishedFact{}, Most: limit},
		Asked: show.Listed[askedEffect]{Shown: []askedEffect{}, Most: limit}, Failures: show.Listed[failedFact]{Shown: []failedFact{}, Most: limit},
	}
}

// tableDifference says what differs in a table: all is counted, the first rows are
// shown.
type tableDifference struct {
	Table   string          `json:"table"`
	Key     []string        `json:"key"` // [] = the table has none
	Added   int64           `json:"added"`
	Changed int64           `json:"changed"`
	Removed int64           `json:"removed"`
	Rows    []rowDifference `json:"rows"`
}

type rowDifference struct {
	Change  string             `json:"change"`
	Key     map[string]string  `json:"key"`
	Times   int64              `json:"times"` // equal rows of a table without a key
	Columns []columnDifference `json:"columns"`

	keys []string // in order
}

type columnDifference struct {
	Column string  `json:"column"`
	Before *string `json:"before"` // null = NULL, or no such row
	After  *string `json:"after"`
}

type publishedFact struct {
	ID    string          `json:"id"`
	Fact  string          `json:"fact"`
	Topic string          `json:"topic"`
	Key   string          `json:"key"`
	Cause string          `json:"causation_id"`
	Data  json.RawMessage `json:"data"`
}

type askedEffect struct {
	Name       string `json:"name"`
	Key        string `json:"key"`
	Suppressed bool   `json:"suppressed"`   // without --effects
	Before     bool   `json:"asked_before"` // with this key: it isn't asked again
}

type failedFact struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	ID        string `json:"id"`
	Fact      string `json:"fact"`
	Key       string `json:"key"`
	Class     string `json:"class"`
	Reason    string `json:"reason"`
}

// add counts a row. No schema says which text in a table is personal: without unmask
// all of it is masked, but for the key.
func (d *tableDifference) add(t difference.Table, r difference.Row, o options) {
	*map[difference.Change]*int64{difference.Added: &d.Added, difference.Changed: &d.Changed, difference.Removed: &d.Removed}[r.Change] += r.Times
	if len(d.Rows) >= o.limit {
		return
	}
	row := rowDifference{Change: string(r.Change), Key: map[string]string{}, Times: r.Times, Columns: []columnDifference{}}
	for i, c := range t.Key {
		row.Key[c.Name] = r.Key[i]
		row.keys = append(row.keys, c.Name+"="+r.Key[i])
	}
	for _, c := range r.Cells {
		row.Columns = append(row.Columns, columnDifference{c.Column.Name, masked(c.Column, c.Before, o.unmask), masked(c.Column, c.After, o.unmask)})
	}
	d.Rows = append(d.Rows, row)
}

func masked(c difference.Column, value *string, unmask bool) *string {
	if value == nil || unmask || !c.Free() {
		return value
	}
	hidden := avrojson.Masked
	return &hidden
}

func (s shadowed) show(j *job) error {
	err := j.Print(s, s.table)
	if err == nil && j.People() {
		j.Warn(s.Warnings)
		fmt.Fprintln(j.Stderr, "spine: a shadow, nothing was changed; --execute instead of --shadow does it")
	}
	return err
}

func (s shadowed) table(w *cli.Table) {
	s.plan.table(w)
	w.Line("")
	w.Row("TABLE", "ADDED", "CHANGED", "REMOVED")
	for _, t := range s.Tables {
		w.Row(t.Table, t.Added, t.Changed, t.Removed)
	}
	for _, t := range s.Tables {
		if len(t.Rows) == 0 {
			continue
		}
		w.Line("")
		w.Line("%s, %d of %d:", t.Table, len(t.Rows), t.Added+t.Changed+t.Removed)
		for _, r := range t.Rows {
			w.Row(r.Change, strings.Join(r.keys, " "), r.text())
		}
	}
	if s.Published.Count > 0 {
		w.Line("")
		w.Line("would publish, %d of %d:", len(s.Published.Shown), s.Published.Count)
		for _, p := range s.Published.Shown {
			w.Row(p.Fact, p.ID, p.Key)
		}
	}
	if s.Asked.Count > 0 {
		w.Line("")
		w.Line("would ask for effects, %d of %d:", len(s.Asked.Shown), s.Asked.Count)
		for _, a := range s.Asked.Shown {
			w.Row(a.Name, a.Key, a.fate())
		}
	}
	if s.Failures.Count > 0 {
		w.Line("")
		w.Line("would fail, %d of %d:", len(s.Failures.Shown), s.Failures.Count)
		for _, f := range s.Failures.Shown {
			w.Row(f.Fact, f.ID, f.Key, f.Class, f.Reason)
		}
	}
	w.Line("")
	w.Line("%d handled in the shadow, %d failed; %d facts, %d effects", s.Handled, s.Failures.Count, s.Published.Count, s.Asked.Count)
}

func (a askedEffect) fate() string {
	switch {
	case a.Before:
		return "asked before"
	case a.Suppressed:
		return "suppressed"
	}
	return "called"
}

// text is what differs, on one line.
func (r rowDifference) text() string {
	var parts []string
	for _, c := range r.Columns {
		switch r.Change {
		case string(difference.Added):
			parts = append(parts, c.Column+"="+show.Short(c.After))
		case string(difference.Removed):
			parts = append(parts, c.Column+"="+show.Short(c.Before))
		default:
			parts = append(parts, c.Column+": "+show.Short(c.Before)+" -> "+show.Short(c.After))
		}
	}
	if r.Times > 1 {
		parts = append(parts, fmt.Sprintf("(%d times)", r.Times))
	}
	return strings.Join(parts, ", ")
}
