package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/stock"
)

// inserted tells whether an INSERT … ON CONFLICT DO NOTHING wrote its row.
func inserted(what string, res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, fmt.Errorf("inserting the %s: %w", what, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("inserting the %s: %w", what, err)
	}
	return n == 1, nil
}

func insertOrder(ctx context.Context, db consumer.DB, o anOrder, e event.Event, pool string) (bool, error) {
	res, err := db.ExecContext(ctx, `INSERT INTO inventory_orders (order_key, event_id, fact, instance, pool, outcome, placed_at)
		VALUES ($1, $2, $3, $4, $5, 'NOTHING', $6) ON CONFLICT (order_key) DO NOTHING`,
		o.Key, e.ID, e.Type, e.Instance.String(), pool, o.At.UnixMicro())
	return inserted("order", res, err)
}

func setOutcome(ctx context.Context, db consumer.DB, key, outcome string) error {
	if _, err := db.ExecContext(ctx, `UPDATE inventory_orders SET outcome = $1 WHERE order_key = $2`, outcome, key); err != nil {
		return fmt.Errorf("writing the outcome of the order: %w", err)
	}
	return nil
}

func insertLines(ctx context.Context, db consumer.DB, o anOrder) error {
	for _, l := range o.Lines {
		if _, err := db.ExecContext(ctx, `INSERT INTO inventory_lines (order_key, line_id, sku, ordered, reserved, released)
			VALUES ($1, $2, $3, $4, $5, 0)`, o.Key, l.ID, l.SKU, l.Ordered, l.Reserved); err != nil {
			return fmt.Errorf("inserting a line: %w", err)
		}
		for i, s := range l.From {
			if _, err := db.ExecContext(ctx, `INSERT INTO inventory_reservations (order_key, line_id, warehouse, preference, reserved, released)
				VALUES ($1, $2, $3, $4, $5, 0)`, o.Key, l.ID, s.Warehouse, i, s.Reserved); err != nil {
				return fmt.Errorf("inserting a reservation: %w", err)
			}
		}
	}
	return nil
}

// loadOrder reads an order with its lines and where they are reserved.
func loadOrder(ctx context.Context, db consumer.DB, ref common.Ref) (anOrder, bool, error) {
	o := anOrder{Ref: ref, Key: orderKey(ref)}
	var at int64
	err := db.QueryRowContext(ctx, `SELECT placed_at FROM inventory_orders WHERE order_key = $1`, o.Key).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return o, false, nil
	}
	if err != nil {
		return o, false, fmt.Errorf("reading the order: %w", err)
	}
	o.At = time.UnixMicro(at).UTC()
	rows, err := db.QueryContext(ctx, `SELECT l.line_id, l.sku, l.ordered, l.reserved, l.released, r.warehouse, r.reserved, r.released
		FROM inventory_lines l LEFT JOIN inventory_reservations r ON r.order_key = l.order_key AND r.line_id = l.line_id
		WHERE l.order_key = $1 ORDER BY l.line_id, r.preference`, o.Key)
	if err != nil {
		return o, false, fmt.Errorf("reading the lines: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var l line
		var warehouse sql.NullString
		var reserved, released sql.NullInt64
		if err := rows.Scan(&l.ID, &l.SKU, &l.Ordered, &l.Reserved, &l.Released, &warehouse, &reserved, &released); err != nil {
			return o, false, fmt.Errorf("reading a line: %w", err)
		}
		if n := len(o.Lines); n == 0 || o.Lines[n-1].ID != l.ID {
			o.Lines = append(o.Lines, l)
		}
		if warehouse.Valid {
			last := &o.Lines[len(o.Lines)-1]
			last.From = append(last.From, share{warehouse.String, reserved.Int64, released.Int64})
		}
	}
	return o, true, rows.Err()
}

func updateReleased(ctx context.Context, db consumer.DB, key string, l line) error {
	if _, err := db.ExecContext(ctx, `UPDATE inventory_lines SET released = $1 WHERE order_key = $2 AND line_id = $3`, l.Released, key, l.ID); err != nil {
		return fmt.Errorf("releasing a line: %w", err)
	}
	return nil
}

func updateShare(ctx context.Context, db consumer.DB, key, lineID string, s share) error {
	if _, err := db.ExecContext(ctx, `UPDATE inventory_reservations SET released = $1 WHERE order_key = $2 AND line_id = $3 AND warehouse = $4`,
		s.Released, key, lineID, s.Warehouse); err != nil {
		return fmt.Errorf("releasing a reservation: %w", err)
	}
	return nil
}

func insertWithdrawal(ctx context.Context, db consumer.DB, key string, e event.Event, w withdrawal) (bool, error) {
	res, err := db.ExecContext(ctx, `INSERT INTO inventory_withdrawals (order_key, withdrawal, event_id, fact, reason, whole_order, happened_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (order_key, withdrawal) DO NOTHING`,
		key, w.Key, e.ID, e.Type, string(w.Reason), w.All, w.At.UnixMicro())
	isNew, err := inserted("withdrawal", res, err)
	if err != nil || !isNew {
		return false, err
	}
	for _, lineID := range slices.Sorted(maps.Keys(w.Lines)) {
		for _, by := range slices.Sorted(maps.Keys(w.Lines[lineID])) {
			if _, err := db.ExecContext(ctx, `INSERT INTO inventory_withdrawal_lines (order_key, withdrawal, line_id, how, quantity)
				VALUES ($1, $2, $3, $4, $5)`, key, w.Key, lineID, string(by), w.Lines[lineID][by]); err != nil {
				return false, fmt.Errorf("inserting a withdrawn line: %w", err)
			}
		}
	}
	return true, nil
}

// withdrawals reads what takes back from an order, in the order in which it happened.
func withdrawals(ctx context.Context, db consumer.DB, key string) ([]withdrawal, error) {
	rows, err := db.QueryContext(ctx, `SELECT w.withdrawal, w.reason, w.whole_order, w.happened_at, l.line_id, l.how, l.quantity
		FROM inventory_withdrawals w LEFT JOIN inventory_withdrawal_lines l ON l.order_key = w.order_key AND l.withdrawal = w.withdrawal
		WHERE w.order_key = $1 ORDER BY w.happened_at, w.withdrawal`, key)
	if err != nil {
		return nil, fmt.Errorf("reading the withdrawals: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var ws []withdrawal
	for rows.Next() {
		var w withdrawal
		var reason string
		var at int64
		var lineID, by sql.NullString
		var n sql.NullInt64
		if err := rows.Scan(&w.Key, &reason, &w.All, &at, &lineID, &by, &n); err != nil {
			return nil, fmt.Errorf("reading a withdrawal: %w", err)
		}
		w.Reason, w.At = stock.ReservationReleasedV1Reason(reason), time.UnixMicro(at).UTC()
		if k := len(ws); k == 0 || ws[k-1].Key != w.Key {
			ws = append(ws, w)
		}
		if lineID.Valid {
			ws[len(ws)-1].add(lineID.String, how(by.String), n.Int64)
		}
	}
	return ws, rows.Err()
}

// seedLevel inserts the configured stock of an article that is touched for the first time.
func seedLevel(ctx context.Context, db consumer.DB, at place, onHand int64) error {
	if _, err := db.ExecContext(ctx, `INSERT INTO inventory_levels (sku, warehouse, on_hand, reserved)
		VALUES ($1, $2, $3, 0) ON CONFLICT (sku, warehouse) DO NOTHING`, at.SKU, at.Warehouse, onHand); err != nil {
		return fmt.Errorf("seeding a level: %w", err)
	}
	return nil
}

// lockLevel locks a level until the end of the transaction and reads it. The update that
// changes nothing is the lock that SQLite and PostgreSQL share. What is not there is 0.
func lockLevel(ctx context.Context, db consumer.DB, at place) (level, error) {
	var l level
	err := db.QueryRowContext(ctx, `UPDATE inventory_levels SET reserved = reserved WHERE sku = $1 AND warehouse = $2
		RETURNING on_hand, reserved`, at.SKU, at.Warehouse).Scan(&l.OnHand, &l.Reserved)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return l, fmt.Errorf("locking a level: %w", err)
	}
	return l, nil
}

// addReserved changes what is reserved of an article; n is negative for a release. An
// article without stock gets its row when a pool oversells it.
func addReserved(ctx context.Context, db consumer.DB, at place, n int64) error {
	query := `INSERT INTO inventory_levels (sku, warehouse, on_hand, reserved) VALUES ($1, $2, 0, $3)
		ON CONFLICT (sku, warehouse) DO UPDATE SET reserved = inventory_levels.reserved + excluded.reserved`
	if n < 0 {
		query = `UPDATE inventory_levels SET reserved = reserved + $3 WHERE sku = $1 AND warehouse = $2`
	}
	if _, err := db.ExecContext(ctx, query, at.SKU, at.Warehouse, n); err != nil {
		return fmt.Errorf("changing a level: %w", err)
	}
	return nil
}
