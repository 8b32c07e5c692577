package once

import "time"

// WithBatchTime is a store whose batches go on as long as a test says.
func (s *Store) WithBatchTime(d time.Duration) *Store {
	with := *s
	with.batch = d
	return &with
}
