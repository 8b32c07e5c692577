package books

import (
	"context"
	"slices"
	"time"

	"github.com/eventspine/spine/pkg/once/ownership"
	"github.com/eventspine/spine/pkg/once/replay"
)

// Reset is a partition that a person set to another offset.
type Reset struct {
	Partition string // topic/partition
	From, To  int64  // where the group went on before, and then
	At        time.Time
}

func (src Source) resets(ctx context.Context) ([]Reset, error) {
	list, err := ownership.Resets(ctx, src.DB.DB, src.Group.Name)
	if err != nil {
		return nil, err
	}
	all := make([]Reset, len(list))
	for i, r := range list {
		all[i] = Reset{Place{Topic: r.Topic, Partition: r.Partition}.partition(), r.From, r.To, r.At}
	}
	return all, nil
}

// replays are the ranges that were handled after what was live.
func (src Source) replays(ctx context.Context) ([]Reset, error) {
	parts, err := replay.List(ctx, src.DB.DB, src.Group.Name, 0)
	if err != nil {
		return nil, err
	}
	all := make([]Reset, 0, len(parts))
	for _, p := range parts {
		if p.Kind == replay.Facts {
			all = append(all, Reset{Place{Topic: p.Topic, Partition: p.Partition}.partition(), p.Until, p.From, p.AskedAt})
		}
	}
	return all, nil
}

// skipped says that a person set the group past p, and not back again since: it is
// neither handled nor lost.
func (g Group) skipped(p Place) bool {
	skipped := false
	for _, r := range g.Resets {
		switch {
		case r.Partition != p.partition():
		case r.From <= p.Offset && p.Offset < r.To:
			skipped = true
		case r.To < r.From && r.To <= p.Offset:
			skipped = false
		}
	}
	return skipped
}

// late says that what stands at p was handled after a person had set the group back, or in a replay:
// it is behind what was handled before, and nothing is wrong.
func (g Group) late(h Handled) bool {
	for _, r := range slices.Concat(g.Resets, g.Replays) {
		if r.Partition == h.partition() && r.To <= h.Offset && h.Offset < r.From && !h.At.Before(r.At) {
			return true
		}
	}
	return false
}
