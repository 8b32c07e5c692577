// Package serve runs the roles of Spine in one process: intake, translate, and any
// of the groups, against the configured parts. It is where the engines meet.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"golang.org/x/sync/errgroup"

	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/dispatch/alarm"
	"github.com/eventspine/spine/pkg/intake"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/telemetry"
	"github.com/eventspine/spine/pkg/topic"
	"github.com/eventspine/spine/pkg/translate"
	"github.com/eventspine/spine/pkg/wire"
)

// Roles are what a process does.
type Roles struct {
	Intake    bool
	Translate bool
	Groups    []string
}

// Options are what the roles run on.
type Options struct {
	Adapters []producer.Adapter
	Groups   []consumer.Group
	Facts    *schema.Set
	Topics   *topic.Set
	Config   *config.Loaded
	Kafka    bus.Config
	Registry *sr.Client
	Roles    Roles
	Shutdown time.Duration // for what is in flight at the end; 0 = 20 s
	Version  string
	Log      *slog.Logger
	// Ready is called once, when every role is ready; nil = nobody asks.
	Ready func(Addresses)
}

// Addresses say where the process listens: the actual ports.
type Addresses struct {
	Intake string // "" = no such role
	Ops    string
}

// server is one process at work.
type server struct {
	Options
	metrics   *telemetry.Metrics
	ready     *telemetry.Readiness
	producer  *bus.Producer
	codec     *wire.Codec
	databases databases
	alarms    *alarm.Alarms
	addresses Addresses
}

// Run runs the roles until ctx ends, then finishes or hands back what is in flight.
// An error means that the process could not start or cannot go on.
func Run(ctx context.Context, o Options) (err error) {
	if o.Shutdown == 0 {
		o.Shutdown = 20 * time.Second
	}
	s := &server{Options: o, ready: telemetry.NewReadiness()}
	if err := s.check(); err != nil {
		return err
	}
	if s.metrics, err = telemetry.NewMetrics("spine", o.Version); err != nil {
		return fmt.Errorf("setting up metrics: %w", err)
	}
	if s.producer, err = bus.NewProducer(o.Kafka); err != nil {
		return err
	}
	if s.alarms, err = s.newAlarms(); err != nil {
		return err
	}
	s.codec = wire.NewCodec(wire.NewRegistry(o.Registry))
	// What outlives ctx: the relay's last publish, the last commit, the last scrape.
	defer func() {
		s.producer.Close()
		err = errors.Join(err, s.databases.close(), s.metrics.Close(context.WithoutCancel(ctx)))
	}()
	return s.run(ctx)
}

// run starts the listeners, so that a port in use is an error at once, then the roles.
func (s *server) run(ctx context.Context) error {
	groups, err := s.groups()
	if err != nil {
		return err
	}
	ops, err := listen(ctx, s.Config.Ops.Listen)
	if err != nil {
		return fmt.Errorf("ops.listen: %w", err)
	}
	s.addresses.Ops = ops.Addr().String()
	all, ctx := errgroup.WithContext(ctx)
	s.ready.Add("kafka", s.producer.Ping)
	s.ready.Add("registry", s.pingRegistry)
	if s.Roles.Intake {
		if err := s.startIntake(ctx, all); err != nil {
			return errors.Join(err, ops.Close())
		}
	}
	stopAlarms := s.startAlarms(ctx)
	for _, r := range groups {
		s.startGroup(ctx, all, r)
	}
	// The ops address answers until everything else has ended.
	opsCtx, stopOps := context.WithCancel(context.WithoutCancel(ctx))
	opsDone := make(chan error, 1)
	go func() {
		opsDone <- intake.Serve(opsCtx, ops, telemetry.Handler(s.metrics, s.ready, s.Log), time.Second, s.Log)
	}()
	if s.Ready != nil {
		all.Go(func() error { s.announce(ctx); return nil })
	}
	err = all.Wait()
	stopAlarms()
	stopOps()
	return errors.Join(err, <-opsDone)
}

// groups are those that this process runs, made before anything is started: translate
// refuses adapters that contradict each other.
func (s *server) groups() (roles []role, err error) {
	if s.Roles.Translate {
		g, err := translate.Group(translate.Options{
			Adapters: s.Adapters, Instances: s.Config.InstanceSettings(), Route: s.Topics.Route, Meter: s.metrics.Meter("spine/translate"),
		})
		if err != nil {
			return nil, err
		}
		roles = append(roles, role{group: g, topics: s.rawTopics(), unheld: true, consent: translate.Retell})
	}
	for _, g := range s.Groups {
		if slices.Contains(s.Roles.Groups, g.Name) {
			roles = append(roles, role{group: g, topics: dispatch.Topics(g, s.Topics.Route)})
		}
	}
	return roles, nil
}

// announce waits until every role is ready, and says so once.
func (s *server) announce(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !s.ready.Check(ctx).Ready {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	s.Ready(s.addresses)
}

func (s *server) pingRegistry(ctx context.Context) error {
	if _, err := s.Registry.SupportedTypes(ctx); err != nil {
		return fmt.Errorf("the schema registry at %s does not answer: %w", s.Config.Registry.URL, err)
	}
	return nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

// check finds what no waiting heals: a wrong role, a fact without a topic.
func (s *server) check() error {
	var errs []error
	for _, name := range s.Roles.Groups {
		if !slices.ContainsFunc(s.Groups, func(g consumer.Group) bool { return g.Name == name }) {
			errs = append(errs, fmt.Errorf("%w: no group %s in this binary", config.ErrInvalid, name))
		}
	}
	for _, g := range s.Groups {
		for _, h := range g.On {
			if _, ok := s.Topics.Route(h.Type); !ok {
				errs = append(errs, fmt.Errorf("group %s handles %s, which lives in no topic: add it to a file in topics/", g.Name, h.Type))
			}
		}
	}
	return errors.Join(errs...)
}

// rawTopics are the topics of deliveries.
func (s *server) rawTopics() []string {
	names := make([]string, len(s.Adapters))
	for i, a := range s.Adapters {
		names[i] = topic.RawName(a.System)
	}
	return names
}

func (s *server) startIntake(ctx context.Context, all *errgroup.Group) error {
	var instances []intake.Instance
	for name, settings := range s.Config.InstanceSettings() {
		secrets, err := s.Config.Secrets(name)
		if err != nil {
			return err
		}
		instances = append(instances, intake.Instance{Instance: settings, Secrets: secrets})
	}
	in, err := intake.New(intake.Options{
		Adapters: s.Adapters, Instances: instances, Publish: s.producer.Publish, SpoolPath: s.Config.Intake.Spool,
		MaxBody: int64(s.Config.Intake.MaxBody), Meter: s.metrics.Meter("spine/intake"), Log: s.Log,
	})
	if err != nil {
		return err
	}
	l, err := listen(ctx, s.Config.Intake.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("intake.listen: %w", err), in.Close())
	}
	s.addresses.Intake = l.Addr().String()
	// The receivers end first; then the spool, which they write to.
	all.Go(func() error {
		var spool sync.WaitGroup
		spoolCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
		var drained error
		spool.Go(func() { drained = in.Run(spoolCtx) })
		served := intake.Serve(ctx, l, in, s.Shutdown, s.Log)
		stop()
		spool.Wait()
		return errors.Join(served, drained, in.Close())
	})
	return nil
}
