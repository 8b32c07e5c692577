// Package scratch is a second database of a group beside the live one, made from
// nothing and thrown away: a schema of the same PostgreSQL database, a file beside the
// one of SQLite. Contents are copied between the two, each time in one transaction.
package scratch

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database"
)

const (
	// ErrBusy says that another process has this scratch store in use.
	ErrBusy = database.Error("another process is at it")
	// mark tells schemas that are ours, and may be dropped, from those of people.
	mark       = "scratch store of spine"
	schemaName = 63 // bytes of a name in PostgreSQL
)

// Options make a scratch store.
type Options struct {
	Live           *once.DB
	URL            string // of Live
	Group          string
	Purpose        string // part of its name: one at a time of each
	Tables         fs.FS  // the group's migrations; nil = no tables
	MaxConnections int    // 0 = 20
}

// Store is the scratch store of a group. It has the tables of spine and of the group.
type Store struct {
	*once.DB
	live   *once.DB
	group  string
	tables fs.FS
	remove func(context.Context) error // what it stands in
	unlock func() error
}

// Open makes the store, empty; what an earlier process left is removed before. ErrBusy
// says that the earlier process lives.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{live: o.Live, group: o.Group, tables: o.Tables}
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("making the scratch store of %s: %w", o.Group, err), s.Remove(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) (err error) {
	place := s.inFile
	if o.Live.Dialect() == once.PostgreSQL {
		place = s.inSchema
	}
	at, err := place(ctx, o)
	if err != nil {
		return err
	}
	if s.DB, err = once.Open(ctx, once.Options{URL: at, MaxConnections: o.MaxConnections}); err != nil {
		return err
	}
	return s.Migrate(ctx, o.Group, o.Tables)
}

// Remove closes and removes the store.
func (s *Store) Remove(ctx context.Context) error {
	var errs []error
	if s.DB != nil {
		errs = append(errs, s.Close())
	}
	if s.remove != nil {
		errs = append(errs, s.remove(ctx))
	}
	if s.unlock != nil {
		errs = append(errs, s.unlock())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing the scratch store of %s: %w", s.group, err)
	}
	return nil
}

// inFile makes room for a file beside the live one, and says its URL.
func (s *Store) inFile(ctx context.Context, o Options) (string, error) {
	file := o.Live.Name() + "." + o.Group + "." + o.Purpose
	release, err := database.LockFile(file + ".lock")
	if errors.Is(err, database.ErrLocked) {
		return "", fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err != nil {
		return "", err
	}
	s.unlock = release
	s.remove = func(context.Context) error {
		for _, end := range []string{"", "-wal", "-shm", ".migrate"} {
			if err := os.Remove(file + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	return "sqlite:" + file, s.remove(ctx)
}

// inSchema makes an empty schema beside the live one, and says its URL.
func (s *Store) inSchema(ctx context.Context, o Options) (string, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return "", errors.New("the database url can't be read") // it may hold a password
	}
	name := short(strings.ReplaceAll(o.Live.Name()+"_"+o.Group+"_"+o.Purpose, "-", "_"))
	if err := s.lock(ctx, name); err != nil {
		return "", err
	}
	drop := func(ctx context.Context) error {
		var about sql.NullString
		err := o.Live.SQL().QueryRowContext(ctx, `SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1`, name).Scan(&about)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case err != nil:
			return database.Available(err)
		case about.String != mark:
			return fmt.Errorf("the schema %s is there and not ours", name)
		}
		_, err = o.Live.SQL().ExecContext(ctx, `DROP SCHEMA `+database.Quote(name)+` CASCADE`)
		return database.Available(err)
	}
	if err := drop(ctx); err != nil {
		return "", err
	}
	s.remove = drop
	err = o.Live.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `CREATE SCHEMA `+database.Quote(name)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `COMMENT ON SCHEMA `+database.Quote(name)+` IS '`+mark+`'`)
		return err
	})
	q := u.Query()
	q.Set("search_path", database.Quote(name))
	u.RawQuery = q.Encode()
	return u.String(), err
}

// lock keeps a schema for this process, as long as its connection lives.
func (s *Store) lock(ctx context.Context, name string) error {
	conn, err := s.live.SQL().Conn(ctx)
	if err != nil {
		return database.Available(err)
	}
	var locked bool
	err = conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(hashtext($1), hashtext($2))`, mark, name).Scan(&locked)
	if err != nil || !locked {
		if err == nil {
			err = ErrBusy
		}
		return errors.Join(database.Available(err), conn.Close())
	}
	s.unlock = func() error {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtext($1), hashtext($2))`, mark, name)
		return errors.Join(err, conn.Close())
	}
	return nil
}

// short is a name that PostgreSQL takes.
func short(name string) string {
	if len(name) <= schemaName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:schemaName-9] + "_" + hex.EncodeToString(sum[:4])
}
