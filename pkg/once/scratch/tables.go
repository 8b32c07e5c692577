package scratch

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/once/database"
)

// Table is a table of the group.
type Table struct {
	Name    string
	Columns []string // that can be written: those that the database computes are left out
	Key     []string // primary key; empty = it has none
}

// Quoted is the name in a statement.
func (t Table) Quoted() string { return database.Quote(t.Name) }

// Tables are those that the group's migrations made, by name.
func (s *Store) Tables(ctx context.Context) ([]Table, error) {
	all, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(t Table) bool {
		return strings.HasPrefix(t.Name, "spine_") || t.Name == strings.ReplaceAll(s.group, "-", "_")+"_goose"
	}), nil
}

// spine is one of spine's own tables.
func (s *Store) spine(ctx context.Context, name string) (Table, error) {
	all, err := s.list(ctx)
	if err != nil {
		return Table{}, err
	}
	i := slices.IndexFunc(all, func(t Table) bool { return t.Name == name })
	if i < 0 {
		return Table{}, fmt.Errorf("the scratch store has no table %s", name)
	}
	return all[i], nil
}

// list reads each column with its place in the primary key, 0 = none.
func (s *Store) list(ctx context.Context) ([]Table, error) {
	query := `SELECT m.name, p.name, p.pk FROM sqlite_master m, pragma_table_xinfo(m.name) p
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND p.hidden = 0 ORDER BY m.name, p.cid`
	if s.Dialect() == database.PostgreSQL {
		query = `SELECT c.relname, a.attname, COALESCE(array_position(k.conkey, a.attnum), 0)
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
			LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
			WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname, a.attnum`
	}
	var all []Table
	var places []int // in the key, of the columns of the last table
	err := database.Each(ctx, s.SQL(), database.Query{What: "listing the tables", SQL: query}, func(rows *sql.Rows) error {
		var table, column string
		var place int
		if err := rows.Scan(&table, &column, &place); err != nil {
			return err
		}
		if len(all) == 0 || all[len(all)-1].Name != table {
			all, places = append(all, Table{Name: table}), nil
		}
		t := &all[len(all)-1]
		t.Columns = append(t.Columns, column)
		if place > 0 {
			i, _ := slices.BinarySearch(places, place)
			places, t.Key = slices.Insert(places, i, place), slices.Insert(t.Key, i, column)
		}
		return nil
	})
	return all, err
}

// columns writes names for a statement, each behind a prefix.
func columns(prefix string, names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = prefix + database.Quote(name)
	}
	return strings.Join(quoted, ", ")
}
