package notifications

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/common"
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

func insertOrder(ctx context.Context, db consumer.DB, ref common.Ref, e event.Event, c customer) (bool, error) {
	articles, err := json.Marshal(c.Articles)
	if err != nil {
		return false, fmt.Errorf("keeping the articles: %w", err)
	}
	res, err := db.ExecContext(ctx, `INSERT INTO notifications_orders (order_key, instance, order_number, email, name, articles, test, placed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (order_key) DO NOTHING`,
		orderKey(ref), e.Instance.String(), c.Number, c.Email, c.Name, string(articles), c.Test, e.OccurredAt.UnixMicro())
	return inserted("order", res, err)
}

func loadOrder(ctx context.Context, db consumer.DB, ref common.Ref) (c customer, found bool, err error) {
	var articles string
	err = db.QueryRowContext(ctx, `SELECT order_number, email, name, articles, test FROM notifications_orders WHERE order_key = $1`, orderKey(ref)).
		Scan(&c.Number, &c.Email, &c.Name, &articles, &c.Test)
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("reading the order: %w", err)
	}
	if err := json.Unmarshal([]byte(articles), &c.Articles); err != nil {
		return c, false, fmt.Errorf("reading the articles of the order: %w", err)
	}
	return c, true, nil
}

func insertMessage(ctx context.Context, db consumer.DB, e event.Event, l letter, status, reason string) (bool, error) {
	waits := ""
	if status == waiting {
		raw, err := json.Marshal(l)
		if err != nil {
			return false, fmt.Errorf("keeping a letter: %w", err)
		}
		waits = string(raw)
	}
	res, err := db.ExecContext(ctx, `INSERT INTO notifications_messages (message, order_key, event_id, fact, template, status, reason, letter, happened_at, sent_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL) ON CONFLICT (message) DO NOTHING`,
		l.Key, orderKey(l.OrderRef), e.ID, e.Type, l.Template, status, reason, waits, e.OccurredAt.UnixMicro())
	return inserted("message", res, err)
}

// setStatus says what became of an occasion. What waited is needed no more.
func setStatus(ctx context.Context, db consumer.DB, key, status, reason string, sentAt *int64) error {
	if _, err := db.ExecContext(ctx, `UPDATE notifications_messages SET status = $1, reason = $2, sent_at = $3, letter = '' WHERE message = $4`,
		status, reason, sentAt, key); err != nil {
		return fmt.Errorf("writing the status of a message: %w", err)
	}
	return nil
}

// held reads the letters that wait for an order, in the order in which they happened.
func held(ctx context.Context, db consumer.DB, order string) ([]letter, error) {
	rows, err := db.QueryContext(ctx, `SELECT letter FROM notifications_messages WHERE order_key = $1 AND status = $2
		ORDER BY happened_at, message`, order, waiting)
	if err != nil {
		return nil, fmt.Errorf("reading what waits: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []letter
	for rows.Next() {
		var raw string
		var l letter
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("reading what waits: %w", err)
		}
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			return nil, fmt.Errorf("reading what waits: %w", err)
		}
		all = append(all, l)
	}
	return all, rows.Err()
}
