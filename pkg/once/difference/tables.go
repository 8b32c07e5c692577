// Package difference says what has changed in the tables of a database since a copy of
// them was kept beside: row by row, by primary key, with the columns that differ.
package difference

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/once/database"
)

// Table is a table and how its rows are told apart.
type Table struct {
	Name    string
	Key     []Column // primary key; empty = none that tells all rows apart
	Columns []Column // the others

	kept string // the table with its rows as they were
}

// Column is a column of a table.
type Column struct {
	Name string
	Type string // as the database names it
}

// Free says whether the column may hold any text: everything but numbers, times and
// booleans.
func (c Column) Free() bool {
	name, _, _ := strings.Cut(strings.ToLower(c.Type), "(")
	name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
	return !slices.Contains([]string{
		"integer", "int", "bigint", "smallint", "int2", "int4", "int8", "numeric", "decimal", "real", "double", "float", "boolean", "bool",
		"date", "time", "timestamp", "datetime", "interval",
	}, name)
}

// copies begin so: the tables of the store do as well, and no group's.
const copies = "spine_kept_"

// Keep copies all tables of a database but those of the store itself and of the
// migrations, by name, for Compare.
func Keep(ctx context.Context, db *database.DB) ([]Table, error) {
	tables, err := Tables(ctx, db)
	if err != nil {
		return nil, err
	}
	return tables, db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error { return KeepFrom(ctx, tx, tables, "") })
}

// Tables are those that Keep copies.
func Tables(ctx context.Context, db *database.DB) ([]Table, error) {
	tables, err := list(ctx, db)
	if err != nil {
		return nil, err
	}
	for i := range tables {
		tables[i].kept = fmt.Sprintf("%s%d", copies, i)
	}
	return tables, nil
}

// KeepFrom is Keep of the rows that stand elsewhere in tables of the same names, behind
// from.
func KeepFrom(ctx context.Context, tx *sql.Tx, tables []Table, from string) error {
	for _, t := range tables {
		if _, err := tx.ExecContext(ctx, `CREATE TABLE `+t.kept+` AS SELECT * FROM `+from+database.Quote(t.Name)); err != nil {
			return fmt.Errorf("keeping the rows of %s: %w", t.Name, err)
		}
	}
	return nil
}

const (
	sqliteTables   = `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`
	postgresTables = `SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
		AND NOT relispartition ORDER BY relname COLLATE "C"`

	// name, type, whether it may be NULL, place in the primary key: 0 = none.
	sqliteColumns   = `SELECT name, type, NOT ("notnull" OR (pk = 1 AND upper(type) = 'INTEGER')), pk FROM pragma_table_info($1) ORDER BY cid`
	postgresColumns = `SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, COALESCE(array_position(i.indkey::int2[], a.attnum) + 1, 0)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
		WHERE c.relname = $1 AND c.relnamespace = current_schema()::regnamespace AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`
)

func list(ctx context.Context, db *database.DB) ([]Table, error) {
	query := sqliteTables
	if db.Dialect() == database.PostgreSQL {
		query = postgresTables
	}
	tables, err := database.List(ctx, db.SQL(), database.Query{What: "listing the tables", SQL: query},
		func(rows *sql.Rows, t *Table) error { return rows.Scan(&t.Name) })
	if err != nil {
		return nil, err
	}
	tables = slices.DeleteFunc(tables, func(t Table) bool {
		return strings.HasPrefix(t.Name, "spine_") || strings.HasSuffix(t.Name, "_goose")
	})
	for i := range tables {
		if err := tables[i].describe(ctx, db); err != nil {
			return nil, err
		}
	}
	return tables, nil
}

func (t *Table) describe(ctx context.Context, db *database.DB) error {
	query := sqliteColumns
	if db.Dialect() == database.PostgreSQL {
		query = postgresColumns
	}
	keys, open := map[int]Column{}, false
	q := database.Query{What: "listing the columns of " + t.Name, SQL: query, Args: []any{t.Name}}
	all, err := database.List(ctx, db.SQL(), q, func(rows *sql.Rows, c *Column) error {
		var null bool
		var place int
		err := rows.Scan(&c.Name, &c.Type, &null, &place)
		if place > 0 {
			keys[place] = *c
			open = open || null
		}
		return err
	})
	if err != nil {
		return err
	}
	if open { // SQLite lets several rows have no key
		clear(keys)
	}
	for place := 1; place <= len(keys); place++ {
		t.Key = append(t.Key, keys[place])
	}
	for _, c := range all {
		if !slices.Contains(t.Key, c) {
			t.Columns = append(t.Columns, c)
		}
	}
	return nil
}
