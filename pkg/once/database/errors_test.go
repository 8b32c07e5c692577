package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestClasses(t *testing.T) {
	t.Parallel()
	pg := func(severity, code string) error {
		return fmt.Errorf("doing: %w", &pgconn.PgError{SeverityUnlocalized: severity, Code: code})
	}
	for name, c := range map[string]struct {
		err                             error
		away, serialization, rolledBack bool
	}{
		"nil":                    {},
		"business":               {err: errors.New("connection refused")}, // never by text
		"unique":                 {err: pg("ERROR", "23505"), rolledBack: true},
		"statement timeout":      {err: pg("ERROR", "57014"), rolledBack: true},
		"serialization":          {err: pg("ERROR", "40001"), serialization: true, rolledBack: true},
		"deadlock":               {err: pg("ERROR", "40P01"), serialization: true, rolledBack: true},
		"lock timeout":           {err: pg("ERROR", "55P03"), away: true, rolledBack: true},
		"standby":                {err: pg("ERROR", "25006"), away: true, rolledBack: true},
		"terminated":             {err: pg("FATAL", "57P01"), away: true},
		"idle in transaction":    {err: pg("FATAL", "25P03"), away: true},
		"too many connections":   {err: pg("FATAL", "53300"), away: true},
		"disk full":              {err: pg("ERROR", "53100"), away: true, rolledBack: true},
		"connection lost":        {err: pg("FATAL", "08006"), away: true},
		"bad connection":         {err: driver.ErrBadConn, away: true},
		"own deadline":           {err: context.DeadlineExceeded},
		"own deadline, wrapping": {err: fmt.Errorf("%w: %w", context.Canceled, driver.ErrBadConn)},
		"rolled back by commit":  {err: pgx.ErrTxCommitRollback, rolledBack: true},
	} {
		if got := errors.Is(Available(c.err), ErrUnavailable); got != c.away {
			t.Errorf("%s: away = %v, want %v", name, got, c.away)
		}
		if got := Serialization(c.err); got != c.serialization {
			t.Errorf("%s: serialization = %v, want %v", name, got, c.serialization)
		}
		if got := rolledBack(c.err); got != c.rolledBack {
			t.Errorf("%s: rolledBack = %v, want %v", name, got, c.rolledBack)
		}
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		"COMMIT": true, "\n commit;": true, "end": true, "ROLLBACK": true, "rollback;": true, "BEGIN IMMEDIATE": true,
		"START TRANSACTION": true, "abort": true,
		"ROLLBACK TO here": false, "rollback to savepoint here": false, "SAVEPOINT a": false, "RELEASE a": false,
		"INSERT INTO commit VALUES (1)": false, "SELECT 1": false, "": false, "commitment": false,
	} {
		if got := control(query); got != want {
			t.Errorf("control(%q) = %v, want %v", query, got, want)
		}
	}
}
