package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/intake"
	"github.com/eventspine/spine/pkg/once"
)

// stalled is how long nothing may move before the demo gives up.
const stalled = 2 * time.Minute

// settle waits until nothing is on its way: the spool is empty, every group is at
// the end of its topics, and nothing is outgoing or asked of the outside.
func (a commands) settle(ctx context.Context, l *config.Loaded, say *cli.Progress) (err error) {
	admin, err := cli.Admin(l)
	if err != nil {
		return err
	}
	defer admin.Close()
	b := backlog{config: l, groups: a.Fleet.GroupNames(), stores: cli.NewStores(l), admin: admin}
	defer func() { err = errors.Join(err, b.stores.Close()) }()
	last, moved := b.seen, time.Now()
	for quiet := 0; quiet < 2; quiet++ { // twice: what one group publishes is another's input
		asked := time.Now()
		left, err := b.left(ctx)
		if err != nil {
			return err
		}
		if left > 0 {
			quiet = -1
		}
		if b.seen != last {
			last, moved = b.seen, time.Now()
		}
		if time.Since(moved) > stalled {
			return fmt.Errorf("nothing has moved for %s, and %d steps are left: --log-level info tells more", stalled, left)
		}
		say.Count("steps left", int(left))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(100*time.Millisecond, 4*time.Since(asked))): // asking must not be the work
		}
	}
	return nil
}

// backlog is what the groups have before them.
type backlog struct {
	config *config.Loaded
	groups []string
	stores *cli.Stores
	admin  *kadm.Client
	seen   int64 // sum of all positions: it changes where something moves
}

// left counts deliveries in the spool, records before the groups, and records and
// calls on their way out.
func (b *backlog) left(ctx context.Context) (int64, error) {
	spooled, err := intake.Spooled(ctx, b.config.Intake.Spool)
	if err != nil {
		return 0, err
	}
	left := int64(len(spooled))
	ends, err := b.admin.ListEndOffsets(ctx)
	if err != nil {
		return 0, fmt.Errorf("listing offsets: %w", err)
	}
	b.seen = left
	var stores []*once.Store
	for _, name := range b.groups {
		db, err := b.stores.Of(ctx, name)
		if err != nil {
			return 0, err
		}
		store := db.Store(name)
		stores = append(stores, store)
		owned, err := store.Ownerships(ctx)
		if err != nil {
			return 0, err
		}
		for _, o := range owned {
			if end, ok := ends.Lookup(o.Topic, o.Partition); ok && end.Err == nil {
				left += max(0, end.Offset-o.NextOffset)
			}
			left += int64(o.Outgoing)
			b.seen += o.NextOffset - int64(o.Outgoing)
		}
	}
	if left > 0 {
		return left, nil
	}
	for _, store := range stores { // counts whole tables: only when all else is done
		counts, err := store.Counts(ctx)
		if err != nil {
			return 0, err
		}
		left += int64(counts.EffectsOpen)
		b.seen -= int64(counts.EffectsOpen)
	}
	return left, nil
}
