// Package cli is what all commands share: the fleet, the flags, the configuration,
// what is printed and how a command ends.
package cli

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/telemetry"
)

// Process is what a command line runs in, so that tests can run one.
type Process struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            map[string]string
}

// CLI is one command line at work: the values of the flags that all commands have.
type CLI struct {
	Process
	Fleet Fleet

	ConfigFile string
	Output     string
	NoColor    bool
	LogLevel   string
	LogFormat  string
	Quiet      bool // nobody asked for logs: what matters stands in the output
	DataDir    string
	Brokers    string
	Registry   string
	Database   string
	Instances  map[string]config.Instance // where the configuration names none

	// Running is the configuration that roles of this process run with; nil = none run.
	// It is not read anew: groups look at their part of it while they work.
	Running *config.Loaded
}

// Load reads the configuration; more are values set by flags of the command.
func (a *CLI) Load(more map[string]string) (*config.Loaded, error) {
	if a.Running != nil {
		return a.Running, nil
	}
	flags := map[string]string{}
	for path, value := range map[string]string{"kafka.brokers": a.Brokers, "registry.url": a.Registry, "database.url": a.Database} {
		if value != "" {
			flags[path] = value
		}
	}
	for path, value := range more {
		if value != "" {
			flags[path] = value
		}
	}
	groups := map[string]any{}
	for _, g := range a.Fleet.Groups {
		groups[g.Name] = g.Config
	}
	return config.Load(config.Source{
		File: a.ConfigFile, Env: a.Env, Flags: flags, DataDir: a.DataDir, Groups: groups, Instances: a.Instances, Systems: a.Fleet.Systems(),
	})
}

// LoadDemo is Load, but where the configuration names no instance the demo shops of the
// adapters stand in, and the groups prepare for them, as in spine dev: demo = they do.
func (a *CLI) LoadDemo(more map[string]string) (l *config.Loaded, demo bool, err error) {
	l, err = a.Load(more)
	if err != nil || len(l.Instances) > 0 {
		return l, false, err
	}
	a.prepareDemo()
	l, err = a.Load(more)
	return l, true, err
}

// DemoSecretFile holds the secret of the demo shops, in the data folder.
const DemoSecretFile = "demo-secret"

func (a *CLI) prepareDemo() {
	secret := config.Secret("file:" + filepath.Join(a.DataDir, DemoSecretFile))
	a.Instances = map[string]config.Instance{}
	for _, adapter := range a.Fleet.Adapters {
		for _, in := range adapter.Day.Instances {
			a.Instances[in.String()] = demoInstance(in, secret)
		}
		for _, g := range a.Fleet.Groups {
			if demo, ok := g.Config.(interface {
				Demo(shops []event.Instance, skus []string)
			}); ok && len(adapter.Day.Instances) > 0 {
				demo.Demo(adapter.Day.Instances, adapter.Day.SKUs)
			}
		}
	}
}

func demoInstance(in event.Instance, secret config.Secret) config.Instance {
	return config.Instance{
		Secret: secret, BaseCurrency: in.BaseCurrency, TimeZone: in.TimeZone, LegalEntity: in.LegalEntity, Warehouses: in.Warehouses,
		ShopDomain: in.ShopDomain, TaxPolicy: in.TaxPolicy, Calendar: in.Calendar, PaymentDays: in.PaymentDays, V1Shipping: in.V1Shipping,
	}
}

// Logger writes to stderr: data is for stdout.
func (a *CLI) Logger() (*slog.Logger, error) {
	if a.Quiet {
		return slog.New(slog.DiscardHandler), nil
	}
	log, err := telemetry.NewLog(a.Stderr, a.LogFormat, a.LogLevel)
	if err != nil {
		return nil, Usage("%w", err)
	}
	return log, nil
}

// Help shows what a command can do.
func Help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// Plural makes a noun work in singular and plural.
func Plural(cmd *cobra.Command, other string) *cobra.Command {
	cmd.Aliases = append(cmd.Aliases, other)
	return cmd
}

// AtLeast wants n words or more.
func AtLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, words []string) error {
		if len(words) < n {
			return fmt.Errorf("want %s", what)
		}
		return nil
	}
}
