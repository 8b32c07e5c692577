// Package devstack is the set of parts that Spine needs, embedded for one machine
// with nothing to install: a broker that speaks the Kafka protocol (franz-go's
// kfake, with a data folder and synced writes) and a Confluent-compatible schema
// registry. They listen on loopback only.
//
// It is right for trying, developing and testing. It is not a store for data that
// matters: killed at the wrong moment, the broker can repeat a record that a
// producer sends again, and it keeps one copy on one disk. So it works without
// transactions, compaction and expiry, refuses requests for them, and locks its
// folder. Whoever keeps real data runs Apache Kafka; the same code runs on both.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Notice says what the embedded parts are for and what they are not for. It is
// logged where they start; commands print it too.
const Notice = "embedded broker and registry: for trying, developing and testing on this machine. " +
	"One copy on one disk, no transactions, no compaction, nothing expires; " +
	"keep data that matters in Apache Kafka (docker-compose.yml starts it)"

// Check compares a new schema with older ones under a compatibility level of the
// registry (BACKWARD, FORWARD, FULL or one of these with _TRANSITIVE, never NONE)
// and returns every reason against it; none = compatible. Texts are Avro schemas.
type Check func(level string, newText string, oldTexts []string) []string

// Options say where the parts live and listen.
type Options struct {
	// Dir is the data folder, made if missing, held by one process at a time: another
	// one gets a *HeldError. Empty = in memory, gone on Close.
	Dir string
	// KafkaAddr and RegistryAddr are host:port with a loopback host; port 0 picks a
	// free one. Empty = 127.0.0.1:0.
	KafkaAddr, RegistryAddr string
	// Check decides about compatibility. nil = the registry takes any valid schema.
	Check Check
	Log   *slog.Logger // nil = silent
}

// Stack is a running set of embedded parts.
type Stack struct {
	cluster  *kfake.Cluster
	brokers  []string
	server   *http.Server
	registry string
	lock     *folderLock
	served   chan error
}

// Start starts the embedded parts and returns when they accept connections. ctx
// bounds the start only; Close ends them.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Stack{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the data folder: %w", err)
		}
		if s.lock, err = lockFolder(o.Dir); err != nil {
			return nil, err
		}
	}
	if err := s.startBroker(ctx, o); err != nil {
		return nil, err
	}
	if err := s.startRegistry(ctx, o); err != nil {
		return nil, err
	}
	o.Log.InfoContext(ctx, Notice, "kafka", s.brokers[0], "registry", s.registry, "data", o.Dir)
	return s, nil
}

// Brokers are the bootstrap addresses, host:port.
func (s *Stack) Brokers() []string { return append([]string(nil), s.brokers...) }

// RegistryURL is the base address of the schema registry.
func (s *Stack) RegistryURL() string { return s.registry }

// Cluster is the broker itself, for tests that inject faults into it.
func (s *Stack) Cluster() *kfake.Cluster { return s.cluster }

// Close stops the parts, writes what they hold to the data folder and frees it.
// A second Close does nothing.
func (s *Stack) Close() error {
	var errs []error
	if s.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) //nolint:forbidigo // Close must end, whatever became of the caller's context
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			// A client may hold a connection open without ever asking: it is cut, and no
			// error. What was answered is on disk.
			errs = append(errs, s.server.Close())
		}
		if err := <-s.served; err != nil {
			errs = append(errs, fmt.Errorf("serving the registry: %w", err))
		}
		s.server = nil
	}
	if s.cluster != nil {
		s.cluster.Close() // repeatable
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
		s.lock = nil
	}
	return errors.Join(errs...)
}

func (s *Stack) startRegistry(ctx context.Context, o Options) error {
	path := ""
	if o.Dir != "" {
		path = filepath.Join(o.Dir, "registry.json")
	}
	reg, err := openRegistry(path, o.Check)
	if err != nil {
		return err
	}
	ln, err := listen(ctx, "the schema registry", o.RegistryAddr)
	if err != nil {
		return err
	}
	s.registry = "http://" + ln.Addr().String()
	s.server = &http.Server{
		Handler:           registryHandler(reg, o.Log),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
	}
	s.served = make(chan error, 1)
	server, served := s.server, s.served
	go func() {
		err := server.Serve(ln)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		served <- err
	}()
	return nil
}

// listen opens a loopback address and says what to do when it is taken.
func listen(ctx context.Context, what, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address of %s: %w", what, err)
	}
	if host == "" || host == "localhost" {
		host = "127.0.0.1"
	}
	// The embedded parts know no users: nobody else may reach them.
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("address of %s: %s is not a loopback address, such as 127.0.0.1", what, host)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("listening for %s (port 0 picks a free one): %w", what, err)
	}
	return ln, nil
}
