package difference_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/difference"
)

// The difference is exact: by key, of several columns, of values that are NULL, of
// rows that no key tells apart.
func TestCompare(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(testing.TB) string{"sqlite": databasetest.SQLiteURL, "postgres": databasetest.PostgresURL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := database.Open(t.Context(), database.Options{URL: url(t)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			run(t, db,
				`CREATE TABLE spine_inbox (id INTEGER)`, `CREATE TABLE g_goose (id INTEGER)`,
				`CREATE TABLE g_lines (n BIGINT NOT NULL, "order" TEXT NOT NULL, amount NUMERIC(19,4), note TEXT, PRIMARY KEY ("order", n))`,
				`CREATE TABLE g_log (label TEXT, n BIGINT)`, `CREATE TABLE g_same (id TEXT NOT NULL PRIMARY KEY, b INTEGER)`,
				`CREATE TABLE g_keys (id TEXT NOT NULL PRIMARY KEY)`, `INSERT INTO g_keys VALUES ('a'), ('b')`,
				`INSERT INTO g_same VALUES ('x', 1), ('y', NULL)`, `INSERT INTO g_log VALUES ('twice', 1), ('twice', 1), ('once', NULL), ('gone', 2)`,
				`INSERT INTO g_lines VALUES (1, 'o1', 5, 'stays'), (2, 'o1', 6, NULL), (10, 'o1', 7, 'other'), (1, 'o2', 8, 'gone')`)
			tables, err := difference.Keep(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			run(t, db, `DELETE FROM g_lines WHERE "order" = 'o2'`, `UPDATE g_lines SET note = 'now' WHERE n = 2`,
				`UPDATE g_lines SET note = NULL, amount = 9 WHERE n = 10`, `INSERT INTO g_lines VALUES (3, 'o1', NULL, 'new')`,
				`DELETE FROM g_log WHERE label = 'gone'`, `INSERT INTO g_log VALUES ('twice', 1), ('once', NULL), (NULL, 3)`,
				`DELETE FROM g_keys WHERE id = 'a'`, `INSERT INTO g_keys VALUES ('c')`, `INSERT INTO spine_inbox VALUES (1)`)
			want := []string{
				"g_keys [id]", "  removed [a] x1:", "  added [c] x1:",
				"g_lines [order n]", "  changed [o1 2] x1: note NULL->now", "  added [o1 3] x1: amount NULL->NULL note NULL->new",
				"  changed [o1 10] x1: amount 7->9 note other->NULL", "  removed [o2 1] x1: amount 8->NULL note gone->NULL",
				"g_log []", "  removed [] x1: label gone->NULL n 2->NULL", "  added [] x1: label NULL->once n NULL->NULL",
				"  added [] x1: label NULL->twice n NULL->1", "  added [] x1: label NULL->NULL n NULL->3", "g_same [id]",
			}
			if name == "sqlite" { // sorts NULL to the front
				want = append(append(append([]string{}, want[:9]...), want[12], want[9], want[10], want[11]), want[13])
			}
			if diff := cmp.Diff(want, compared(t, db, tables)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func run(t *testing.T, db *database.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.SQL().ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func compared(t *testing.T, db *database.DB, tables []difference.Table) (all []string) {
	t.Helper()
	for _, table := range tables {
		var key []string
		for _, c := range table.Key {
			key = append(key, c.Name)
		}
		all = append(all, fmt.Sprintf("%s %v", table.Name, key))
		err := difference.Compare(t.Context(), db, table, func(r difference.Row) error {
			line := fmt.Sprintf("  %s %v x%d:", r.Change, r.Key, r.Times)
			for _, c := range r.Cells {
				line += fmt.Sprintf(" %s %s->%s", c.Column.Name, value(c.Before), value(c.After))
			}
			all = append(all, strings.ReplaceAll(line, ".0000", "")) // how the dialects write a number
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func value(s *string) string {
	if s == nil {
		return "NULL"
	}
	return *s
}

// Text of any kind may be personal; a number, a time or a boolean is not.
func TestColumn_Free(t *testing.T) {
	t.Parallel()
	for of, want := range map[string]bool{
		"TEXT": true, "character varying(20)": true, "BLOB": true, "jsonb": true, "": true, "uuid": true, "point": true,
		"BIGINT": false, "numeric(19,4)": false, "NUMERIC (19, 4)": false, "double precision": false, "timestamp with time zone": false, "Boolean": false,
	} {
		if got := (difference.Column{Type: of}).Free(); got != want {
			t.Errorf("%q is free: %t", of, got)
		}
	}
}
