package once_test

import (
	"os"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
)

// The tables go back to their first form and forward again, and keep what they hold.
func TestMigrations_downAndUp(t *testing.T) {
	t.Parallel()
	db := oncetest.Open(t, databasetest.URL(t))
	exec(t, db, `INSERT INTO spine_effects (group_name, ownership, name, effect_key, args, cause, state, attempts, next_at,
		created_at, changed_at, error) VALUES ('g', 1, 'mail', 'k', NULL, NULL, 'dropped', 2, 0, 1, 1, 'e')`)
	dialect := goose.DialectSQLite3
	if db.Dialect() == once.PostgreSQL {
		dialect = goose.DialectPostgres
	}
	p, err := goose.NewProvider(dialect, db.SQL(), os.DirFS("migrations/"+string(db.Dialect())),
		goose.WithTableName("spine_goose"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.DownTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := db.Store("g").Effects(t.Context(), once.EffectFilter{})
	if err != nil || len(list) != 1 || list[0].State != once.EffectDone || list[0].Attempts != 2 {
		t.Errorf("after down and up: %+v, %v", list, err)
	}
	exec(t, db, `UPDATE spine_effects SET state = 'dropped'`)
}
