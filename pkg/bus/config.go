// Package bus holds the Kafka clients: a producer that waits for all replicas, the
// admin client, and the member of a consumer group whose commits pass one guard.
//
// It knows nothing of events: records in, records out.
package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Config says how to reach the brokers.
type Config struct {
	Brokers  []string // host:port
	ClientID string   // "" = "spine"
	TLS      TLS
	SASL     SASL
	Dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil = TCP; not together with TLS
	Log      *slog.Logger                                                         // nil = what the client says is dropped
}

// TLS are PEM files. Any of them switches TLS on, as does On.
type TLS struct {
	On   bool   // TLS with the system's authorities
	CA   string // file of the authorities that sign the brokers; "" = the system's
	Cert string // file of the client's certificate, with Key
	Key  string
}

// SASL is how a client proves itself to the broker.
type SASL struct {
	Mechanism string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; "" = none
	User      string
	Password  string
}

// Options are the client options that every client of this configuration shares.
func (c Config) Options() ([]kgo.Opt, error) {
	if len(c.Brokers) == 0 {
		return nil, errors.New("kafka: no brokers are configured")
	}
	id := c.ClientID
	if id == "" {
		id = "spine"
	}
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID(id), kgo.WithLogger(logger{c.Log})}
	conf, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	switch {
	case conf != nil && c.Dial != nil:
		return nil, errors.New("kafka: TLS and a dialer of one's own exclude each other")
	case conf != nil:
		opts = append(opts, kgo.DialTLSConfig(conf))
	case c.Dial != nil:
		opts = append(opts, kgo.Dialer(c.Dial))
	}
	mechanism, err := c.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// NewAdmin is the admin client: topics, offsets, groups. Close it after use.
func NewAdmin(c Config) (*kadm.Client, error) {
	opts, err := c.Options()
	if err != nil {
		return nil, err
	}
	admin, err := kadm.NewOptClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka admin client: %w", err)
	}
	return admin, nil
}

func (t TLS) config() (*tls.Config, error) {
	if !t.On && t.CA == "" && t.Cert == "" && t.Key == "" {
		return nil, nil //nolint:nilnil // no TLS is no configuration
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka.tls.ca: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.cert and key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	auth := scram.Auth{User: s.User, Pass: s.Password}
	switch strings.ToUpper(s.Mechanism) {
	case "":
		return nil, nil //nolint:nilnil // no SASL is no mechanism
	case "PLAIN":
		return plain.Auth{User: s.User, Pass: s.Password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return auth.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return auth.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("kafka.sasl.mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism)
}

// logger hands the client's own words on: warnings and errors only, because the
// client repeats itself on every metadata update.
type logger struct{ log *slog.Logger }

// Level is part of kgo.Logger.
func (l logger) Level() kgo.LogLevel {
	if l.log == nil {
		return kgo.LogLevelNone
	}
	return kgo.LogLevelWarn
}

// Log is part of kgo.Logger.
func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	if l.log == nil {
		return
	}
	if level == kgo.LogLevelError {
		l.log.Error("kafka client: "+msg, keyvals...) //nolint:sloglint // the client chooses its words
		return
	}
	l.log.Warn("kafka client: "+msg, keyvals...) //nolint:sloglint // the client chooses its words
}
