package database

import (
	"context"
	"database/sql"
	"fmt"
)

// Query is a statement with its arguments, and what it does: the prefix of its errors.
type Query struct {
	What string
	SQL  string
	Args []any
}

// Reader is the pool of a database, or one of its transactions.
type Reader interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Each hands the rows of a query to fn, one after the other. An error of fn ends it.
func Each(ctx context.Context, from Reader, q Query, fn func(*sql.Rows) error) error {
	rows, err := from.QueryContext(ctx, q.SQL, q.Args...)
	if err != nil {
		return fmt.Errorf("%s: %w", q.What, Available(err))
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return fmt.Errorf("%s: %w", q.What, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%s: %w", q.What, Available(err))
	}
	return nil
}

// List reads all rows of a query.
func List[T any](ctx context.Context, from Reader, q Query, scan func(*sql.Rows, *T) error) ([]T, error) {
	var list []T
	err := Each(ctx, from, q, func(rows *sql.Rows) error {
		var v T
		if err := scan(rows, &v); err != nil {
			return err
		}
		list = append(list, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Value scans a row of one column, for List.
func Value[T any](rows *sql.Rows, v *T) error { return rows.Scan(v) }

// Delete runs a statement that deletes in a transaction of its own. It answers how many
// rows it deleted.
func (db *DB) Delete(ctx context.Context, q Query) (int, error) {
	var n int64
	err := db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, q.SQL, q.Args...)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", q.What, err)
	}
	return int(n), nil
}
