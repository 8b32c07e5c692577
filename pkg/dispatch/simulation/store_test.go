//go:build synctests

package simulation_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"modernc.org/sqlite"

	"github.com/eventspine/spine/pkg/once"
)

// files are the databases of the running simulations: the driver asks each new
// connection whether its database is away.
var files sync.Map // path to *file

type file struct {
	path string
	mu   sync.Mutex
	away bool
}

func hookConnections() {
	sqlite.RegisterConnectionHook(func(_ sqlite.ExecQuerierContext, dsn string) (err error) {
		files.Range(func(_, value any) bool {
			if f, ok := value.(*file); ok && strings.Contains(dsn, f.path) && f.isAway() {
				err = driver.ErrBadConn
			}
			return err == nil
		})
		return err
	})
}

func keep(path string) *file {
	f := &file{path: path}
	files.Store(path, f)
	return f
}

func (f *file) forget() { files.Delete(f.path) }

func (f *file) isAway() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.away
}

func (f *file) set(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// breakTransaction ends the store's current transaction under its writer, as a full
// disk does: nothing of it stands, and its connection is gone.
func (w *world) breakTransaction() {
	_ = w.db.Write(w.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `ROLLBACK`)
		return errors.Join(err, errWeak)
	})
}

// databaseAway closes all connections and lets none be opened.
func (w *world) databaseAway() {
	w.store.set(true)
	w.db.SQL().SetMaxIdleConns(0)
	w.breakTransaction()
}

func (w *world) databaseBack() {
	w.store.set(false)
	w.db.SQL().SetMaxIdleConns(20)
}

// backup is the content of all tables at one moment.
type backup struct {
	tables []string
	rows   map[string][][]any
}

// reading is a transaction that only reads, all of one moment, and waits for nobody.
func (w *world) reading(do func(query func(string, ...any) [][]any)) error {
	ctx := w.t.Context()
	conn, err := w.db.SQL().Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `BEGIN DEFERRED`); err != nil {
		return err
	}
	defer func() { _, _ = conn.ExecContext(ctx, `ROLLBACK`) }()
	do(func(query string, args ...any) [][]any {
		var list [][]any
		if list, err = table(ctx, conn, query, args...); err != nil {
			w.must(fmt.Errorf("%s: %w", query, err))
		}
		return list
	})
	return nil
}

func table(ctx context.Context, conn *sql.Conn, query string, args ...any) ([][]any, error) {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var list [][]any
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		list = append(list, values)
	}
	return list, rows.Err()
}

func (w *world) backup() {
	b := &backup{rows: map[string][][]any{}}
	err := w.reading(func(query func(string, ...any) [][]any) {
		for _, row := range query(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%goose%' ORDER BY name`) {
			name := fmt.Sprint(row[0])
			b.tables = append(b.tables, name)
			b.rows[name] = query(`SELECT * FROM ` + name)
		}
	})
	if err != nil {
		w.note("no backup: %v", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saved = b
}

// restore brings the backup back under living owners: fresh epochs come with it, as the
// database lets nobody in before.
func (w *world) restore() {
	w.mu.Lock()
	b := w.saved
	w.mu.Unlock()
	if b == nil {
		return
	}
	err := w.db.Write(w.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		if err := b.write(ctx, tx); err != nil {
			return err
		}
		var fresh [8]byte
		_, _ = rand.Read(fresh[:])
		_, err := tx.ExecContext(ctx, `UPDATE spine_ownership SET epoch = $1 + id`, int64(binary.BigEndian.Uint64(fresh[:])>>2))
		return err
	})
	if err != nil {
		w.note("no restore: %v", err)
		return
	}
	if _, err := w.db.Fence(w.t.Context()); err != nil && !errors.Is(err, once.ErrUnavailable) {
		w.find("fencing after the restore: %v", err)
	}
}

func (b *backup) write(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `PRAGMA defer_foreign_keys = ON`); err != nil {
		return err
	}
	for _, name := range b.tables {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+name); err != nil {
			return fmt.Errorf("emptying %s: %w", name, err)
		}
	}
	for _, name := range b.tables {
		for _, row := range b.rows[name] {
			marks := strings.TrimSuffix(strings.Repeat("?,", len(row)), ",")
			if _, err := tx.ExecContext(ctx, `INSERT INTO `+name+` VALUES (`+marks+`)`, row...); err != nil {
				return fmt.Errorf("filling %s: %w", name, err)
			}
		}
	}
	return nil
}
