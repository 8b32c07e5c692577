package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/wire"
)

// Kafka is the client configuration, its password resolved.
func Kafka(l *config.Loaded) (bus.Config, error) {
	password, err := l.Resolve(l.Kafka.SASL.Password)
	if err != nil {
		return bus.Config{}, fmt.Errorf("kafka.sasl.password: %w", err)
	}
	return bus.Config{
		Brokers: l.Kafka.Brokers,
		TLS:     bus.TLS{CA: l.Kafka.TLS.CA, Cert: l.Kafka.TLS.Cert, Key: l.Kafka.TLS.Key},
		SASL:    bus.SASL{Mechanism: l.Kafka.SASL.Mechanism, User: l.Kafka.SASL.User, Password: password},
	}, nil
}

// Admin is an administrator of the configured cluster.
func Admin(l *config.Loaded) (*kadm.Client, error) {
	conf, err := Kafka(l)
	if err != nil {
		return nil, err
	}
	return bus.NewAdmin(conf)
}

// Client are the options of a client of the configured cluster.
func Client(l *config.Loaded) ([]kgo.Opt, error) {
	conf, err := Kafka(l)
	if err != nil {
		return nil, err
	}
	return conf.Options()
}

// Codec reads and writes events with the schemas of the configured registry.
func Codec(l *config.Loaded) (*wire.Codec, error) {
	registry, err := RegistryClient(l)
	if err != nil {
		return nil, err
	}
	return wire.NewCodec(wire.NewRegistry(registry)), nil
}

// RunOptions are what the configuration says of the run of a group; what it doesn't say
// is the engine's default.
func RunOptions(c config.Config, group consumer.Group) dispatch.Options {
	o := dispatch.Options{Group: group, Instances: c.InstanceSettings()}
	if set := c.Groups[group.Name]; set != nil {
		o.Concurrency, o.Batch, o.AtLeastOnce, o.Deadline, o.Protocol = set.Concurrency, set.Batch, set.AtLeastOnce, set.Deadline, set.Protocol
		o.Retry, o.Release, o.WaitingRoom = dispatch.Retry{Attempts: set.Attempts}, set.OnExhausted == "release", int64(set.WaitingRoom)
	}
	return o
}

// RegistryClient is the client of the schema registry.
func RegistryClient(l *config.Loaded) (*sr.Client, error) {
	opts := []sr.ClientOpt{sr.URLs(l.Registry.URL)}
	if l.Registry.User != "" {
		password, err := l.Resolve(l.Registry.Password)
		if err != nil {
			return nil, fmt.Errorf("registry.password: %w", err)
		}
		opts = append(opts, sr.BasicAuth(l.Registry.User, password))
	}
	client := &http.Client{Timeout: 10 * time.Second}
	if l.Registry.CA != "" {
		pem, err := os.ReadFile(l.Registry.CA)
		if err != nil {
			return nil, fmt.Errorf("registry.ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("registry.ca: %s holds no PEM certificate", l.Registry.CA)
		}
		client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, Proxy: http.ProxyFromEnvironment}
	}
	opts = append(opts, sr.HTTPClient(client))
	cl, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("schema registry: %w", err)
	}
	return cl, nil
}

// WithAdmin gives fn an admin client of the configured cluster.
func (a *CLI) WithAdmin(ctx context.Context, fn func(context.Context, *config.Loaded, *kadm.Client) error) error {
	l, err := a.Load(nil)
	if err != nil {
		return err
	}
	admin, err := Admin(l)
	if err != nil {
		return err
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	return fn(ctx, l, admin)
}

// Timeout bounds commands that ask a broker or a registry once.
const Timeout = 30 * time.Second
