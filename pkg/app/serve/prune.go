package serve

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/once"
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
		spec, ok := s.Topics.Spec(name)
		if system, raw := strings.CutPrefix(name, topic.RawName("")); raw {
			spec, ok = topic.Raw(system), true
		}
		w := spec.Window()
		if !ok || w == 0 {
			return 0
		}
		longest = max(longest, w)
	}
	return longest
}

// prune forgets from time to time what no topic can redeliver any more. The embedded
// broker keeps everything, so that its groups forget nothing (promise: once).
func (s *server) prune(ctx context.Context, r role, store *once.Store) {
	window := s.window(r.topics)
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for window > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n, err := s.pruneOnce(ctx, store, time.Now().Add(-window))
		switch {
		case err != nil && ctx.Err() == nil:
			s.Log.WarnContext(ctx, "pruning the inbox", "group", r.group.Name, "error", err)
		case n > 0:
			s.Log.InfoContext(ctx, "inbox pruned", "group", r.group.Name, "rows", n, "window", window.String())
		}
	}
}

func (s *server) pruneOnce(ctx context.Context, store *once.Store, before time.Time) (rows int, err error) {
	keeps, err := s.keepsEverything(ctx)
	if keeps || err != nil {
		return 0, err
	}
	for range pruneSteps {
		n, err := store.Prune(ctx, before, pruneStep)
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
