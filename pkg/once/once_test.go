package once_test

import (
	"testing"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/oncetest"
)

func TestStoreOnSQLite(t *testing.T) {
	t.Parallel()
	oncetest.Run(t, func(t testing.TB) *once.DB { return oncetest.Open(t, oncetest.SQLiteURL(t)) })
}

func TestStoreOnPostgreSQL(t *testing.T) {
	t.Parallel()
	oncetest.PostgresURL(t) // skips without a server
	oncetest.Run(t, func(t testing.TB) *once.DB { return oncetest.Open(t, oncetest.PostgresURL(t)) })
}
