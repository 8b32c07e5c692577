package serve

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/telemetry"
)

// role is one group as this process runs it.
type role struct {
	group  consumer.Group
	topics []string
	unheld bool // a failing record holds no key

	consent replay.Consent // to what is published on request
}

// state is what a role says of itself while it starts, runs, or waits for a part.
type state struct {
	mu     sync.Mutex
	runner *dispatch.Runner
	reason string
}

func (st *state) set(runner *dispatch.Runner, reason string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.runner, st.reason = runner, reason
}

func (st *state) probe(context.Context) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	reason := st.reason
	if st.runner != nil {
		ok, why := st.runner.Ready()
		if away := st.runner.Away(); ok && away != "" {
			return telemetry.Ready("held until it answers: " + away)
		}
		if ok {
			return nil
		}
		reason = why
	}
	return errors.New(reason)
}

// startGroup runs a role until ctx ends. A database or broker that is away at the
// start is waited for: readiness says which.
func (s *server) startGroup(ctx context.Context, all *errgroup.Group, r role) {
	st := &state{reason: "starting"}
	s.ready.Add("group "+r.group.Name, st.probe)
	all.Go(func() error {
		for wait := time.Second / 4; ; wait = min(2*wait, 15*time.Second) {
			err := s.runGroup(ctx, r, st)
			if ctx.Err() != nil {
				return err
			}
			if err == nil {
				return fmt.Errorf("group %s ended by itself", r.group.Name)
			}
			var refused *bus.ProtocolError
			if errors.As(err, &refused) {
				return fmt.Errorf("%w: groups.%s.protocol: %w", config.ErrInvalid, r.group.Name, err)
			}
			if !errors.Is(err, once.ErrUnavailable) {
				return fmt.Errorf("running group %s: %w", r.group.Name, err)
			}
			st.set(nil, err.Error())
			s.Log.WarnContext(ctx, "group waits for a part", "group", r.group.Name, "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait + rand.N(wait)):
			}
		}
	})
}

func (s *server) runGroup(ctx context.Context, r role, st *state) error {
	db, err := s.databases.open(ctx, s.Config, r.group.Name)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // told to stop while it waited for its database: that is no failure
	}
	if err != nil {
		return err
	}
	o := cli.RunOptions(s.Config.Config, r.group)
	o.Unheld, o.Consent, o.Topics = r.unheld, r.consent, r.topics
	o.DB, o.Kafka, o.Codec, o.Route = db, s.Kafka, s.codec, s.Topics.Route
	o.ShutdownTimeout, o.Version, o.Alarms, o.Meter, o.Log = s.Shutdown, s.Version, s.alarms, s.metrics.Meter("spine/dispatch"), s.Log
	runner, err := dispatch.New(o)
	if err != nil {
		return err
	}
	st.set(runner, "")
	var pruning sync.WaitGroup
	pruneCtx, stop := context.WithCancel(ctx)
	pruning.Go(func() { s.prune(pruneCtx, r, db) })
	err = runner.Run(ctx)
	stop()
	pruning.Wait()
	return err
}

// databases are the open stores, one per URL.
type databases struct {
	mu      sync.Mutex
	dbs     map[string]*once.DB
	release []func() error
}

// open opens the database of a group, or the common one.
func (d *databases) open(ctx context.Context, l *config.Loaded, group string) (*once.DB, error) {
	own := l.DatabaseOf(group)
	url, err := l.ResolveText(own.URL)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if db := d.dbs[url]; db != nil {
		return db, nil
	}
	db, err := once.Open(ctx, once.Options{URL: url, MaxConnections: own.MaxConnections})
	if err != nil {
		return nil, err
	}
	release, err := db.LockRoles()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if d.dbs == nil {
		d.dbs = map[string]*once.DB{}
	}
	d.dbs[url] = db
	d.release = append(d.release, db.Close, release)
	return db, nil
}

func (d *databases) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, release := range d.release {
		errs = append(errs, release())
	}
	return errors.Join(errs...)
}
