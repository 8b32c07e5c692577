package serve

import (
	"context"
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
		for _, old := range forgettable(db, r.group.Name) {
			n, err := s.pruneOnce(ctx, old.prune, time.Now().Add(-max(window, old.keep)))
			pruned.Add(ctx, int64(n), metric.WithAttributes(attribute.String("group", r.group.Name), attribute.String("table", old.table)))
			switch {
			case err != nil && ctx.Err() == nil:
				s.Log.WarnContext(ctx, "pruning", "group", r.group.Name, "table", old.table, "error", err)
			case n > 0:
				s.Log.InfoContext(ctx, "pruned", "group", r.group.Name, "table", old.table, "rows", n, "window", window.String())
			}
		}
	}
}

// old is what a group may forget in small steps.
type old struct {
	table string
	keep  time.Duration // at least, beside the window of its topics
	prune func(ctx context.Context, before time.Time, limit int) (int, error)
}

// keepEffects is for how long an effect that is done is remembered: a replay that is
// asked for by then calls nobody again.
const keepEffects = 90 * 24 * time.Hour

// forgettable is what a group remembers of the past. What waits, is dead, or is for a
// person to decide is not among it.
func forgettable(db *once.DB, group string) []old {
	return []old{
		{table: "inbox", prune: db.Store(group).Prune},
		{table: "effects", keep: keepEffects, prune: func(ctx context.Context, before time.Time, limit int) (int, error) {
			return journal.Prune(ctx, db.DB, group, before, limit)
		}},
		{table: "dropped", prune: func(ctx context.Context, before time.Time, limit int) (int, error) {
			return room.Prune(ctx, db.DB, group, before, limit)
		}},
	}
}

func (s *server) pruneOnce(ctx context.Context, prune func(context.Context, time.Time, int) (int, error), before time.Time) (rows int, err error) {
	keeps, err := s.keepsEverything(ctx)
	if keeps || err != nil {
		return 0, err
	}
	for range pruneSteps {
		n, err := prune(ctx, before, pruneStep)
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
