package once_test

import (
	"testing"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
)

func TestStoreOnSQLite(t *testing.T) {
	t.Parallel()
	oncetest.Run(t, func(tb testing.TB) *once.DB {
		tb.Helper()
		return oncetest.Open(tb, databasetest.SQLiteURL(tb))
	})
}

func TestStoreOnPostgreSQL(t *testing.T) {
	t.Parallel()
	databasetest.PostgresURL(t) // skips without a server
	oncetest.Run(t, func(tb testing.TB) *once.DB {
		tb.Helper()
		return oncetest.Open(tb, databasetest.PostgresURL(tb))
	})
}
