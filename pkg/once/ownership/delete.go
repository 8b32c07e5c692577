package ownership

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/eventspine/spine/pkg/once/database"
)

// Table is a table of the store and how many rows of it a group has.
type Table struct {
	Name string `json:"table"`
	Rows int64  `json:"rows"`
}

// ownedBy says which rows of a table are a group's, by the column that the table has.
func ownedBy(columns []string) string {
	switch {
	case slices.Contains(columns, "group_name"):
		return `group_name = $1`
	case slices.Contains(columns, "ownership"):
		return `ownership IN (SELECT id FROM spine_ownership WHERE group_name = $1)`
	}
	return ""
}

// tables are the tables of the store with the condition for a group's rows, the one
// that the others refer to last.
func tables(ctx context.Context, db *database.DB) (names []string, owned map[string]string, err error) {
	query := `SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p
		WHERE m.type = 'table' AND m.name LIKE 'spine\_%' ESCAPE '\'`
	if db.Dialect() == database.PostgreSQL {
		query = `SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t
			ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE'
			WHERE c.table_schema = current_schema() AND c.table_name LIKE 'spine\_%'`
	}
	columns := map[string][]string{}
	err = database.Each(ctx, db.SQL(), database.Query{What: "listing the tables", SQL: query}, func(rows *sql.Rows) error {
		var table, column string
		err := rows.Scan(&table, &column)
		columns[table] = append(columns[table], column)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	owned = map[string]string{}
	for table, all := range columns {
		if condition := ownedBy(all); condition != "" {
			names, owned[table] = append(names, table), condition
		}
	}
	slices.Sort(names)
	if i := slices.Index(names, "spine_ownership"); i >= 0 {
		names = append(slices.Delete(names, i, i+1), "spine_ownership")
	}
	return names, owned, nil
}

// Count says how many rows a group has in each table of the store.
func Count(ctx context.Context, db *database.DB, group string) ([]Table, error) {
	names, owned, err := tables(ctx, db)
	if err != nil {
		return nil, err
	}
	all := make([]Table, len(names))
	for i, name := range names {
		all[i].Name = name
		err := db.SQL().QueryRowContext(ctx, `SELECT COUNT(*) FROM `+name+` WHERE `+owned[name], group).Scan(&all[i].Rows)
		if err != nil {
			return nil, fmt.Errorf("counting the rows of %s: %w", name, database.Available(err))
		}
	}
	return all, nil
}

// Delete removes all rows of a group, in one transaction that waits for what its owners
// have in flight and lets them write nothing any more. It answers what it removed.
func Delete(ctx context.Context, db *database.DB, group string) ([]Table, error) {
	names, owned, err := tables(ctx, db)
	if err != nil {
		return nil, err
	}
	ids, err := list(ctx, db, group)
	if err != nil {
		return nil, err
	}
	var removed []Table
	err = db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		removed = removed[:0]
		for _, id := range ids {
			if _, _, err := Bump(ctx, db, tx, id); err != nil { // promise: fenced
				return err
			}
		}
		for _, name := range names {
			res, err := tx.ExecContext(ctx, `DELETE FROM `+name+` WHERE `+owned[name], group) //nolint:gosec // names of tables and conditions are ours
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			removed = append(removed, Table{name, n})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("deleting the rows of %s: %w", group, err)
	}
	return removed, nil
}
