package again

import (
	"context"
	"database/sql"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/rebuild"
	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/once/difference"
	"github.com/eventspine/spine/pkg/once/scratch"
)

func (j *job) rebuilding(l *config.Loaded, demo bool) rebuild.Options {
	return rebuild.Options{CLI: j.CLI, Loaded: l, Group: j.of, DB: j.db, Execute: j.execute, Backfill: j.backfill, Demo: demo}
}

// shadowOfRebuild makes the tables from nothing, of what the live group has handled in
// one snapshot, and shows what would differ from those of that snapshot. Nothing is
// swapped in.
func (j *job) shadowOfRebuild(ctx context.Context, l *config.Loaded, demo bool) error {
	if err := j.prepare(ctx, l); err != nil {
		return err
	}
	doubts, err := rebuild.Doubts(ctx, j.rebuilding(l, demo))
	if err != nil {
		return err
	}
	return j.aside(ctx, l, func(ctx context.Context, s *shadowing, mirror *scratch.Store) (err error) {
		if s.tables, err = difference.Tables(ctx, mirror.DB.DB); err != nil {
			return err
		}
		parts, err := mirror.Begin(ctx, func(ctx context.Context, tx *sql.Tx, live string) error {
			return difference.KeepFrom(ctx, tx, s.tables, live)
		})
		if err != nil {
			return err
		}
		if err := s.begin(ctx); err != nil {
			return err
		}
		s.found.Warnings = doubts
		return s.anew(ctx, parts)
	})
}

// held is a key behind whose failed record the others wait.
type held struct {
	part int
	key  string
}

// anew handles all that the live group has done in parts, which are in the order of the
// ownerships.
func (s *shadowing) anew(ctx context.Context, parts []scratch.Part) (err error) {
	planned, waits := make([]plannedPart, len(parts)), map[held]bool{}
	for i, p := range parts {
		planned[i] = plannedPart{Topic: p.Topic, Partition: p.Partition, From: p.From, Until: s.owned[i].Next}
		s.total += s.owned[i].Next - p.From
	}
	s.progress, s.window = cli.NewProgress(s.Stderr, !s.People()), tap.All()
	defer s.progress.End()
	_, err = s.read(ctx, func(i int, rec *kgo.Record) error {
		_, ahead := slices.BinarySearch(parts[i].Ahead, rec.Offset)
		if rec.Offset < parts[i].From || rec.Offset >= parts[i].Next && !ahead {
			return nil // the live group hasn't done it
		}
		planned[i].Records++
		c, ok := s.sort(&planned[i], rec)
		if !ok {
			return nil
		}
		key := held{i, string(rec.Key)}
		if waits[key] {
			planned[i].Waiting++
			return nil
		}
		planned[i].ToHandle++
		failed, err := s.try(ctx, c)
		if failed && rec.Key != nil && !s.released {
			waits[key] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	s.found.plan = plan{Group: s.group, Partitions: planned}
	return s.published(ctx)
}
