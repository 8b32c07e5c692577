package stage

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/serve"
	"github.com/eventspine/spine/pkg/devstack"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/topic"
)

// embedded is a running set of embedded parts, and the configuration that uses them.
type embedded struct {
	*devstack.Stack
	config *config.Loaded
	demo   bool // the configuration names no instance: these are demo shops
}

// listeners are the addresses of embedded parts and roles.
type listeners struct{ kafka, registry, intake, ops string }

func (l listeners) complete() listeners {
	for _, address := range []*string{&l.kafka, &l.registry, &l.intake, &l.ops} {
		if strings.HasPrefix(*address, ":") {
			*address = "127.0.0.1" + *address
		}
	}
	return l
}

// startEmbedded starts the embedded parts under the data folder, creates the topics
// and registers the schemas.
func (a commands) startEmbedded(ctx context.Context, at listeners, log *slog.Logger) (_ *embedded, err error) {
	at = at.complete()
	stack, err := devstack.Start(ctx, devstack.Options{
		Dir: filepath.Join(a.DataDir, "parts"), KafkaAddr: at.kafka, RegistryAddr: at.registry, Check: compatible, Log: log,
	})
	if err != nil {
		return nil, err
	}
	e := &embedded{Stack: stack}
	defer func() {
		if err != nil {
			err = errors.Join(err, stack.Close())
		}
	}()
	a.Brokers, a.Registry = strings.Join(stack.Brokers(), ","), stack.RegistryURL()
	if e.config, e.demo, err = a.loadDemo(at); err != nil {
		return nil, err
	}
	// The configuration may name production's parts: these are others.
	e.config.Kafka, e.config.Registry = config.Kafka{Brokers: stack.Brokers()}, config.Registry{URL: stack.RegistryURL()}
	return e, a.prepare(ctx, e.config)
}

// compatible is our checker in the form that the embedded registry asks for.
func compatible(level, newText string, olds []string) []string {
	found, err := schema.CompatibleAt(level, olds, newText)
	if err != nil {
		return []string{err.Error()}
	}
	reasons := make([]string, len(found))
	for i, f := range found {
		reasons[i] = f.String()
	}
	return reasons
}

// prepare creates the topics and registers the schemas.
func (a commands) prepare(ctx context.Context, l *config.Loaded) error {
	facts, topics, err := a.Fleet.Contracts()
	if err != nil {
		return err
	}
	admin, err := cli.Admin(l)
	if err != nil {
		return err
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(ctx, cli.Timeout)
	defer cancel()
	plan, err := topic.MakePlan(ctx, admin, topics.All(a.Fleet.Systems(), a.Fleet.GroupNames()), topic.Options{})
	if err != nil {
		return err
	}
	if err := topic.Apply(ctx, admin, plan); err != nil {
		return err
	}
	registry, err := cli.RegistryClient(l)
	if err != nil {
		return err
	}
	_, err = schema.Register(ctx, registry, facts)
	return err
}

// loadDemo is load, with database and spool in the data folder unless a flag names
// another: those of the configuration may be production's. Where it names no instance,
// the demo shops of the adapters stand in, with a secret of their own.
func (a commands) loadDemo(at listeners) (*config.Loaded, bool, error) {
	own := config.Default(a.DataDir)
	flags := map[string]string{
		"intake.listen": at.intake, "ops.listen": at.ops, "intake.spool": own.Intake.Spool, "database.url": cmp.Or(a.Database, own.Database.URL),
	}
	l, demo, err := a.LoadDemo(flags)
	if demo && err == nil {
		err = keepSecret(filepath.Join(a.DataDir, cli.DemoSecretFile))
	}
	return l, demo, err
}

// keepSecret makes a random secret that stays with the data folder, unless it is there.
func keepSecret(file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Errorf("making a demo secret: %w", err)
	}
	if err := os.WriteFile(file, []byte(hex.EncodeToString(b[:])+"\n"), 0o600); err != nil {
		return fmt.Errorf("keeping the demo secret: %w", err)
	}
	return nil
}

func (a commands) newDevCmd() *cobra.Command {
	var at listeners
	var reset bool
	var yes bool
	var shutdown time.Duration
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: embedded broker, registry, database, all roles; stays up",
		Long: "Run everything on this machine: embedded broker, registry and database under --data, and all roles.\n" +
			"One line of JSON on stdout says when it is ready and where it listens.\n\n" + devstack.Notice + ".",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reset {
				if err := a.reset(yes); err != nil {
					return err
				}
			}
			return a.dev(cmd.Context(), at, shutdown)
		},
	}
	f := cmd.Flags()
	f.StringVar(&at.kafka, "kafka", "127.0.0.1:9092", "address of the embedded broker; port 0 picks one")
	f.StringVar(&at.registry, "registry", "127.0.0.1:8081", "address of the embedded registry; port 0 picks one")
	f.StringVar(&at.intake, "intake", "", "address of the webhooks (default intake.listen, 127.0.0.1:8080)")
	f.StringVar(&at.ops, "ops", "", "address of health and metrics (default ops.listen, 127.0.0.1:8090)")
	f.BoolVar(&reset, "reset", false, "empty the data folder first")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	f.DurationVar(&shutdown, "shutdown-timeout", 20*time.Second, "time for what is in flight at the end")
	return cmd
}

func (a commands) dev(ctx context.Context, at listeners, shutdown time.Duration) (err error) {
	log, err := a.Logger()
	if err != nil {
		return err
	}
	e, err := a.startEmbedded(ctx, at, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	roles, err := a.roles(nil)
	if err != nil {
		return err
	}
	return a.serve(ctx, e.config, roles, shutdown, func(at serve.Addresses) {
		data, err := filepath.Abs(a.DataDir)
		if err != nil {
			data = a.DataDir
		}
		if e.demo {
			if err := a.howToSign(e, at, data); err != nil {
				log.WarnContext(ctx, "telling how to sign", "error", err)
			}
		}
		err = cli.WriteJSON(a.Stdout, devReady{
			Ready: true, Kafka: strings.Join(e.Brokers(), ","), Registry: e.RegistryURL(), Intake: "http://" + at.Intake,
			Ops: "http://" + at.Ops, Database: e.config.Database.URL, Data: data,
		})
		if err != nil {
			log.ErrorContext(ctx, "telling that the process is ready", "error", err)
		}
	})
}

// devReady is the line that dev prints when it is ready: a contract.
type devReady struct {
	Ready    bool   `json:"ready"`
	Kafka    string `json:"kafka"`
	Registry string `json:"registry"`
	Intake   string `json:"intake"`
	Ops      string `json:"ops"`
	Database string `json:"database"`
	Data     string `json:"data"`
}

// howToSign tells how to send a webhook to the demo shops, with a body to send.
func (a commands) howToSign(e *embedded, at serve.Addresses, data string) error {
	w := bufio.NewWriter(a.Stderr)
	for _, adapter := range a.Fleet.Adapters {
		if adapter.Day.HowToSign == "" {
			continue
		}
		for _, in := range adapter.Day.Instances {
			file := filepath.Join(data, "example-"+in.System+"-"+in.Name+".json")
			if err := example(file, adapter.Day, settings(e.config, in)); err != nil {
				return err
			}
			text := strings.NewReplacer("{url}", "http://"+at.Intake+"/webhooks/"+in.String(), "{domain}", in.ShopDomain,
				"{secret}", "$(cat "+filepath.Join(data, cli.DemoSecretFile)+")", "{file}", file).Replace(adapter.Day.HowToSign)
			fmt.Fprintf(w, "To send an order of the demo shop %s:\n%s\n", in, text)
		}
	}
	return w.Flush()
}

// example writes the body of the first call of a shop's day, unless it is there.
func example(file string, day producer.Day, in event.Instance) error {
	if _, err := os.Stat(file); err == nil || day.Calls == nil {
		return nil
	}
	for call := range day.Calls(1, 1, []producer.Shop{{Instance: in}}) {
		if err := os.WriteFile(file, call.Body, 0o600); err != nil {
			return fmt.Errorf("writing an example: %w", err)
		}
		break
	}
	return nil
}

// reset empties the data folder, if it is one of ours.
func (a commands) reset(yes bool) error {
	entries, err := os.ReadDir(a.DataDir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("resetting: %w", err)
	}
	if _, err := os.Stat(filepath.Join(a.DataDir, "parts")); err != nil {
		return cli.Refused("%s is no data folder of spine dev: it has no folder parts", a.DataDir)
	}
	if err := a.Confirm(yes, "delete everything under "+a.DataDir); err != nil {
		return err
	}
	release, err := devstack.Hold(filepath.Join(a.DataDir, "parts"))
	if err != nil {
		return err
	}
	defer release() //nolint:errcheck // the folder is going away
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(a.DataDir, entry.Name())); err != nil {
			return fmt.Errorf("resetting: %w", err)
		}
	}
	return nil
}
