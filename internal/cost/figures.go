package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
)

func cpu(s spent) float64  { return s.cpuPerEvent() }
func rate(s spent) float64 { return s.rate() }

// shared is a feed that subject and reference of a figure read.
type shared struct{ *feed }

func (s *shared) make(l load) func(context.Context, *parts) (func() error, error) {
	return func(ctx context.Context, p *parts) (func() error, error) {
		f, err := p.feed(ctx, l)
		if err != nil {
			return nil, err
		}
		s.feed = f
		return func() error { return p.drop(context.WithoutCancel(ctx), f.topic) }, nil
	}
}

// figures are the rows of the table, in its order.
func figures(o options) []figure {
	return slicesOf(
		[]figure{control(o), runtimeCost(o)},
		stores(o),
	)
}

func slicesOf(lists ...[]figure) (all []figure) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// control holds the reference against itself: what it shows is noise.
func control(o options) figure {
	var f shared
	bare := func(ctx context.Context, p *parts) (spent, error) { return p.bare(ctx, f.feed, 1) }
	return figure{
		name: "control: bare loop / bare loop", target: "1.00", unit: "µs", of: cpu,
		prepare: f.make(load{n: o.events, partitions: 6, keys: 10_000}), subject: bare, reference: bare,
	}
}

func runtimeCost(o options) figure {
	var f shared
	return figure{
		name: "runtime without SQL / bare loop", target: "≤ 1.10", most: 1.10, unit: "µs", of: cpu,
		prepare: f.make(load{n: o.events, partitions: 6, keys: 10_000}),
		subject: func(ctx context.Context, p *parts) (spent, error) {
			return p.group(ctx, run{feed: f.feed, loose: true})
		},
		reference: func(ctx context.Context, p *parts) (spent, error) { return p.bare(ctx, f.feed, 1) },
	}
}

// stores are the figures of groups whose handler writes one row.
func stores(o options) []figure {
	var all []figure
	for _, on := range []struct{ name, base string }{{"SQLite", ""}, {"PostgreSQL", o.postgres}} {
		if on.name == "PostgreSQL" && on.base == "" {
			continue
		}
		var f shared
		least := map[string]float64{"SQLite": 0.70, "PostgreSQL": 0.60}[on.name]
		all = append(all, figure{
			name: "inbox / without the inbox row, " + on.name, target: fmt.Sprintf("≥ %.2f", least), least: least, unit: "1/s", of: rate,
			prepare: f.make(load{n: o.events / 4, partitions: 6, keys: 10_000}),
			subject: func(ctx context.Context, p *parts) (spent, error) {
				return p.group(ctx, writes(run{feed: f.feed, base: on.base, batch: o.batch}))
			},
			reference: func(ctx context.Context, p *parts) (spent, error) {
				return p.group(ctx, writes(run{feed: f.feed, base: on.base, batch: o.batch, loose: true}))
			},
		})
	}
	return all
}

// writes gives a run the handler that writes one row, and holds the table against
// the feed.
func writes(r run) run {
	r.prepare = func(ctx context.Context, db *once.DB) error {
		_, err := db.SQL().ExecContext(ctx, `CREATE TABLE cost_orders (number BIGINT NOT NULL, key TEXT NOT NULL)`)
		return err
	}
	r.handle = func(ctx context.Context, tx consumer.Tx, e event.Event, number int64) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO cost_orders (number, key) VALUES ($1, $2)`, number, e.Key)
		return err
	}
	r.check = func(ctx context.Context, db *once.DB) error {
		var n, sum sql.NullInt64
		if err := db.SQL().QueryRowContext(ctx, `SELECT COUNT(*), SUM(number) FROM cost_orders`).Scan(&n, &sum); err != nil {
			return err
		}
		if n.Int64 != int64(r.feed.n) || sum.Int64 != r.feed.sum {
			return fmt.Errorf("the table has %d rows with checksum %d, want %d with %d", n.Int64, sum.Int64, r.feed.n, r.feed.sum)
		}
		return nil
	}
	return r
}

var _ = errors.New
var _ = time.Second
