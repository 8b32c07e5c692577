package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/eventspine/spine/internal/cost/orders"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
)

//go:embed migrations
var migrations embed.FS

// store is a database that figures are measured on.
type store struct{ name, base string }

func (o options) stores() []store {
	all := []store{{name: "SQLite"}}
	if o.postgres != "" {
		all = append(all, store{name: "PostgreSQL", base: o.postgres})
	}
	return all
}

// inboxCost is what the inbox row costs a handler that writes one row: the reference
// does the same in the same batches behind the same lock and epoch.
func inboxCost(o options) (all []figure) {
	for _, on := range o.stores() {
		var f pair
		side := func(loose bool) side {
			return func(ctx context.Context, p *parts) (spent, error) {
				r, err := writes(run{feed: f.subject, base: on.base, batch: o.batch, loose: loose})
				if err != nil {
					return spent{}, err
				}
				return p.group(ctx, r)
			}
		}
		least := 0.70
		if on.base != "" {
			least = 0.60
		}
		all = append(all, figure{
			name: "inbox / the same without its row, " + on.name, least: least, unit: "1/s", of: perSecond,
			prepare: f.make(usual(o.events/4), usual(o.events/4)), subject: side(false), reference: side(true),
		})
	}
	return all
}

// writes gives a run the handler that writes one row, and holds the table against
// the feed.
func writes(r run) (run, error) {
	var err error
	if r.tables, err = fs.Sub(migrations, "migrations"); err != nil {
		return r, err
	}
	r.handle = func(ctx context.Context, tx consumer.Tx, e event.Event, number int64) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO cost_orders (number, key) VALUES ($1, $2)`, number, e.Key)
		return err
	}
	r.check = func(ctx context.Context, db *once.DB) error {
		var rows, different int
		if err := db.SQL().QueryRowContext(ctx, `SELECT COUNT(*), COUNT(DISTINCT number) FROM cost_orders`).Scan(&rows, &different); err != nil {
			return err
		}
		if rows != r.feed.n || different != r.feed.n {
			return fmt.Errorf("the table has %d rows, %d of them different, want %d", rows, different, r.feed.n)
		}
		return nil
	}
	return r, nil
}

// kept is a database that the runs of a figure share, with a history before them.
type kept struct {
	db    *once.DB
	group string
	n     int // of the feed
	end   func() error
}

// history is what many rows in the inbox cost.
func history(o options) (all []figure) {
	for _, on := range o.stores() {
		var f pair
		var full, empty *kept
		fig := figure{
			name: fmt.Sprintf("%d rows of inbox history / none, %s", o.history, on.name), most: 1.15, unit: "µs CPU", of: cpuPerEvent,
			subject: func(ctx context.Context, p *parts) (spent, error) {
				return p.group(ctx, run{feed: f.subject, batch: o.batch, kept: full})
			},
			reference: func(ctx context.Context, p *parts) (spent, error) {
				return p.group(ctx, run{feed: f.subject, batch: o.batch, kept: empty})
			},
		}
		if on.base != "" { // whose work is done in another process
			fig.unit, fig.of = "µs", wallPerEvent
		}
		fig.prepare = func(ctx context.Context, p *parts) (_ func() error, err error) {
			end, err := f.make(usual(o.events/4), usual(o.events/4))(ctx, p)
			if err != nil {
				return nil, err
			}
			if full, err = p.keep(ctx, on.base, f.subject.n, o.history); err != nil {
				return nil, errors.Join(err, end())
			}
			if empty, err = p.keep(ctx, on.base, f.subject.n, 0); err != nil {
				return nil, errors.Join(err, full.end(), end())
			}
			return func() error { return errors.Join(full.end(), empty.end(), end()) }, nil
		}
		all = append(all, fig)
	}
	return all
}

// keep makes a database whose inbox has so many rows of earlier events.
func (p *parts) keep(ctx context.Context, base string, n, rows int) (*kept, error) {
	db, remove, err := p.open(ctx, base)
	if err != nil {
		return nil, err
	}
	k := &kept{db: db, group: strings.ReplaceAll(unique("cost"), "-", "_"), n: n, end: remove}
	if err := k.fill(ctx, rows); err != nil {
		return nil, errors.Join(err, remove())
	}
	return k, nil
}

// fill writes earlier events, whose ids are ordered by time as those of the feed are.
func (k *kept) fill(ctx context.Context, rows int) error {
	const step = 100_000
	ids := `printf('%08x-%04x-8000-8000-%012x', ms >> 16, ms & 65535, i)`
	numbers := `WITH RECURSIVE n(i) AS (SELECT $2 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $3) `
	from := `n`
	if k.db.Dialect() == once.PostgreSQL {
		ids = `lpad(to_hex(ms >> 16), 8, '0') || '-' || lpad(to_hex(ms & 65535), 4, '0') || '-8000-8000-' || lpad(to_hex(i), 12, '0')`
		numbers, from = ``, `generate_series($2::bigint, $3::bigint - 1) AS n(i)`
	}
	before := orders.Began().UnixMilli() - int64(rows)
	for i := 0; i < rows; i += step {
		if err := k.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, numbers+`INSERT INTO spine_inbox (group_name, event_id, ownership, kafka_offset, handled_at)
				SELECT $1, `+ids+`, 0, i, ms * 1000 FROM (SELECT i, i + $4 AS ms FROM `+from+`) x`, k.group, i, min(i+step, rows), before)
			return err
		}); err != nil {
			return fmt.Errorf("filling the inbox: %w", err)
		}
	}
	if rows > 0 {
		if _, err := k.db.SQL().ExecContext(ctx, `ANALYZE spine_inbox`); err != nil {
			return fmt.Errorf("filling the inbox: %w", err)
		}
	}
	return nil
}

// clean takes back what a run has done, which is to be the whole feed, once.
func (k *kept) clean(ctx context.Context) error {
	ms := orders.Began().UnixMilli()
	var gone int64
	if err := k.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM spine_inbox WHERE group_name = $1 AND event_id >= $2`,
			k.group, fmt.Sprintf("%08x-%04x", ms>>16, ms&0xffff))
		if err != nil {
			return err
		}
		if gone, err = res.RowsAffected(); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM spine_ownership WHERE group_name = $1`, k.group)
		return err
	}); err != nil {
		return fmt.Errorf("taking a run back: %w", err)
	}
	if gone != int64(k.n) {
		return fmt.Errorf("the inbox had %d events of the feed, want %d", gone, k.n)
	}
	return nil
}
