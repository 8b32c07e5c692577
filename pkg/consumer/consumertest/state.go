package consumertest

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/eventspine/spine/pkg/once"
)

// result is what a run leaves behind, a line per row, fact, effect and outcome.
type result struct {
	exact     []string
	unordered []string // without what depends on the order between keys
}

// of is the form that a fault is judged by.
func (s result) of(f fault) []string {
	if f.order != nil {
		return s.unordered
	}
	return s.exact
}

// result ends the run.
func (r *engine) result(tb testing.TB) result {
	tb.Helper()
	defer r.close()
	var outside []string
	if r.options.Outside != nil {
		outside = r.options.Outside()
	}
	tables := r.tables()
	lines := func(masked mask) []string {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(tables)) {
			for _, row := range tables[name] {
				all = append(all, "row of "+name+": "+masked.row(name, row))
			}
		}
		facts := map[string]bool{} // one id, one content: what is published again is the same
		for _, text := range r.published {
			facts[masked.fact(text)] = true
		}
		all = append(all, slices.Collect(maps.Keys(facts))...)
		list, err := r.db.Store(r.group.Name).Effects(tb.Context(), once.EffectFilter{})
		r.must(err)
		for _, e := range list {
			all = append(all, fmt.Sprintf("effect %s %s, %s: %s", e.Name, e.Key, e.State, masked.document(e.Name, e.Args)))
		}
		for id, became := range r.outcomes {
			all = append(all, "event "+id+" "+became)
		}
		for _, call := range outside {
			all = append(all, "outside: "+call)
		}
		slices.Sort(all)
		return all
	}
	return result{
		exact:     lines(mask(r.options.Volatile)),
		unordered: lines(mask(slices.Concat(r.options.Volatile, r.options.Unordered))),
	}
}

// column is a value of a row.
type column struct{ name, value string }

// tables are the rows of the group's tables.
func (r *engine) tables() map[string][][]column {
	r.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`
	if r.db.Dialect() == once.PostgreSQL {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name`
	}
	prefix := strings.ReplaceAll(r.group.Name, "-", "_") + "_"
	all := map[string][][]column{}
	for _, row := range r.query(query) {
		if name := row[0].value; strings.HasPrefix(name, prefix) && name != prefix+"goose" {
			all[name] = r.query(`SELECT * FROM ` + name)
		}
	}
	return all
}

// query reads rows as text.
func (r *engine) query(query string) (list [][]column) {
	r.Helper()
	rows, err := r.db.SQL().QueryContext(r.Context(), query)
	if err != nil {
		r.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	r.must(err)
	for rows.Next() {
		values, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		r.must(rows.Scan(into...))
		row := make([]column, len(names))
		for i, v := range values {
			row[i] = column{names[i], v.String}
			if !v.Valid {
				row[i].value = "NULL"
			}
		}
		list = append(list, row)
	}
	r.must(rows.Err())
	return list
}

// ledger sees that the group's own account of what it did shows each handled event at
// most once, and none that was not handled.
func (r *engine) ledger(tb testing.TB) (found []string) {
	tb.Helper()
	for _, typ := range slices.Sorted(maps.Keys(r.group.Ledger)) {
		seen := map[string]bool{}
		for _, row := range r.query(r.group.Ledger[typ]) {
			id := row[0].value
			if seen[id] {
				found = append(found, fmt.Sprintf("the ledger of %s shows the event %s twice", typ, id))
			}
			if r.outcomes[id] != handledWell {
				found = append(found, fmt.Sprintf("the ledger of %s shows the event %s, which was not handled", typ, id))
			}
			seen[id] = true
		}
	}
	return found
}

// mask names what is left out of a comparison.
type mask []string

func (m mask) hides(of, what string) bool { return slices.Contains(m, of+"."+what) }

func (m mask) row(table string, row []column) string {
	var shown []string
	for _, c := range row {
		if !m.hides(table, c.name) {
			shown = append(shown, c.name+"="+c.value)
		}
	}
	return strings.Join(shown, " ")
}

func (m mask) fact(text string) string {
	var p struct {
		ID, Type, Key string
		Fact          json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return text
	}
	return fmt.Sprintf("fact %s %s, key %s: %s", p.Type, p.ID, p.Key, m.document(p.Type, p.Fact))
}

// document is a JSON document without the fields that the mask hides.
func (m mask) document(of string, text []byte) string {
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return string(text)
	}
	m.prune(tree, of)
	short, err := json.Marshal(tree)
	if err != nil {
		return string(text)
	}
	return string(short)
}

func (m mask) prune(tree any, of string) {
	switch node := tree.(type) {
	case map[string]any:
		for name, value := range node {
			if m.hides(of, name) || value == nil {
				delete(node, name)
				continue
			}
			m.prune(value, of+"."+name)
		}
	case []any:
		for _, value := range node {
			m.prune(value, of)
		}
	}
}

// difference is what stands in one list and not in the other, as often as it does.
func difference(want, got []string) (lines []string) {
	count := map[string]int{}
	for _, line := range want {
		count[line]--
	}
	for _, line := range got {
		count[line]++
	}
	for _, line := range slices.Sorted(maps.Keys(count)) {
		for range -count[line] {
			lines = append(lines, "- "+line)
		}
		for range count[line] {
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}
