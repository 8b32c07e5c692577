package stage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/play"
	"github.com/eventspine/spine/pkg/app/serve"
	"github.com/eventspine/spine/pkg/devstack"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
)

// demoFlags are the flags of the demo.
type demoFlags struct {
	orders, rate int
	seed         uint64
	keep         string
}

func (a commands) newDemoCmd() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play a signed trading day through every role on embedded parts, then check the books",
		Long: "Play a signed trading day over real HTTP through every role, on embedded parts in a fresh folder,\n" +
			"show what became of it, and check the books by id. Exits 0 only if they balance.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.orders < 1 {
				return cli.Usage("--orders %d: want 1 or more", f.orders)
			}
			a.Quiet = !cmd.Flags().Changed("log-level") // dead letters are part of the show: the table tells of them
			return a.demo(cmd.Context(), f)
		},
	}
	cmd.Flags().IntVar(&f.orders, "orders", 200, "orders of the day, about")
	cmd.Flags().IntVar(&f.rate, "rate", 0, "deliveries a second; 0 = as fast as they are answered")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "the same seed plays the same day")
	cmd.Flags().StringVar(&f.keep, "keep", "", "keep the data in this folder, which must be new or empty")
	return cmd
}

// demo starts the parts and roles, plays, waits until all is done, and tells.
func (a commands) demo(ctx context.Context, f demoFlags) (err error) {
	remove, err := a.demoFolder(f.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	log, err := a.Logger()
	if err != nil {
		return err
	}
	// The demo plays its own shops on its own parts, whatever the configuration says.
	a.ConfigFile, a.Env = os.DevNull, nil
	begun := time.Now()
	say := cli.NewProgress(a.Stderr, false)
	defer say.End()
	say.Step("starting an " + devstack.Notice)
	e, err := a.startEmbedded(ctx, listeners{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	var result demoResult
	err = a.running(ctx, e.config, func(ctx context.Context, at serve.Addresses) error {
		result, err = a.playDay(ctx, f, e.config, at, say, log)
		return err
	})
	if err != nil {
		return err
	}
	say.End()
	result.ElapsedMS = time.Since(begun).Milliseconds()
	return a.tell(result)
}

// demoFolder makes the fresh folder.
func (a commands) demoFolder(keep string) (remove func() error, err error) {
	if keep == "" {
		a.DataDir, err = os.MkdirTemp("", "spine-demo-")
		return func() error { return os.RemoveAll(a.DataDir) }, err
	}
	if err := os.MkdirAll(keep, 0o700); err != nil {
		return nil, fmt.Errorf("--keep: %w", err)
	}
	entries, err := os.ReadDir(keep)
	if err != nil {
		return nil, fmt.Errorf("--keep: %w", err)
	}
	if len(entries) > 0 {
		return nil, cli.Usage("--keep %s: the folder is not empty", keep)
	}
	a.DataDir, err = filepath.Abs(keep)
	return func() error { return nil }, err
}

// running runs every role while fn works, and ends them when it returns.
func (a commands) running(ctx context.Context, l *config.Loaded, fn func(context.Context, serve.Addresses) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	roles, err := a.roles(nil)
	if err != nil {
		return err
	}
	ready, ended := make(chan serve.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- a.serve(ctx, l, roles, 20*time.Second, func(at serve.Addresses) { ready <- at })
	}()
	select {
	case err := <-ended:
		return errors.Join(errors.New("the roles ended while starting"), err)
	case at := <-ready:
		err := fn(ctx, at)
		stop()
		return errors.Join(err, <-ended)
	}
}

// playDay sends the day and counts what became of it.
func (a commands) playDay(ctx context.Context, f demoFlags, l *config.Loaded, at serve.Addresses, say *cli.Progress, log *slog.Logger) (demoResult, error) {
	calls, shops, err := a.day(f, l)
	if err != nil {
		return demoResult{}, err
	}
	say.Step(fmt.Sprintf("playing a day of about %d orders in %d shops, over HTTP at %s", f.orders, shops, at.Intake))
	report, err := play.Send(ctx, calls, play.Options{
		URL: "http://" + at.Intake, Rate: f.rate, Progress: func(sent int) { say.Count("deliveries sent", sent) },
	})
	if err != nil {
		return demoResult{}, fmt.Errorf("playing the day: %w", err)
	}
	say.Step("waiting until every group is done")
	if err := a.settle(ctx, l, say); err != nil {
		return demoResult{}, err
	}
	say.Step("checking the books, by id")
	log.DebugContext(ctx, "day is played", "sent", report.Sent)
	return a.demoResult(ctx, l, report)
}

// day joins the days of all adapters that have one.
func (a commands) day(f demoFlags, l *config.Loaded) (iter.Seq[producer.Call], int, error) {
	var days []iter.Seq[producer.Call]
	all := 0
	for _, adapter := range a.Fleet.Adapters {
		if adapter.Day.Calls == nil {
			continue
		}
		var shops []producer.Shop
		for _, in := range adapter.Day.Instances {
			secrets, err := l.Secrets(in.String())
			if err != nil || len(secrets) == 0 {
				return nil, 0, errors.Join(fmt.Errorf("no secret of %s", in), err)
			}
			shops = append(shops, producer.Shop{Instance: settings(l, in), Secret: secrets[0]})
		}
		all += len(shops)
		days = append(days, adapter.Day.Calls(f.seed, f.orders, shops))
	}
	if len(days) == 0 {
		return nil, 0, errors.New("no adapter of this binary plays a day")
	}
	return func(yield func(producer.Call) bool) {
		for _, day := range days {
			for call := range day {
				if !yield(call) {
					return
				}
			}
		}
	}, all, nil
}

func settings(l *config.Loaded, in event.Instance) event.Instance {
	return l.InstanceSettings()[in.String()]
}
