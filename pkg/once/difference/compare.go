package difference

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/eventspine/spine/pkg/once/database"
)

// Change is what became of a row.
type Change string

// The changes.
const (
	Added   Change = "added"
	Changed Change = "changed"
	Removed Change = "removed"
)

// Row is a row that differs.
type Row struct {
	Change Change
	Key    []string // of the columns of Table.Key
	Cells  []Cell   // of one that was added or removed all others, else those that differ
	Times  int64    // how many such rows; other than 1 only where no key tells them apart
}

// Cell is a value before and after; nil = NULL, or no such row.
type Cell struct {
	Column        Column
	Before, After *string
}

// Compare hands the rows of a table that differ from the kept ones to each, one after
// the other, by key.
func Compare(ctx context.Context, db *database.DB, t Table, each func(Row) error) error {
	ask, read := t.byKey, t.keyed
	if len(t.Key) == 0 {
		ask, read = t.byContent, t.counted
	}
	q := database.Query{What: "comparing " + t.Name, SQL: ask(db.Dialect())}
	return database.Each(ctx, db.SQL(), q, func(rows *sql.Rows) error {
		row, err := read(rows)
		if err != nil {
			return err
		}
		return each(row)
	})
}

// byKey joins the two forms of a table: what only one of them has, and what differs.
func (t Table) byKey(d database.Dialect) string {
	var on, where, order, out []string
	first := database.Quote(t.Key[0].Name)
	out = append(out, `b.`+first+` IS NULL`, `a.`+first+` IS NULL`)
	where = append(where, out...)
	for _, c := range t.Key {
		name := database.Quote(c.Name)
		on = append(on, `b.`+name+` = a.`+name)
		order = append(order, `COALESCE(a.`+name+`, b.`+name+`)`)
		out = append(out, text(d, order[len(order)-1]))
	}
	for _, c := range t.Columns {
		before, after := `b.`+database.Quote(c.Name), `a.`+database.Quote(c.Name)
		out = append(out, text(d, before), text(d, after))
		if d == database.PostgreSQL {
			before, after = text(d, before), text(d, after) // some types know no equality
		} else {
			before += ` COLLATE BINARY`
		}
		where = append(where, before+` IS DISTINCT FROM `+after)
	}
	return `SELECT ` + strings.Join(out, ", ") + ` FROM ` + t.kept + ` b FULL JOIN ` + database.Quote(t.Name) + ` a ON ` + strings.Join(on, " AND ") +
		` WHERE ` + strings.Join(where, " OR ") + ` ORDER BY ` + strings.Join(order, ", ")
}

func (t Table) keyed(rows *sql.Rows) (Row, error) {
	var added, removed bool
	key, values := make([]string, len(t.Key)), make([]*string, 2*len(t.Columns))
	into := []any{&added, &removed}
	for i := range key {
		into = append(into, &key[i])
	}
	for i := range values {
		into = append(into, &values[i])
	}
	if err := rows.Scan(into...); err != nil {
		return Row{}, err
	}
	row := Row{Change: Changed, Key: key, Times: 1}
	switch {
	case added:
		row.Change = Added
	case removed:
		row.Change = Removed
	}
	for i, c := range t.Columns {
		cell := Cell{c, values[2*i], values[2*i+1]}
		if row.Change != Changed || !same(cell.Before, cell.After) {
			row.Cells = append(row.Cells, cell)
		}
	}
	return row, nil
}

func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// byContent counts equal rows on both sides, for a table without a key.
func (t Table) byContent(d database.Dialect) string {
	values, names := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = fmt.Sprintf("c%d", i)
		values[i] = text(d, database.Quote(c.Name)) + ` AS ` + names[i]
	}
	list := strings.Join(names, ", ")
	from := func(n int, table string) string {
		return fmt.Sprintf(`SELECT %d AS n, %s FROM %s`, n, strings.Join(values, ", "), table)
	}
	return `SELECT SUM(n), ` + list + ` FROM (` + from(1, database.Quote(t.Name)) + ` UNION ALL ` + from(-1, t.kept) + `) u
		GROUP BY ` + list + ` HAVING SUM(n) <> 0 ORDER BY ` + list
}

func (t Table) counted(rows *sql.Rows) (Row, error) {
	row := Row{Change: Added}
	values := make([]*string, len(t.Columns))
	into := []any{&row.Times}
	for i := range values {
		into = append(into, &values[i])
	}
	if err := rows.Scan(into...); err != nil {
		return Row{}, err
	}
	if row.Times < 0 {
		row.Change, row.Times = Removed, -row.Times
	}
	for i, c := range t.Columns {
		cell := Cell{Column: c, After: values[i]}
		if row.Change == Removed {
			cell.Before, cell.After = cell.After, nil
		}
		row.Cells = append(row.Cells, cell)
	}
	return row, nil
}

// text is a value as people read it.
func text(d database.Dialect, value string) string {
	if d == database.PostgreSQL {
		return `CAST(` + value + ` AS TEXT)`
	}
	return `CASE typeof(` + value + `) WHEN 'blob' THEN '\x' || lower(hex(` + value + `)) ELSE CAST(` + value + ` AS TEXT) END`
}
