package analytics

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
)

// columns collects values for SQL; the first that doesn't fit is the error.
type columns struct {
	values []any
	err    error
}

func (c *columns) add(vs ...any) { c.values = append(c.values, vs...) }

func (c *columns) decimal(what string, d money.Decimal) {
	n, err := units(what, d)
	if c.err == nil {
		c.err = err
	}
	c.values = append(c.values, n)
}

func (c *columns) exec(ctx context.Context, db consumer.DB, what, query string) (bool, error) {
	if c.err != nil {
		return false, c.err
	}
	res, err := db.ExecContext(ctx, query, c.values...)
	if err != nil {
		return false, fmt.Errorf("%s: %w", what, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("%s: %w", what, err)
	}
	return n > 0, nil
}

func insertOrder(ctx context.Context, db consumer.DB, e event.Event, o sale, at time.Time) (bool, error) {
	var c columns
	c.add(o.Key, e.ID, e.Type, o.Instance, o.Currency, o.Day.String(), o.Test, at.UnixMicro(), o.Recorded.UnixMicro())
	isNew, err := c.exec(ctx, db, "inserting the order", `INSERT INTO analytics_orders (order_key, event_id, fact, instance, currency, order_day, test, placed_at, recorded_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (order_key) DO NOTHING`)
	if err != nil || !isNew {
		return false, err
	}
	for i, p := range o.Parts {
		var c columns
		c.add(o.Key, i, p.Line, p.Kind, p.SKU)
		c.decimal("quantity", p.Quantity)
		c.decimal("net", p.Net)
		c.decimal("gross", p.Gross)
		if _, err := c.exec(ctx, db, "inserting a part of the order", `INSERT INTO analytics_order_parts (order_key, part_no, line_id, kind, sku, quantity, net, gross)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`); err != nil {
			return false, err
		}
	}
	return true, nil
}

func loadOrder(ctx context.Context, db consumer.DB, key string) (sale, bool, error) {
	o := sale{Key: key}
	var day string
	var recorded int64
	err := db.QueryRowContext(ctx, `SELECT instance, currency, order_day, test, recorded_at FROM analytics_orders WHERE order_key = $1`, key).
		Scan(&o.Instance, &o.Currency, &day, &o.Test, &recorded)
	if errors.Is(err, sql.ErrNoRows) {
		return o, false, nil
	}
	if err != nil {
		return o, false, fmt.Errorf("reading the order: %w", err)
	}
	var errs [2]error
	o.Recorded = time.UnixMicro(recorded).UTC()
	o.Day, errs[0] = event.ParseDate(day)
	o.Places, errs[1] = money.Exponent(o.Currency)
	if err := errors.Join(errs[:]...); err != nil {
		return o, false, fmt.Errorf("reading the order: %w", err)
	}
	rows, err := db.QueryContext(ctx, `SELECT line_id, kind, sku, quantity, net, gross FROM analytics_order_parts
		WHERE order_key = $1 ORDER BY part_no`, key)
	if err != nil {
		return o, false, fmt.Errorf("reading the parts of the order: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p part
		var quantity, net, gross int64
		if err := rows.Scan(&p.Line, &p.Kind, &p.SKU, &quantity, &net, &gross); err != nil {
			return o, false, fmt.Errorf("reading a part of the order: %w", err)
		}
		p.Quantity, p.Net, p.Gross = decimal(quantity), decimal(net), decimal(gross)
		o.Parts = append(o.Parts, p)
	}
	return o, true, rows.Err()
}

func insertWithdrawal(ctx context.Context, db consumer.DB, key string, e event.Event, w withdrawal) (bool, error) {
	var c columns
	c.add(key, w.Key, e.ID, e.Type, w.Kind, w.All, w.Currency)
	c.decimal("shipping", w.Shipping)
	c.decimal("amount", w.Other)
	c.add(w.Day.String(), e.Test, w.At.UnixMicro(), w.Recorded.UnixMicro())
	isNew, err := c.exec(ctx, db, "inserting the withdrawal", `INSERT INTO analytics_withdrawals (order_key, withdrawal, event_id, fact, kind, whole_order, currency,
		shipping, other, booked_day, test, happened_at, recorded_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (order_key, withdrawal) DO NOTHING`)
	if err != nil || !isNew {
		return false, err
	}
	for _, l := range w.Lines {
		var c columns
		c.add(key, w.Key, l.LineID, string(l.How))
		c.decimal("quantity", l.Quantity)
		c.decimal("amount", l.Amount)
		if _, err := c.exec(ctx, db, "inserting a withdrawn line", `INSERT INTO analytics_withdrawal_lines (order_key, withdrawal, line_id, how, quantity, amount)
			VALUES ($1, $2, $3, $4, $5, $6)`); err != nil {
			return false, err
		}
	}
	return true, nil
}

// withdrawals reads what takes back from an order, in the order in which it happened.
func withdrawals(ctx context.Context, db consumer.DB, key string) ([]withdrawal, error) {
	rows, err := db.QueryContext(ctx, `SELECT w.withdrawal, w.kind, w.whole_order, w.currency, w.shipping, w.other, w.booked_day, w.happened_at, w.recorded_at,
			l.line_id, l.how, l.quantity, l.amount
		FROM analytics_withdrawals w LEFT JOIN analytics_withdrawal_lines l ON l.order_key = w.order_key AND l.withdrawal = w.withdrawal
		WHERE w.order_key = $1 AND NOT w.test ORDER BY w.happened_at, w.withdrawal, l.line_id, l.how`, key)
	if err != nil {
		return nil, fmt.Errorf("reading the withdrawals: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var ws []withdrawal
	for rows.Next() {
		var w withdrawal
		var day string
		var shipping, other, at, recorded int64
		var lineID, by sql.NullString
		var quantity, amount sql.NullInt64
		if err := rows.Scan(&w.Key, &w.Kind, &w.All, &w.Currency, &shipping, &other, &day, &at, &recorded, &lineID, &by, &quantity, &amount); err != nil {
			return nil, fmt.Errorf("reading a withdrawal: %w", err)
		}
		if w.Day, err = event.ParseDate(day); err != nil {
			return nil, fmt.Errorf("reading a withdrawal: %w", err)
		}
		w.Shipping, w.Other, w.At, w.Recorded = decimal(shipping), decimal(other), time.UnixMicro(at).UTC(), time.UnixMicro(recorded).UTC()
		if n := len(ws); n == 0 || ws[n-1].Key != w.Key {
			ws = append(ws, w)
		}
		if lineID.Valid {
			ws[len(ws)-1].add(taken{lineID.String, how(by.String), decimal(quantity.Int64), decimal(amount.Int64)})
		}
	}
	return ws, rows.Err()
}

// replaceMovements writes what an order did to revenue in place of what stood there.
func replaceMovements(ctx context.Context, db consumer.DB, o sale, all []movement) error {
	if _, err := db.ExecContext(ctx, `DELETE FROM analytics_revenue WHERE order_key = $1`, o.Key); err != nil {
		return fmt.Errorf("replacing the movements: %w", err)
	}
	for _, m := range all {
		p := o.Parts[m.Part]
		var c columns
		c.add(o.Key, m.Cause, m.Part, m.Kind, o.Instance, o.Currency, p.Kind, p.SKU, o.Day.String(), m.Booked.String())
		c.decimal("amount", m.Amount)
		c.add(m.Recorded.UnixMicro())
		if _, err := c.exec(ctx, db, "inserting a movement", `INSERT INTO analytics_revenue (order_key, cause, part_no, movement, instance, currency, kind, sku, order_day, booked_day, amount, recorded_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`); err != nil {
			return err
		}
	}
	return nil
}
