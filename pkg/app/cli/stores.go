package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/once"
)

// Stores are the databases of the groups, for reading beside a running process.
type Stores struct {
	l    *config.Loaded
	open map[string]*once.DB
}

// NewStores opens none yet.
func NewStores(l *config.Loaded) *Stores { return &Stores{l: l} }

// Of is the database of a group.
func (s *Stores) Of(ctx context.Context, group string) (*once.DB, error) {
	return s.of(ctx, group, false)
}

// Restored is Of for a database that was restored: tables that are of an older version
// are brought up to date, as a role would at its start.
func (s *Stores) Restored(ctx context.Context, group string) (*once.DB, error) {
	return s.of(ctx, group, true)
}

func (s *Stores) of(ctx context.Context, group string, restored bool) (*once.DB, error) {
	url, err := s.l.ResolveText(s.l.DatabaseOf(group).URL)
	if err != nil {
		return nil, err
	}
	if db := s.open[url]; db != nil {
		return db, nil
	}
	db, err := once.Open(ctx, once.Options{URL: url, MaxConnections: 4, Existing: true})
	if restored && errors.Is(err, once.ErrOlder) {
		db, err = once.Open(ctx, once.Options{URL: url, MaxConnections: 4})
	}
	if err != nil {
		return nil, fmt.Errorf("opening the store of %s: %w", group, err)
	}
	if s.open == nil {
		s.open = map[string]*once.DB{}
	}
	s.open[url] = db
	return db, nil
}

// Close closes them.
func (s *Stores) Close() error {
	var errs []error
	for _, db := range s.open {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}
