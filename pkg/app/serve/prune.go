package serve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/journal"
	"github.com/eventspine/spine/pkg/once/room"
	"github.com/eventspine/spine/pkg/topic"
)

// Pruning goes in small steps, so that no handler waits for it.
const (
	pruneEvery = 10 * time.Minute
	pruneStep  = 1000 // rows a transaction
	pruneSteps = 100  // transactions a round
)

// window is how long a group has to remember what it handled: the longest time in
// which one of its topics can redeliver a record. 0 = for good.
func (s *server) window(topics []string) (longest time.Duration) {
	for _, name := range topics {
		w := s.Topics.Window(name)
		if w == 0 {
			return 0
		}
		longest = max(longest, w)
	}
	return longest
}

// prune forgets from time to time what no topic can redeliver any more. The embedded
// broker keeps everything, so that its groups forget nothing (promise: once).
func (s *server) prune(ctx context.Context, r role, db *once.DB) {
	window := s.window(r.topics)
	pruned, err := s.metrics.Meter("spine/prune").Int64Counter("spine_pruned_rows", metric.WithDescription("Rows that a group has forgotten, by table."))
	if err != nil {
		s.Log.WarnContext(ctx, "making the instrument of pruning", "error", err)
		return
	}
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for window > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.pruneOnce(ctx, forgettable(db, r.group.Name, window), time.Now(), func(table string, rows int) {
			pruned.Add(ctx, int64(rows), metric.WithAttributes(attribute.String("group", r.group.Name), attribute.String("table", table)))
			s.Log.InfoContext(ctx, "pruned", "group", r.group.Name, "table", table, "rows", rows, "window", window.String())
		})
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "pruning", "group", r.group.Name, "error", err)
		}
	}
}

// old is what a group may forget in small steps.
type old struct {
	table string
	keep  time.Duration
	prune func(ctx context.Context, before time.Time, limit int) (int, error)
}

// keepEffects is for how long an effect that is done is remembered: a replay that is
// asked for by then calls nobody again.
const keepEffects = 90 * 24 * time.Hour

// forgettable is what a group remembers of the past, all of it at least as long as the
// window of its topics. What waits, is dead, or is for a person to decide is not among it.
func forgettable(db *once.DB, group string, window time.Duration) []old {
	return []old{
		{table: "inbox", keep: window, prune: db.Store(group).Prune},
		{table: "effects", keep: max(window, keepEffects), prune: func(ctx context.Context, before time.Time, limit int) (int, error) {
			return journal.Prune(ctx, db.DB, group, before, limit)
		}},
		{table: "dropped", keep: window, prune: func(ctx context.Context, before time.Time, limit int) (int, error) {
			return room.Prune(ctx, db.DB, group, before, limit)
		}},
	}
}

// pruneOnce is one round: it tells which table has forgotten how many rows.
func (s *server) pruneOnce(ctx context.Context, tables []old, now time.Time, pruned func(table string, rows int)) error {
	keeps, err := s.keepsEverything(ctx)
	if keeps || err != nil {
		return err
	}
	var errs []error
	for _, t := range tables {
		rows, err := t.inSteps(ctx, now.Add(-t.keep))
		if rows > 0 {
			pruned(t.table, rows)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.table, err))
		}
	}
	return errors.Join(errs...)
}

func (o old) inSteps(ctx context.Context, before time.Time) (rows int, err error) {
	for range pruneSteps {
		n, err := o.prune(ctx, before, pruneStep)
		rows += n
		if err != nil || n < pruneStep {
			return rows, err
		}
	}
	return rows, nil
}

// keepsEverything says whether the broker is the embedded one, whatever retention is
// declared.
func (s *server) keepsEverything(ctx context.Context) (bool, error) {
	admin, err := bus.NewAdmin(s.Kafka)
	if err != nil {
		return false, err
	}
	defer admin.Close()
	meta, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return false, fmt.Errorf("asking the broker who it is: %w", err)
	}
	return meta.Cluster == topic.EmbeddedCluster, nil
}
