// Package grouptest runs the handlers of a group in tests the way the engine does: in
// one SQL transaction each, whose facts and effects count only if it commits. Tests run
// on SQLite, and on PostgreSQL too where SPINE_TEST_POSTGRES says where it is.
package grouptest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver pgx
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // driver sqlite

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/pkg/wire/avrobin"
)

// Kit is a group with a database of its own.
type Kit struct {
	Group    consumer.Group
	DB       *sql.DB
	Postgres bool
	T        *testing.T // of the test that Each runs
	name     string     // of the connections to PostgreSQL
	goose    *goose.Provider
}

// Out is what left with the transaction of a handler.
type Out struct {
	Events  []event.Event
	Facts   []event.Fact
	Effects []Effect
}

// Effect is a call to the outside that a handler asked for.
type Effect struct {
	Name, Key string
	Args      json.RawMessage
	Cause     event.Event
}

// Each runs a test on a fresh store of each kind; Kit.T is its test.
func Each(t *testing.T, group func() consumer.Group, fn func(k *Kit)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		k := SQLite(t, group())
		k.T = t
		fn(k)
	})
	if os.Getenv("SPINE_TEST_POSTGRES") != "" {
		t.Run("postgres", func(t *testing.T) {
			t.Parallel()
			k := Postgres(t, group())
			k.T = t
			fn(k)
		})
	}
}

// SQLite opens a group on a new SQLite file.
func SQLite(tb testing.TB, g consumer.Group) *Kit {
	tb.Helper()
	dsn := "file:" + filepath.Join(tb.TempDir(), "group.db") + "?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=foreign_keys(1)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return migrate(tb, &Kit{Group: g, DB: db}, goose.DialectSQLite3)
}

// Postgres opens a group in a new schema of the PostgreSQL server of SPINE_TEST_POSTGRES,
// and skips the test where there is none.
func Postgres(tb testing.TB, g consumer.Group) *Kit {
	tb.Helper()
	server := os.Getenv("SPINE_TEST_POSTGRES")
	if server == "" {
		tb.Skip("needs PostgreSQL: set SPINE_TEST_POSTGRES")
	}
	ctx := context.WithoutCancel(tb.Context()) // the schema is dropped after the test's own context ended
	schema := "t_" + strings.ToLower(rand.Text())
	admin, err := sql.Open("pgx", server)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := admin.ExecContext(ctx, "CREATE SCHEMA "+schema); err != nil {
		tb.Fatal(err)
	}
	u, err := url.Parse(server)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	q.Set("application_name", schema)
	u.RawQuery = q.Encode()
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = db.Close()
		if _, err := admin.ExecContext(ctx, "DROP SCHEMA "+schema+" CASCADE"); err != nil {
			tb.Error(err)
		}
		_ = admin.Close()
	})
	return migrate(tb, &Kit{Group: g, DB: db, Postgres: true, name: schema}, goose.DialectPostgres)
}

// AwaitBlocked waits until a transaction of this kit waits for another one's lock.
func (k *Kit) AwaitBlocked(tb testing.TB) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		var n int
		if err := k.DB.QueryRowContext(tb.Context(), `SELECT COUNT(*) FROM pg_stat_activity
			WHERE application_name = $1 AND wait_event_type = 'Lock'`, k.name).Scan(&n); err != nil {
			tb.Fatal(err)
		}
		if n > 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatal("nobody waits for a lock")
		}
	}
}

func migrate(tb testing.TB, k *Kit, dialect goose.Dialect) *Kit {
	tb.Helper()
	p, err := goose.NewProvider(dialect, k.DB, k.Group.Tables, goose.WithTableName(k.Group.Name+"_goose"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := p.Up(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	k.goose = p
	return k
}

// Down takes the migrations back.
func (k *Kit) Down(tb testing.TB) {
	tb.Helper()
	if _, err := k.goose.DownTo(tb.Context(), 0); err != nil {
		tb.Fatal(err)
	}
}

// Tables names the tables of the group, with that of its migrations.
func (k *Kit) Tables(tb testing.TB) []string {
	tb.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE $1 || '%' ORDER BY name`
	if k.Postgres {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name LIKE $1 || '%' ORDER BY table_name`
	}
	return k.Query(tb, query, k.Group.Name+"_")
}

// Reset empties the tables of a SQLite kit: cheaper than a new one.
func (k *Kit) Reset(tb testing.TB) {
	tb.Helper()
	err := k.InTx(tb.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(tb.Context(), `PRAGMA defer_foreign_keys = ON`); err != nil {
			return err
		}
		for _, table := range k.Tables(tb) {
			if table == k.Group.Name+"_goose" {
				continue
			}
			if _, err := tx.ExecContext(tb.Context(), `DELETE FROM `+table); err != nil { //nolint:gosec // the database's own names
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Event is the envelope of a fact that happened to an entity of an instance. order is
// the native id of the order, which is the key.
func Event(in event.Instance, fact event.Fact, order, entity, discriminator string, at time.Time) event.Event {
	return event.Event{
		ID:   event.NewID(at, in.String(), event.NameOf(fact.EventType()), entity, discriminator),
		Type: fact.EventType(), Source: in.String(), Instance: in, Entity: entity, Key: event.Key(in.String(), order),
		Origin: event.OriginWebhook, OccurredAt: at, RecordedAt: at.Add(2 * time.Second), CorrelationID: "order:" + event.Key(in.String(), order),
	}
}

// Handle runs the handler of a fact in a transaction of its own.
func (k *Kit) Handle(ctx context.Context, e event.Event, fact event.Fact) (Out, error) {
	var out Out
	err := k.InTx(ctx, func(tx *sql.Tx) (err error) {
		out, err = k.HandleIn(ctx, tx, e, fact)
		return err
	})
	return out, err
}

// InTx runs fn in a transaction.
func (k *Kit) InTx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := k.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// HandleIn runs the handler of a fact in a transaction that the test ends.
func (k *Kit) HandleIn(ctx context.Context, tx *sql.Tx, e event.Event, fact event.Fact) (Out, error) {
	for _, h := range k.Group.On {
		if h.Type != fact.EventType() {
			continue
		}
		out := &recorder{group: k.Group, cause: e}
		err := h.Call(ctx, consumer.Tx{DB: tx, Out: out}, e, pointer(fact))
		return out.Out, err
	}
	return Out{}, fmt.Errorf("group %s doesn't handle %s", k.Group.Name, fact.EventType())
}

// pointer is a pointer to a copy of the fact, the form that Handler.Call expects.
func pointer(fact event.Fact) any {
	v := reflect.New(reflect.TypeOf(fact))
	v.Elem().Set(reflect.ValueOf(fact))
	return v.Interface()
}

// Done runs the done step of an effect in a transaction of its own.
func (k *Kit) Done(ctx context.Context, ef Effect) (Out, error) {
	for _, e := range k.Group.Effects {
		if e.Name != ef.Name {
			continue
		}
		out := &recorder{group: k.Group, cause: ef.Cause}
		err := k.InTx(ctx, func(tx *sql.Tx) error { return e.Done(ctx, consumer.Tx{DB: tx, Out: out}, ef.Key, ef.Args) })
		return out.Out, err
	}
	return Out{}, fmt.Errorf("group %s has no effect %s", k.Group.Name, ef.Name)
}

// Do calls the outside, as the engine does after the commit.
func (k *Kit) Do(ctx context.Context, ef Effect) error {
	for _, e := range k.Group.Effects {
		if e.Name == ef.Name {
			return e.Do(ctx, ef.Key, ef.Args)
		}
	}
	return fmt.Errorf("group %s has no effect %s", k.Group.Name, ef.Name)
}

// Query reads rows as text, columns joined by a bar.
func (k *Kit) Query(tb testing.TB, query string, args ...any) []string {
	tb.Helper()
	rows, err := k.DB.QueryContext(tb.Context(), query, args...)
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	cols, err := rows.Columns()
	if err != nil {
		tb.Fatal(err)
	}
	all := []string{}
	for rows.Next() {
		values, into := make([]sql.NullString, len(cols)), make([]any, len(cols))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			tb.Fatal(err)
		}
		texts := make([]string, len(cols))
		for i, v := range values {
			texts[i] = v.String
		}
		all = append(all, strings.Join(texts, "|"))
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return all
}

// recorder is the Out of a handler under test: it stamps and encodes as the engine does.
type recorder struct {
	Out
	group consumer.Group
	cause event.Event
}

// Publish stamps the fact and checks that the group declares it.
func (r *recorder) Publish(n event.New) error {
	c := wire.Cause{
		Source: "spine/" + r.group.Name, Origin: event.OriginProcess, RecordedAt: r.cause.RecordedAt,
		Correlation: r.cause.CorrelationID, Causation: r.cause.ID, Test: r.cause.Test,
	}
	if at, err := wire.IDTimeOf(r.cause.ID); err == nil {
		c.IDAt = at
	}
	e, fact, err := wire.Stamp(n, c)
	if err != nil {
		return err
	}
	declared := false
	for _, f := range r.group.Emits {
		declared = declared || f.EventType() == fact.EventType()
	}
	if !declared {
		return fmt.Errorf("group %s publishes %s and doesn't say so in Emits", r.group.Name, fact.EventType())
	}
	if err := encodable(fact); err != nil {
		return err
	}
	r.Events, r.Facts = append(r.Events, e), append(r.Facts, fact)
	return nil
}

// Effect records the call.
func (r *recorder) Effect(name, key string, args any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	r.Effects = append(r.Effects, Effect{Name: name, Key: key, Args: raw, Cause: r.cause})
	return nil
}

// encodable tells whether the fact can be written: every decimal fits, every required
// field is there.
func encodable(fact event.Fact) error {
	enc, ok := fact.(interface{ EncodeAvro(*avrobin.Writer) })
	if !ok {
		return fmt.Errorf("%s has no encoder", fact.EventType())
	}
	w := avrobin.NewWriter()
	w.Reset()
	enc.EncodeAvro(w)
	if _, err := w.Finish(); err != nil {
		return fmt.Errorf("encoding %s: %w", fact.EventType(), err)
	}
	return nil
}
