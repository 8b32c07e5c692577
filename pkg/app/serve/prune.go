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
// broker keeps everything, so that its groups forget nothing of what they handled
// (promise: once).
func (s *server) prune(ctx context.Context, r role, db *once.DB) {
	tables := forgettable(db, r.group.Name, s.window(r.topics), s.Config.KeepDeadOf(r.group.Name))
	if len(tables) == 0 {
		return
	}
	pruned, err := s.metrics.Meter("spine/prune").Int64Counter("spine_pruned_rows", metric.WithDescription("Rows that a group has forgotten, by table."))
	if err != nil {
		s.Log.WarnContext(ctx, "making the instrument of pruning", "error", err)
		return
	}
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.pruneOnce(ctx, tables, time.Now(), func(o old, rows int) {
			pruned.Add(ctx, int64(rows), metric.WithAttributes(attribute.String("group", r.group.Name), attribute.String("table", o.table)))
			s.Log.InfoContext(ctx, "pruned", "group", r.group.Name, "table", o.table, "rows", rows, "kept", o.keep.String())
		})
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "pruning", "group", r.group.Name, "error", err)
		}
	}
}

// old is what a group may forget in small steps.
type old struct {
	table   string
	keep    time.Duration
	handled bool // what it remembers of what was handled: a broker that keeps everything can redeliver it
	prune   func(ctx context.Context, before time.Time, limit int) (int, error)
}

// keepEffects is for how long an effect that is done is remembered: a replay that is
// asked for by then calls nobody again.
const keepEffects = 90 * 24 * time.Hour

// forgettable is what a group remembers of the past: of what was handled, all of it at
// least as long as the window of its topics, 0 = for good; of what is dead and holds
// nobody up, what is older than keepDead, 0 = nothing. What waits, or is for a person to
// decide, is not among it.
func forgettable(db *once.DB, group string, window, keepDead time.Duration) (all []old) {
	if window > 0 {
		all = append(all,
			old{table: "inbox", keep: window, handled: true, prune: db.Store(group).Prune},
			old{table: "effects", keep: max(window, keepEffects), handled: true, prune: func(ctx context.Context, before time.Time, limit int) (int, error) {
				return journal.Prune(ctx, db.DB, group, before, limit)
			}},
			old{table: "dropped", keep: window, handled: true, prune: func(ctx context.Context, before time.Time, limit int) (int, error) {
				return room.Prune(ctx, db.DB, group, before, limit)
			}})
	}
	if keepDead > 0 {
		all = append(all, old{table: "dead", keep: keepDead, prune: db.Store(group).GiveUp})
	}
	return all
}

// pruneOnce is one round: it tells of which table how many rows are forgotten.
func (s *server) pruneOnce(ctx context.Context, tables []old, now time.Time, pruned func(o old, rows int)) error {
	keeps, err := s.keepsEverything(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range tables {
		if t.handled && keeps {
			continue
		}
		rows, err := t.inSteps(ctx, now.Add(-t.keep))
		if rows > 0 {
			pruned(t, rows)
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
