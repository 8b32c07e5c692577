package once

import (
	"context"
	"database/sql"
	"time"
)

// WithBatchTime is a store whose batches go on as long as a test says.
func (s *Store) WithBatchTime(d time.Duration) *Store {
	with := *s
	with.batch = d
	return &with
}

// LoseAnswer commits a transaction of the owner, and lets nobody learn of it.
func (o *Owner) LoseAnswer(ctx context.Context, query string) error {
	return o.within(ctx, func(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
		if err := o.s.db.Write(ctx, fn); err != nil {
			return err
		}
		return ErrOutcomeUnknown
	}, func(ctx context.Context, t *transaction) error {
		_, err := t.ExecContext(ctx, query)
		return err
	})
}
