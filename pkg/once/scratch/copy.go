package scratch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/ownership"
)

// other is the name under which a connection of SQLite knows the other file.
const other = "spine_other"

// Swap makes the contents of the scratch store the live ones, in one transaction of the
// live database: the group's tables, what it has handled, what waits or is dead, and up
// to where each partition is done. Owners that live are fenced, start over and go on
// from there (promise: fenced). Before it commits, nothing has changed.
//
// A value that a sequence has given out in either store isn't given out again. What is
// outgoing stays as it is in both.
func (s *Store) Swap(ctx context.Context) error {
	if err := s.copy(ctx, s.DB.DB, s.live.DB); err != nil {
		return fmt.Errorf("swapping the tables of %s: %w", s.group, err)
	}
	return nil
}

// Fill makes the contents of the live database those of the scratch store, as Swap does
// the other way round. It reads one snapshot; live owners aren't disturbed.
func (s *Store) Fill(ctx context.Context) error {
	if err := s.copy(ctx, s.live.DB, s.DB.DB); err != nil {
		return fmt.Errorf("copying the tables of %s: %w", s.group, err)
	}
	return nil
}

// copying is one transaction that makes the contents of one database those of another.
// from and into stand before the names of tables.
type copying struct {
	*sql.Tx
	db         *database.DB // that is written
	group      string
	from, into string
}

// ErrVersion says that the live tables aren't of the version that this binary makes.
const ErrVersion = database.Error("the live tables are of another version than those that this binary makes: start its process first")

func (s *Store) copy(ctx context.Context, from, into *database.DB) error {
	if err := s.sameVersion(ctx); err != nil {
		return err
	}
	tables, err := s.Tables(ctx)
	if err != nil {
		return err
	}
	waiting, err := s.spine(ctx, "spine_waiting")
	if err != nil {
		return err
	}
	return across(ctx, from, into, from == s.live.DB, func(ctx context.Context, c copying) error {
		c.group = s.group
		ids, err := c.own(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids { // in order: two at once don't wait for each other
			if _, _, err := ownership.Bump(ctx, into, c.Tx, id); err != nil { // promise: fenced
				return err
			}
		}
		if err := c.contents(ctx, tables); err != nil {
			return err
		}
		if err := c.sequences(ctx); err != nil {
			return err
		}
		return c.handled(ctx, waiting)
	})
}

// across runs fn in a transaction of one database that reads another, too.
// snapshot = what is read is written at the same time.
func across(ctx context.Context, from, into *database.DB, snapshot bool, fn func(context.Context, copying) error) (err error) {
	if into.Dialect() == database.PostgreSQL {
		return into.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			if snapshot { // else the fence has to see what was committed while it waited
				if _, err := tx.ExecContext(ctx, `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`); err != nil {
					return err
				}
			}
			return fn(ctx, copying{Tx: tx, db: into, from: database.Quote(from.Name()) + ".", into: database.Quote(into.Name()) + "."})
		})
	}
	conn, err := into.SQL().Conn(ctx)
	if err != nil {
		return database.Available(err)
	}
	defer conn.Close()
	at := url.URL{Scheme: "file", Opaque: (&url.URL{Path: from.Name()}).EscapedPath(), RawQuery: "mode=ro"} // else BEGIN IMMEDIATE would lock it, too
	if _, err := conn.ExecContext(ctx, `ATTACH DATABASE $1 AS `+other, at.String()); err != nil {
		return database.Available(err)
	}
	defer func() {
		_, detached := conn.ExecContext(context.WithoutCancel(ctx), `DETACH DATABASE `+other)
		err = errors.Join(err, detached)
	}()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return database.Available(err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, `PRAGMA defer_foreign_keys = ON`); err != nil {
		return database.Available(err)
	}
	if err := fn(ctx, copying{Tx: tx, db: into, from: other + ".", into: "main."}); err != nil {
		return database.Available(err)
	}
	if err := tx.Commit(); err != nil {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`) // database/sql leaves it open
		return database.Available(err)
	}
	return nil
}

// own gives the group the ownerships that only the other store has, and answers all.
func (c copying) own(ctx context.Context) ([]int32, error) {
	if _, err := c.ExecContext(ctx, `INSERT INTO `+c.into+`spine_ownership
		(group_name, topic, kafka_partition, epoch, start_offset, next_offset, updated_at)
		SELECT group_name, topic, kafka_partition, epoch, start_offset, next_offset, updated_at
		FROM `+c.from+`spine_ownership WHERE group_name = $1 ORDER BY id ON CONFLICT DO NOTHING`, c.group); err != nil {
		return nil, err
	}
	q := database.Query{What: "listing the ownerships", SQL: `SELECT id FROM ` + c.into + `spine_ownership WHERE group_name = $1 ORDER BY id`, Args: []any{c.group}}
	return database.List(ctx, c, q, database.Value[int32])
}

// contents replaces what stands in the tables of the group. PostgreSQL looks at
// references at the end of a statement: it is one that empties all, one that fills all.
// The tables stay themselves, and with them the views and grants of people.
func (c copying) contents(ctx context.Context, tables []Table) error {
	remove, fill := make([]string, len(tables)), make([]string, len(tables))
	always := ""
	if c.db.Dialect() == database.PostgreSQL {
		always = " OVERRIDING SYSTEM VALUE"
	}
	for i, t := range tables {
		remove[i] = `DELETE FROM ` + c.into + database.Quote(t.Name)
		fill[i] = `INSERT INTO ` + c.into + database.Quote(t.Name) + ` (` + columns("", t.Columns) + `)` + always +
			` SELECT ` + columns("", t.Columns) + ` FROM ` + c.from + database.Quote(t.Name)
	}
	for _, statements := range [][]string{remove, fill} {
		if err := c.together(ctx, statements); err != nil {
			return err
		}
	}
	return nil
}

func (c copying) together(ctx context.Context, statements []string) error {
	if c.db.Dialect() == database.PostgreSQL && len(statements) > 0 {
		with := make([]string, len(statements))
		for i, statement := range statements {
			with[i] = fmt.Sprintf("s%d AS (%s)", i, statement)
		}
		statements = []string{`WITH ` + strings.Join(with, ", ") + ` SELECT 1`}
	}
	for _, statement := range statements {
		if _, err := c.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// sequences moves those of the group on to where the other store's are. SQLite moves
// its own by itself.
func (c copying) sequences(ctx context.Context) error {
	if c.db.Dialect() == database.SQLite {
		return nil
	}
	q := database.Query{What: "listing the sequences", SQL: `SELECT c.relname FROM pg_class c
		LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass
		LEFT JOIN pg_class t ON t.oid = d.refobjid
		WHERE c.relkind = 'S' AND c.relnamespace = $1::regnamespace AND COALESCE(t.relname, '') NOT LIKE 'spine\_%'
			AND COALESCE(t.relname, '') NOT LIKE '%\_goose'`, Args: []any{strings.TrimSuffix(c.from, ".")}}
	names, err := database.List(ctx, c, q, database.Value[string])
	if err != nil {
		return err
	}
	for _, name := range names { // never back: a sequence doesn't obey the transaction
		name = database.Quote(name)
		if _, err := c.ExecContext(ctx, `SELECT setval('`+strings.ReplaceAll(c.into+name, "'", "''")+`', f.last_value, f.is_called)
			FROM `+c.from+name+` f, `+c.into+name+` i WHERE f.last_value > i.last_value OR f.last_value = i.last_value AND f.is_called`); err != nil {
			return err
		}
	}
	return nil
}

// handled replaces what the store knows of the group's records. An ownership is the one
// of the same topic and partition.
func (c copying) handled(ctx context.Context, waiting Table) error {
	const owned = ` JOIN %[1]sspine_ownership o ON o.id = x.ownership AND o.group_name = $1
		JOIN %[2]sspine_ownership own ON own.group_name = o.group_name AND own.topic = o.topic AND own.kafka_partition = o.kafka_partition`
	same := fmt.Sprintf(owned, c.from, c.into)
	row := slices.DeleteFunc(slices.Clone(waiting.Columns), func(name string) bool { return name == "id" || name == "ownership" })
	mine := `ownership IN (SELECT id FROM ` + c.into + `spine_ownership WHERE group_name = $1)`
	for _, statement := range []string{
		`DELETE FROM ` + c.into + `spine_inbox WHERE group_name = $1`,
		`INSERT INTO ` + c.into + `spine_inbox (group_name, event_id, ownership, kafka_offset, handled_at)
			SELECT x.group_name, x.event_id, own.id, x.kafka_offset, x.handled_at FROM ` + c.from + `spine_inbox x` + same + ` WHERE x.group_name = $1`,
		`DELETE FROM ` + c.into + `spine_waiting WHERE ` + mine,
		`INSERT INTO ` + c.into + `spine_waiting (ownership, ` + columns("", row) + `)
			SELECT own.id, ` + columns("x.", row) + ` FROM ` + c.from + `spine_waiting x` + same + ` ORDER BY x.id`, // promise: in order; of a key, by id
		// what was given up and is handled now, or is dead again, isn't given up any more
		`DELETE FROM ` + c.into + `spine_dropped WHERE ` + mine + ` AND (
			EXISTS (SELECT 1 FROM ` + c.into + `spine_inbox i WHERE i.group_name = $1 AND i.event_id = spine_dropped.event_id) OR
			EXISTS (SELECT 1 FROM ` + c.into + `spine_waiting w WHERE w.ownership = spine_dropped.ownership AND w.kafka_offset = spine_dropped.kafka_offset))`,
		`UPDATE ` + c.into + `spine_ownership SET (start_offset, next_offset) =
			(SELECT f.start_offset, f.next_offset FROM ` + c.from + `spine_ownership f WHERE f.group_name = $1
				AND f.topic = spine_ownership.topic AND f.kafka_partition = spine_ownership.kafka_partition)
			WHERE group_name = $1 AND EXISTS (SELECT 1 FROM ` + c.from + `spine_ownership f WHERE f.group_name = $1
				AND f.topic = spine_ownership.topic AND f.kafka_partition = spine_ownership.kafka_partition)`,
	} {
		if _, err := c.ExecContext(ctx, statement, c.group); err != nil {
			return err
		}
	}
	return nil
}
