// Package databasetest makes fresh databases for tests, on SQLite and on the
// PostgreSQL server that the environment names.
package databasetest

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/google/uuid"
)

// Postgres is the environment variable with the URL of the PostgreSQL server that
// tests use.
const Postgres = "SPINE_TEST_POSTGRES"

// URL is that of a fresh database: a new schema of the PostgreSQL server that the
// environment names, else a new SQLite file.
func URL(tb testing.TB) string {
	tb.Helper()
	if os.Getenv(Postgres) != "" {
		return PostgresURL(tb)
	}
	return SQLiteURL(tb)
}

// SQLiteURL is that of a new SQLite file.
func SQLiteURL(tb testing.TB) string {
	tb.Helper()
	return "sqlite:" + filepath.Join(tb.TempDir(), "once.db")
}

// PostgresURL is that of a new schema, which is dropped at the end. The test is
// skipped if the environment names no server.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	base := os.Getenv(Postgres)
	if base == "" {
		tb.Skip(Postgres + " is not set")
	}
	u, err := url.Parse(base)
	if err != nil {
		tb.Fatalf("reading %s: %v", Postgres, err)
	}
	schema := "t_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	admin(tb, base, "CREATE SCHEMA "+schema)
	tb.Cleanup(func() { admin(tb, base, "DROP SCHEMA "+schema+" CASCADE") })
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func admin(tb testing.TB, url, statement string) {
	tb.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Minute)
	defer cancel()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		tb.Errorf("%s: %v", statement, err)
	}
}
