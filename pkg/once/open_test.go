package once_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "mysql://x", "sqlite:", "sqlite::memory:", "postgres://%zz", "/a/path"} {
		if db, err := once.Open(t.Context(), once.Options{URL: url}); err == nil {
			t.Errorf("%q was opened", url)
			_ = db.Close()
		}
	}
}

// A command reads while a handler is in flight, and creates nothing.
func TestExisting(t *testing.T) {
	t.Parallel()
	urls := map[string]string{"sqlite": databasetest.SQLiteURL(t)}
	if os.Getenv(databasetest.Postgres) != "" {
		urls["postgres"] = databasetest.PostgresURL(t)
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			existing := once.Options{URL: url, Existing: true}
			if _, err := once.Open(t.Context(), existing); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("nothing is there: %v, want fs.ErrNotExist", err)
			}
			if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the file was created: %v", err)
				}
			}
			db := oncetest.Open(t, url)
			o := own(t, db)
			if _, err := o.Do(t.Context(), item(0), nothing); err != nil {
				t.Fatal(err)
			}
			_, err := o.Do(t.Context(), item(1), func(context.Context, once.Tx) error {
				beside, err := once.Open(t.Context(), existing)
				if err != nil {
					return err
				}
				if n := handled(t, beside); n != 1 {
					t.Errorf("seen beside: %d handled, want what is committed: 1", n)
				}
				return beside.Close()
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPathsOfFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "q?x=1.db", "hash#1.db", "100%.db", "new/folder/x.db"} {
		oncetest.Open(t, "sqlite:"+filepath.Join(dir, name))
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSQLiteIsDurable(t *testing.T) {
	t.Parallel()
	db := oncetest.Open(t, databasetest.SQLiteURL(t))
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
		var got string
		if err := db.SQL().QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %s, %v; want %s", pragma, got, err, want)
		}
	}
}

func TestLockRoles(t *testing.T) {
	t.Parallel()
	url := databasetest.SQLiteURL(t)
	a, b := oncetest.Open(t, url), oncetest.Open(t, url)
	release, err := a.LockRoles()
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.LockRoles()
	if !errors.Is(err, database.ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("got %v, want ErrLocked with the holder's process id", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if release, err = b.LockRoles(); err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

// What was committed stands after the database was closed and opened again.
func TestReopen(t *testing.T) {
	t.Parallel()
	url := databasetest.URL(t)
	db, err := once.Open(t.Context(), once.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	o := own(t, db)
	if _, err := o.Do(t.Context(), item(0), nothing); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Do(t.Context(), item(1), nothing); err == nil {
		t.Error("a closed database handled an event")
	}
	db = oncetest.Open(t, url)
	if got, err := own(t, db).Do(t.Context(), item(0), nothing); got != once.DuplicateDelivery || err != nil {
		t.Errorf("after opening again: %v, %v", got, err)
	}
}

// Several processes may start at once on a fresh database, with their groups.
func TestConcurrentStarts(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"00001_stock.sql": {Data: []byte("-- +goose Up\nCREATE TABLE stock_levels (sku TEXT);\n")}}
	for name, url := range map[string]func(testing.TB) string{"sqlite": databasetest.SQLiteURL, "chosen": databasetest.URL} {
		for round := range 5 {
			t.Run(name+strconv.Itoa(round), func(t *testing.T) {
				t.Parallel()
				start(t, url(t), files)
			})
		}
	}
}

func start(t *testing.T, url string, files fs.FS) {
	t.Helper()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			db, err := once.Open(t.Context(), once.Options{URL: url, MaxConnections: 2})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Migrate(t.Context(), "stock", files); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
