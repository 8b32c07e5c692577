// Package again translates kept deliveries a second time, after an adapter was fixed.
//
// A Fold runs a window of deliveries through the group translate, the same code as
// live, on a scratch store of its own that begins with nothing. What it yields is
// compared with what was published, by event id: new, the same, or changed. An object
// that was known before the window has no past here; the law of adapters that
// facts(nil, s) yields every fact which s still shows makes up for it: a fact from
// before the window is found by its id.
//
//	Take     translate deliveries, in the order of their partition
//	Leave    name those that are not to be translated here
//	Finish   translate what was made of them and never arrived by itself
//	Known    hear what translate has published so far
//	Compare  look at a published record
//	Result   what is new, the same, changed
package again

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kgo"
	"modernc.org/sqlite"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/wire"
)

// Options are what a Fold is made of.
type Options struct {
	Group consumer.Group // translate, with today's adapters
	Codec *wire.Codec
	Route wire.Route
	Fits  func(topic string, rec *kgo.Record) error // whether the topic takes the record
	Dir   string                                    // for the scratch store; "" = that of the system
}

// Delivery is one of the window, and where it stands.
type Delivery struct {
	wire.Delivery
	Partition int32 // of raw.<system>
}

// Fold is a window of deliveries at work. It is not safe for concurrent use.
type Fold struct {
	o   Options
	dir string
	db  *database.DB
}

// scratch are the tables beside translate's own. state: what Compare found; known: 1 =
// published for a delivery before the window, 2 = for one of the window.
const scratch = `
CREATE TABLE again_facts (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, fact TEXT NOT NULL, delivery TEXT NOT NULL, kafka_partition INTEGER NOT NULL,
    record TEXT NOT NULL, known INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT '', diff TEXT NOT NULL DEFAULT '[]'
);
CREATE TABLE again_made (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, delivery TEXT NOT NULL);
CREATE TABLE again_left (id TEXT NOT NULL PRIMARY KEY);
CREATE TABLE again_failed (id TEXT NOT NULL PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE again_gone (id TEXT NOT NULL PRIMARY KEY, delivery TEXT NOT NULL);`

// New makes a fold of nothing, on a scratch store that Close removes.
func New(ctx context.Context, o Options) (*Fold, error) {
	dir, err := os.MkdirTemp(o.Dir, "spine-again-")
	if err != nil {
		return nil, fmt.Errorf("making room for a scratch store: %w", err)
	}
	f := &Fold{o: o, dir: dir}
	if err := f.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("making a scratch store: %w", err), f.Close())
	}
	return f, nil
}

func (f *Fold) open(ctx context.Context) (err error) {
	if f.db, err = database.Open(ctx, database.Options{URL: "sqlite:" + filepath.Join(f.dir, "scratch.db")}); err != nil {
		return err
	}
	if err := f.db.Migrate(ctx, f.o.Group.Name, f.o.Group.Tables); err != nil {
		return err
	}
	_, err = f.db.SQL().ExecContext(ctx, scratch)
	return err
}

// Close removes the scratch store.
func (f *Fold) Close() error {
	var err error
	if f.db != nil {
		err = f.db.Close()
	}
	return errors.Join(err, os.RemoveAll(f.dir))
}

// source is the real delivery that one in the fold comes from: itself, or the batch
// that it is a part of.
type source struct {
	Delivery
	Root string // id
}

// Take translates deliveries of the window. Those of one partition have to come in
// their order; one that comes twice counts once.
func (f *Fold) Take(ctx context.Context, list []Delivery) error {
	err := f.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, d := range list {
			if err := f.take(ctx, tx, source{d, d.ID}); err != nil {
				return fmt.Errorf("delivery %s: %w", d.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("translating again: %w", err)
	}
	return nil
}

func (f *Fold) take(ctx context.Context, tx *sql.Tx, d source) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM again_made WHERE id = $1`, d.ID); err != nil {
		return err
	}
	var done int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM translate_outcomes WHERE delivery_id = $1`, d.ID).Scan(&done)
	if err != nil || done > 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, `SAVEPOINT delivery`); err != nil {
		return err
	}
	out := f.out(ctx, d)
	failed := f.translate(ctx, tx, out, d.Delivery.Delivery)
	if failed == nil {
		failed = out.save(ctx, tx)
	}
	var scratch *sqlite.Error
	switch {
	case failed == nil:
	case out.broken != nil || ctx.Err() != nil || errors.As(failed, &scratch):
		return failed // not the delivery's fault
	default: // live, it would be a dead letter
		if _, err := tx.ExecContext(ctx, `ROLLBACK TO delivery`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO again_failed (id, reason) VALUES ($1, $2) ON CONFLICT DO NOTHING`, d.ID, failed.Error())
		if err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `RELEASE delivery`)
	return err
}

// translate calls the group's handler as dispatch does.
func (f *Fold) translate(ctx context.Context, tx *sql.Tx, out *out, d wire.Delivery) error {
	guarded := f.db.Guard(tx)
	defer guarded.End()
	h := f.o.Group.On[0]
	return h.Call(ctx, consumer.Tx{DB: guarded, Out: out}, event.Event{ID: d.ID, Type: h.Type}, &d)
}

// Leave names deliveries of the window that are not to be translated here: translate
// has them before it, waiting or dead.
func (f *Fold) Leave(ctx context.Context, ids []string) error {
	err := f.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, `INSERT INTO again_left (id) VALUES ($1) ON CONFLICT DO NOTHING`, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("leaving deliveries out: %w", err)
	}
	return nil
}

// Finish translates what today's adapter makes of the window and what never arrived
// by itself: objects of a batch that was taken for one delivery until now.
func (f *Fold) Finish(ctx context.Context) error {
	for {
		n := 0
		err := f.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			list, err := made(ctx, tx)
			for _, d := range list {
				if err := f.take(ctx, tx, d); err != nil {
					return fmt.Errorf("delivery %s: %w", d.ID, err)
				}
			}
			n = len(list)
			return err
		})
		if err != nil {
			return fmt.Errorf("translating again: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
}

const batch = 500 // made deliveries in one transaction

func made(ctx context.Context, tx *sql.Tx) ([]source, error) {
	rows, err := tx.QueryContext(ctx, `SELECT delivery FROM again_made m
		WHERE NOT EXISTS (SELECT 1 FROM again_left l WHERE l.id = m.id) ORDER BY seq LIMIT $1`, batch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []source
	for rows.Next() {
		var text []byte
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		var d source
		if err := json.Unmarshal(text, &d); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, rows.Err()
}
