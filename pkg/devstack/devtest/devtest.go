// Package devtest gives a test the parts that Spine runs on: embedded ones by
// default, real ones where SPINE_TEST_BROKERS, SPINE_TEST_REGISTRY and
// SPINE_TEST_POSTGRES say so. Each part is chosen on its own. Suites name their
// topics, groups and subjects with Unique, because real parts are shared.
package devtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/devstack"
)

// Set is what a test runs against.
type Set struct {
	Brokers     []string
	RegistryURL string
	DatabaseURL string // "sqlite:PATH", or "postgres://…" with a schema of its own in search_path
	Real        bool   // the broker is Apache Kafka
}

// Option changes the embedded parts.
type Option func(*devstack.Options)

// WithCheck gives the embedded registry a compatibility check.
func WithCheck(check devstack.Check) Option { return func(o *devstack.Options) { o.Check = check } }

// InDir keeps the embedded parts in a folder, with synced writes.
func InDir(dir string) Option { return func(o *devstack.Options) { o.Dir = dir } }

// Parts returns parts that are this test's own, or the real ones. They are closed
// or cleaned up with the test.
func Parts(tb testing.TB, opts ...Option) Set {
	tb.Helper()
	p := Set{RegistryURL: os.Getenv("SPINE_TEST_REGISTRY"), DatabaseURL: Database(tb)}
	if b := os.Getenv("SPINE_TEST_BROKERS"); b != "" {
		p.Brokers, p.Real = strings.Split(b, ","), true
	}
	if p.Real && p.RegistryURL != "" {
		return p
	}
	var o devstack.Options
	for _, opt := range opts {
		opt(&o)
	}
	stack, err := devstack.Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := stack.Close(); err != nil {
			tb.Errorf("closing the embedded parts: %v", err)
		}
	})
	if !p.Real {
		p.Brokers = stack.Brokers()
	}
	if p.RegistryURL == "" {
		p.RegistryURL = stack.RegistryURL()
	}
	return p
}

// Database returns the URL of an empty database of this test's own: an SQLite file
// that does not exist yet, or a fresh schema of the PostgreSQL at
// SPINE_TEST_POSTGRES, dropped with the test.
func Database(tb testing.TB) string {
	tb.Helper()
	base := os.Getenv("SPINE_TEST_POSTGRES")
	if base == "" {
		return "sqlite:" + filepath.Join(tb.TempDir(), "spine.db")
	}
	u, err := url.Parse(base)
	if err != nil {
		tb.Fatalf("SPINE_TEST_POSTGRES: %v", err)
	}
	name := "t_" + suffix(tb)
	execute(tb, base, "CREATE SCHEMA "+pgx.Identifier{name}.Sanitize())
	tb.Cleanup(func() { execute(tb, base, "DROP SCHEMA "+pgx.Identifier{name}.Sanitize()+" CASCADE") })
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

func execute(tb testing.TB, base, statement string) {
	tb.Helper()
	// A cleanup runs after the test's context is done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 30*time.Second)
	defer cancel()
	db, err := sql.Open("pgx", base)
	if err != nil {
		tb.Fatalf("opening PostgreSQL: %v", err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
}

// Unique is a name that no other test uses: "<prefix>-<random>".
func Unique(tb testing.TB, prefix string) string {
	tb.Helper()
	return prefix + "-" + suffix(tb)
}

func suffix(tb testing.TB) string {
	tb.Helper()
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		tb.Fatal(err)
	}
	return hex.EncodeToString(b[:])
}

// CreateTopics creates topics with one replica and waits until they have leaders.
// On real parts they are deleted with the test.
func (p Set) CreateTopics(tb testing.TB, partitions int32, names ...string) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(p.Brokers...))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	made, err := admin.CreateTopics(tb.Context(), partitions, 1, nil, names...)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		tb.Fatalf("creating topics: %v", err)
	}
	if p.Real {
		tb.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 30*time.Second)
			defer cancel()
			if _, err := admin.DeleteTopics(ctx, names...); err != nil {
				tb.Logf("deleting topics: %v", err)
			}
		})
	}
	Eventually(tb, 30*time.Second, "topics have leaders", func() bool {
		found, err := admin.ListTopics(tb.Context(), names...)
		return err == nil && ready(found, names)
	})
}

func ready(found kadm.TopicDetails, names []string) bool {
	for _, name := range names {
		d, ok := found[name]
		if !ok || d.Err != nil || len(d.Partitions) == 0 {
			return false
		}
		for _, p := range d.Partitions {
			if p.Err != nil || p.Leader < 0 {
				return false
			}
		}
	}
	return true
}

// Eventually polls cond until it holds, and fails the test when it does not within
// the limit.
func Eventually(tb testing.TB, limit time.Duration, what string, cond func() bool) {
	tb.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-tb.Context().Done():
			tb.Fatalf("waiting until %s: the test is over", what)
		case <-deadline.C:
			tb.Fatalf("waiting until %s: not within %s", what, limit)
		}
	}
}
