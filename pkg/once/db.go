package once

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/eventspine/spine/pkg/once/database"
)

//go:embed migrations
var migrations embed.FS

// Dialect names the SQL dialect of a database.
type Dialect = database.Dialect

// The dialects.
const (
	SQLite     = database.SQLite
	PostgreSQL = database.PostgreSQL
)

// Options opens a database.
type Options = database.Options

// DB is an open database with the tables of the store. It is safe for concurrent
// use.
type DB struct{ *database.DB }

// Open opens the database and brings its own tables up to date (version table
// spine_goose). With Existing, for commands beside a running process, nothing is
// created or migrated: a database that is missing or has no tables is an error that
// wraps fs.ErrNotExist.
func Open(ctx context.Context, o Options) (*DB, error) {
	base, err := database.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	db := &DB{base}
	if o.Existing {
		err = db.look(ctx)
	} else {
		err = db.create(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the store: %w", err), db.Close())
	}
	return db, nil
}

// ErrOlder says that the tables are not up to date: Open without Existing migrates them.
const ErrOlder = database.Error("its tables are of an older version of spine: the process that runs the groups brings them up to date")

// look holds the version of the tables against the one that this binary knows.
func (db *DB) look(ctx context.Context) error {
	own, err := fs.Sub(migrations, "migrations/"+string(db.Dialect()))
	if err != nil {
		return err
	}
	stands, knows, err := db.Versions(ctx, "spine", own)
	switch {
	case database.NoTable(err):
		return fmt.Errorf("%w: the database has no tables of spine", fs.ErrNotExist)
	case err != nil:
		return database.Available(err)
	case stands < knows:
		return ErrOlder
	case stands > knows:
		return errors.New("its tables are of a newer version of spine than this binary")
	}
	return nil
}

func (db *DB) create(ctx context.Context) error {
	own, err := fs.Sub(migrations, "migrations/"+string(db.Dialect()))
	if err != nil {
		return err
	}
	return db.Migrate(ctx, "spine", own)
}

// Store is what one group has handled.
func (db *DB) Store(group string) *Store { return &Store{db: db, group: group} }
