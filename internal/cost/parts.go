package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/bus"
	"github.com/eventspine/spine/pkg/devstack"
	"github.com/eventspine/spine/pkg/wire"
)

// partsCommand makes this program the process of broker and registry, whose cost is
// not to be counted.
const partsCommand = "serve-parts"

func serveParts(ctx context.Context) error {
	stack, err := devstack.Start(ctx, devstack.Options{})
	if err != nil {
		return err
	}
	fmt.Println(stack.Brokers()[0], stack.RegistryURL())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent ends
	return stack.Close()
}

// parts are what is measured on: broker and registry in a process of their own, and
// a folder for SQLite files.
type parts struct {
	kafka    bus.Config
	registry *sr.Client
	admin    *kadm.Client
	producer *bus.Producer
	codec    *wire.Codec // of all runs: what it learns of a schema, it learns once
	dir      string
	stop     func()
}

func startParts(ctx context.Context) (*parts, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(context.WithoutCancel(ctx), self, partsCommand) //nolint:gosec // this program; it ends with its standard input
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	broker, registry, ok := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || !ok {
		return nil, fmt.Errorf("starting broker and registry: %w", errors.Join(err, in.Close(), child.Wait()))
	}
	p := &parts{kafka: bus.Config{Brokers: []string{broker}}}
	if p.dir, err = os.MkdirTemp("", "spine-cost-"); err != nil {
		return nil, err
	}
	if p.registry, err = sr.NewClient(sr.URLs(registry), sr.HTTPClient(&http.Client{Timeout: 10 * time.Second})); err != nil {
		return nil, err
	}
	p.codec = wire.NewCodec(wire.NewRegistry(p.registry))
	if p.admin, err = bus.NewAdmin(p.kafka); err != nil {
		return nil, err
	}
	if p.producer, err = bus.NewProducer(p.kafka); err != nil {
		return nil, err
	}
	p.stop = func() {
		p.producer.Close()
		p.admin.Close()
		_ = in.Close()
		_ = child.Wait()
		_ = os.RemoveAll(p.dir)
	}
	return p, nil
}

func (p *parts) topic(ctx context.Context, partitions int32) (string, error) {
	name := unique("topic")
	made, err := p.admin.CreateTopics(ctx, partitions, 1, nil, name)
	if err == nil {
		err = made.Error()
	}
	return name, err
}

// drop gives the memory of a topic back to the broker.
func (p *parts) drop(ctx context.Context, topic string) error {
	_, err := p.admin.DeleteTopics(ctx, topic)
	return err
}

func unique(prefix string) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never answers an error
	return prefix + "-" + hex.EncodeToString(b[:])
}

// database makes an empty database and what removes it: a schema of PostgreSQL, or a
// file of SQLite if base is empty.
func (p *parts) database(ctx context.Context, base string) (string, func() error, error) {
	if base == "" {
		dir, err := os.MkdirTemp(p.dir, "db-")
		return "sqlite:" + filepath.Join(dir, "spine.db"), func() error { return os.RemoveAll(dir) }, err
	}
	u, err := url.Parse(base)
	if err != nil {
		return "", nil, fmt.Errorf("url of PostgreSQL: %w", err)
	}
	name := strings.ReplaceAll(unique("cost"), "-", "_")
	schema := pgx.Identifier{name}.Sanitize()
	if err := execute(ctx, base, "CREATE SCHEMA "+schema); err != nil {
		return "", nil, err
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String(), func() error {
		return execute(context.WithoutCancel(ctx), base, "DROP SCHEMA "+schema+" CASCADE")
	}, nil
}

func execute(ctx context.Context, url, statement string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}
