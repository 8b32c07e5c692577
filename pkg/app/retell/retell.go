// Package retell translates kept deliveries again after an adapter was fixed, shows
// what differs from what was published, and has the owners publish what is new: the
// form --system of spine replay.
package retell

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/topic"
	"github.com/eventspine/spine/pkg/translate"
	"github.com/eventspine/spine/pkg/translate/again"
)

// Options say what is translated again. Those that spine replay -g has, too, are set
// by its flags.
type Options struct {
	System       string
	Instance     string // one of the system only; "" = all
	Since, Until time.Time
	Facts        []string // these only; nil = all
	Execute      bool
	Rate         float64  // facts a second; 0 = as fast as it goes
	Accept       []string // ids or fact types whose changed content is published
}

// Flags are those that only this form has.
func (o *Options) Flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.System, "system", "", "translate the kept deliveries of this system again")
	f.StringVar(&o.Instance, "instance", "", "with --system: deliveries of this instance only, such as uk")
	f.StringSliceVar(&o.Accept, "accept-changed", nil, "with --system: publish changed content under its old id, for these event ids or fact types")
}

// work is one run.
type work struct {
	*cli.CLI
	Options
	l        *config.Loaded
	client   []kgo.Opt
	topics   *topic.Set
	adapter  producer.Adapter
	db       *once.DB
	settings map[string]event.Instance // by "<system>/<name>"
	foreign  []string                  // instances of deliveries that have none
	fold     *again.Fold
	progress *cli.Progress
	asOf     time.Time // what was published after this may not be known
}

// Run previews, and with Execute publishes what is new.
func Run(ctx context.Context, c *cli.CLI, o Options) (err error) {
	w := &work{CLI: c, Options: o, progress: cli.NewProgress(c.Stderr, !c.People())}
	if err := w.check(); err != nil {
		return err
	}
	if w.l, _, err = c.LoadDemo(nil); err != nil {
		return err
	}
	dbs := cli.NewStores(w.l)
	defer func() { err = errors.Join(err, dbs.Close()) }()
	if w.db, err = dbs.Of(ctx, cli.Translate); err != nil {
		return err
	}
	if w.fold, err = w.newFold(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.fold.Close()) }()
	if err := w.read(ctx); err != nil {
		return err
	}
	r, err := w.result(ctx)
	if err != nil {
		return err
	}
	if o.Execute && len(w.foreign) == 0 {
		if err := w.publish(ctx, &r); err != nil {
			return err
		}
	}
	w.progress.End()
	if err := w.show(r); err != nil {
		return err
	}
	if len(w.foreign) > 0 {
		return cli.Refused("no settings of %s in this configuration: facts that depend on them differ; use that of the process that runs %s",
			strings.Join(w.foreign, ", "), cli.Translate)
	}
	return r.refusal()
}

func (w *work) check() error {
	i := slices.IndexFunc(w.Fleet.Adapters, func(a producer.Adapter) bool { return a.System == w.System })
	if i < 0 {
		return cli.Usage("no adapter for the system %q in this binary: there are %s", w.System, strings.Join(w.Fleet.Systems(), ", "))
	}
	w.adapter = w.Fleet.Adapters[i]
	if w.Since.IsZero() {
		return cli.Usage("want --since: deliveries received since then")
	}
	if !w.Until.IsZero() && !w.Until.After(w.Since) {
		return cli.Usage("--until: want a time after --since")
	}
	if w.Rate < 0 {
		return cli.Usage("--rate: want no negative number")
	}
	emits := w.emits()
	for _, name := range w.Facts {
		if !slices.Contains(emits, name) {
			return cli.Usage("--facts %s: the adapter of %s emits %s", name, w.System, strings.Join(emits, ", "))
		}
	}
	w.Instance = strings.TrimPrefix(w.Instance, w.System+"/")
	return nil
}

func (w *work) emits() (facts []string) {
	for _, o := range w.adapter.Objects {
		facts = append(facts, o.Emits...)
	}
	return facts
}

func (w *work) newFold(ctx context.Context) (_ *again.Fold, err error) {
	if w.client, err = cli.Client(w.l); err != nil {
		return nil, err
	}
	if _, w.topics, err = w.Fleet.Contracts(); err != nil {
		return nil, err
	}
	codec, err := cli.Codec(w.l)
	if err != nil {
		return nil, err
	}
	w.settings = w.l.InstanceSettings()
	group, err := translate.Group(translate.Options{
		Adapters: []producer.Adapter{w.adapter}, Instances: w.settings, Route: w.topics.Route,
	})
	if err != nil {
		return nil, err
	}
	return again.New(ctx, again.Options{
		Group: group, Codec: codec, Route: w.topics.Route, Fits: leaving.Fits,
	})
}

// wanted says whether deliveries of a source are.
func (w *work) wanted(source string) bool {
	return w.Instance == "" || source == w.System+"/"+w.Instance
}

// accepted says whether the changed content of a fact is to be published.
func (o Options) accepted(f again.Fact) bool {
	return slices.Contains(o.Accept, f.ID) || slices.Contains(o.Accept, f.Type)
}
