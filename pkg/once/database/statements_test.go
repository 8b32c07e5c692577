package database

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
)

// A statement that is kept answers as one that is prepared anew: while its own rows
// are being read, after an error, after the table has changed, and when more of them
// come than are kept.
func TestStatements(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	for n := range 3 {
		if err := db.Write(t.Context(), insert(n, 0)); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := db.SQL().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const query = `SELECT name FROM sqlite_master WHERE name <> $1 OR 1 = 1`
	read := func() int {
		t.Helper()
		return seen(t, conn, query, func() int { return seen(t, conn, query, nil) })
	}
	before := read()
	if before == 0 {
		t.Fatal("no table")
	}
	if _, err := conn.ExecContext(t.Context(), `INSERT INTO nowhere VALUES (1)`); err == nil {
		t.Error("a table that is not there takes a row")
	}
	if _, err := conn.ExecContext(t.Context(), `CREATE TABLE nowhere (a INTEGER PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, false} { // the key is taken
		if _, err := conn.ExecContext(t.Context(), `INSERT INTO nowhere VALUES ($1)`, 7); (err == nil) != want {
			t.Errorf("insert %d: %v", i, err)
		}
	}
	if got := read(); got != before+1 {
		t.Errorf("%d tables, want %d", got, before+1)
	}
	got := seen(t, conn, query, func() int { // which pushes the outer one out
		for n := range 2 * maxStatements {
			seen(t, conn, fmt.Sprintf(`SELECT name FROM sqlite_master WHERE name <> $1 AND %d > -1`, n), nil)
		}
		return before + 1
	})
	if got != before+1 {
		t.Errorf("%d tables, want %d", got, before+1)
	}
	if _, err := conn.ExecContext(t.Context(), `ALTER TABLE nowhere ADD COLUMN b INTEGER`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var a int
		var b sql.NullInt64
		if err := conn.QueryRowContext(t.Context(), `SELECT * FROM nowhere`).Scan(&a, &b); err != nil || a != 7 {
			t.Errorf("%d, %v", a, err)
		}
	}
}

// seen counts rows; between is called after the first one, and has to count as many.
func seen(t *testing.T, conn *sql.Conn, query string, between func() int) (n int) {
	t.Helper()
	rows, err := conn.QueryContext(context.WithoutCancel(t.Context()), query, "none")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	other := -1
	for rows.Next() {
		if n++; n == 1 && between != nil {
			other = between()
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if between != nil && other != n {
		t.Errorf("rows within rows: %d, want %d", other, n)
	}
	return n
}
