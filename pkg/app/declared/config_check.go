package declared

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/once"
)

// checked is what config check says of one part.
type checked struct {
	Part    string `json:"part"`
	OK      bool   `json:"ok"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
}

func (a commands) newConfigCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Check the configuration, and try each part that it names", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.Load(nil)
			if err != nil {
				return err
			}
			all := a.checkParts(cmd.Context(), l)
			if err := a.Print(all, func(w *cli.Table) {
				w.Row("PART", "STATE", "SAYS", "WHAT TO DO")
				for _, c := range all {
					state := "ok"
					if !c.OK {
						state = "FAILED"
					}
					w.Row(c.Part, state, c.Message, c.Remedy)
				}
			}); err != nil {
				return err
			}
			if slices.ContainsFunc(all, func(c checked) bool { return !c.OK }) {
				return &cli.ExitError{Code: cli.ExitFailure}
			}
			return nil
		},
	}
}

func (a commands) checkParts(ctx context.Context, l *config.Loaded) []checked {
	var all []checked
	try := func(part, says, remedy string, fn func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		c := checked{Part: part, OK: true, Message: says}
		if err := fn(ctx); err != nil {
			c = checked{Part: part, Message: strings.ReplaceAll(err.Error(), "\n", "; "), Remedy: remedy}
		}
		all = append(all, c)
	}
	try("broker", strings.Join(l.Kafka.Brokers, ","), "start Kafka, or correct kafka.brokers, kafka.tls and kafka.sasl",
		func(ctx context.Context) error { return pingKafka(ctx, l) })
	try("registry", l.Registry.URL, "start the registry, or correct registry.url",
		func(ctx context.Context) error { return pingRegistry(ctx, l) })
	for _, name := range a.Fleet.GroupNames() {
		own := config.Database{}
		if g := l.Groups[name]; g != nil {
			own = g.Database
		}
		if own.URL == "" && name != cli.Translate {
			continue // the common one is tried as translate's
		}
		part, db := "database", l.Database
		if own.URL != "" {
			part, db = "database of "+name, own
		}
		try(part, config.HidePassword(db.URL), "start the database, or correct "+part+".url", func(ctx context.Context) error { return pingDatabase(ctx, l, db) })
	}
	for _, name := range slices.Sorted(maps.Keys(l.Instances)) {
		try("secret of "+name, string(l.Instances[name].Secret), "set the environment variable or write the file", func(context.Context) error {
			secrets, err := l.Secrets(name)
			if err == nil && len(secrets) == 0 {
				return errors.New("no secret is configured: every delivery is refused")
			}
			return err
		})
	}
	if l.Alarms.Webhook != "" { // no call: a message would alarm people
		try("webhook of alarms", string(l.Alarms.Webhook), "correct the URL that alarms.webhook refers to, or let this machine reach it",
			func(ctx context.Context) error { return dialWebhook(ctx, l) })
	}
	for _, name := range slices.Sorted(maps.Keys(l.Groups)) {
		for what, address := range outside(l.Groups[name].Own) {
			try(what+" of "+name, address, "start it, or correct groups."+name, func(ctx context.Context) error { return dial(ctx, address) })
		}
	}
	return all
}

// outside are the servers that a group's configuration says it talks to.
func outside(own any) map[string]string {
	if o, ok := own.(interface{ Servers() map[string]string }); ok {
		return o.Servers()
	}
	return nil
}

func dial(ctx context.Context, address string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// dialWebhook reaches the server of the webhook. Its URL is a secret: no error names it.
func dialWebhook(ctx context.Context, l *config.Loaded) error {
	text, err := l.Resolve(l.Alarms.Webhook)
	if err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("it is no http:// or https:// URL")
	}
	port := u.Port()
	if port == "" {
		port = u.Scheme // dial knows both
	}
	return dial(ctx, net.JoinHostPort(u.Hostname(), port))
}

func pingKafka(ctx context.Context, l *config.Loaded) error {
	admin, err := cli.Admin(l)
	if err != nil {
		return err
	}
	defer admin.Close()
	if _, err := admin.BrokerMetadata(ctx); err != nil {
		return fmt.Errorf("no broker answers: %w", err)
	}
	return nil
}

func pingRegistry(ctx context.Context, l *config.Loaded) error {
	client, err := cli.RegistryClient(l)
	if err != nil {
		return err
	}
	if _, err := client.SupportedTypes(ctx); err != nil {
		return fmt.Errorf("it does not answer: %w", err)
	}
	return nil
}

func pingDatabase(ctx context.Context, l *config.Loaded, d config.Database) error {
	url, err := l.ResolveText(d.URL)
	if err != nil {
		return err
	}
	db, err := once.Open(ctx, once.Options{URL: url, MaxConnections: 2, Existing: true})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, once.ErrOlder) {
		return nil // it, or its tables, are made when a role starts: a check changes nothing
	}
	if err != nil {
		return err
	}
	return errors.Join(db.Ping(ctx), db.Close())
}
