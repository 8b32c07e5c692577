package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/app"
	"github.com/eventspine/spine/pkg/producer"
)

// running is a command line at work in this process.
type running struct {
	cancel context.CancelFunc
	ended  chan struct{} // is closed when it has ended
	code   int           // then
}

// stop ends it as SIGTERM does.
func (r *running) stop() {
	r.cancel()
	<-r.ended
}

// live runs a command line that stays up, in this process, until the test ends. It is
// ready when live returns.
func (p *place) live(t *testing.T, args ...string) *running {
	t.Helper()
	r := p.run(t, args...)
	eventually(t, time.Minute, "starting", func(ctx context.Context) error {
		select {
		case <-r.ended:
			t.Fatalf("spine %s ended with exit code %d", strings.Join(args, " "), r.code)
		default:
		}
		return ready(p.ops)(ctx)
	})
	return r
}

// run is live for what may not get ready.
func (p *place) run(t *testing.T, args ...string) *running {
	t.Helper()
	log, err := os.CreateTemp(p.dir, "live-*.log")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // outlives the test's own: it ends in the cleanup
	r := &running{cancel: cancel, ended: make(chan struct{})}
	fleet := fleetOfMain()
	if p.adapters != nil {
		fleet.Adapters = p.adapters
	}
	go func() {
		defer close(r.ended)
		r.code = app.Run(ctx, fleet, app.Process{
			Args: args, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: log, Env: map[string]string{},
		})
	}()
	t.Cleanup(func() {
		r.stop()
		if text, err := os.ReadFile(log.Name()); (t.Failed() || r.code != 0) && err == nil {
			t.Logf("spine %s said:\n%s", strings.Join(args, " "), text)
		}
		if err := log.Close(); err != nil || r.code != 0 {
			t.Errorf("spine %s: exit code %d, want 0 (%v)", args[0], r.code, err)
		}
	})
	return r
}

// answer is what the intake said.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request as it is.
func (p *place) send(t *testing.T, method, path string, header http.Header, body []byte) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.intake+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// call sends a call of a day, or one that signed made.
func (p *place) call(t *testing.T, c producer.Call) answer {
	t.Helper()
	return p.send(t, http.MethodPost, "/webhooks/"+c.Instance, c.Header.Clone(), c.Body)
}

// signed is a webhook as Shopify sends it for a shop.
func signed(s producer.Shop, topic string, body []byte) producer.Call {
	h := http.Header{}
	for name, value := range map[string]string{
		"X-Shopify-Topic": topic, "X-Shopify-Shop-Domain": s.Instance.ShopDomain, "X-Shopify-API-Version": "2026-07",
		"X-Shopify-Webhook-Id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", "X-Shopify-Triggered-At": "2026-08-01T10:00:00.123456789Z",
		"X-Shopify-Hmac-Sha256": producer.SignHMACSHA256(s.Secret, body, producer.Base64), "Content-Type": "application/json",
	} {
		h.Set(name, value)
	}
	return producer.Call{Instance: s.Instance.String(), Header: h, Body: body, Expect: http.StatusOK}
}

// metric sums the samples of a metric whose labels contain all of these.
func (p *place) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	sum := 0.0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		sample, value, _ := strings.Cut(lines.Text(), "} ")
		if !strings.HasPrefix(sample, name+"{") || !containsAll(sample, labels) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		sum += n
	}
	return sum
}

func containsAll(s string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}

// fixture reads a real payload, where the folder of fixtures is beside the checkout.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above the test")
		}
		root = filepath.Dir(root)
	}
	file := filepath.Join(root, "..", "shared", "fixtures", name)
	body, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("needs the real payload %s", file)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("reading a real payload: %w", err))
	}
	return body
}
