package databasetest

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy stands between the store and the server.
type Proxy struct {
	URL        string // of the database behind it
	listener   net.Listener
	LoseCommit atomic.Bool // the next commit is passed on, its answer is not
	mu         sync.Mutex
	conns      []net.Conn
}

// NewProxy makes one in front of a PostgreSQL server. It ends with the test.
func NewProxy(tb testing.TB, dsn string) *Proxy {
	tb.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	server := u.Host
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	u.Host = l.Addr().String()
	p := &Proxy{URL: u.String(), listener: l}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := new(net.Dialer).DialContext(tb.Context(), "tcp", server)
			if err != nil {
				_ = c.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, c, s)
			p.mu.Unlock()
			wg.Go(func() { p.pass(c, s) })
			wg.Go(func() { _, _ = io.Copy(c, s); _ = c.Close() })
		}
	})
	tb.Cleanup(func() { p.Stop(); wg.Wait() })
	return p
}

// pass hands on what the client says. When it commits and the answer is to be lost,
// the client's side is closed first.
func (p *Proxy) pass(client, server net.Conn) {
	defer server.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(bytes.ToLower(buf[:n]), []byte("commit")) && p.LoseCommit.CompareAndSwap(true, false) {
			_ = client.Close()
			_, _ = server.Write(buf[:n])
			_, _ = io.Copy(io.Discard, server) // until the server has answered and learns that nobody listens
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Stop cuts all connections and refuses new ones.
func (p *Proxy) Stop() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}
