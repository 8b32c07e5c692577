package intake

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Serve answers HTTP on l until ctx ends, then finishes what is in flight, within
// the grace. Its limits keep slow and greedy senders from wearing it out. log may be
// nil.
func Serve(ctx context.Context, l net.Listener, h http.Handler, grace time.Duration, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(orDiscard(log).Handler(), slog.LevelDebug),
	}
	var idle unasked
	server.ConnState = idle.follow
	server.RegisterOnShutdown(idle.close)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	//nolint:contextcheck // ctx has ended: it is what starts the shutdown
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		// A client may hold a connection open without ever asking. Who was not answered
		// sends again.
		orDiscard(log).WarnContext(last, "cutting connections that did not end in time", "address", l.Addr().String(), "error", err)
		return server.Close()
	}
	return nil
}

// unasked are the connections on which nothing has been asked yet, such as those that
// a client or a health check opens in advance. Shutdown would wait for their first
// request.
type unasked struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	over  bool
}

func (u *unasked) follow(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(u.conns, c)
	case u.over:
		_ = c.Close() // nothing is lost: nothing was asked
	default:
		if u.conns == nil {
			u.conns = map[net.Conn]struct{}{}
		}
		u.conns[c] = struct{}{}
	}
}

func (u *unasked) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for c := range u.conns {
		_ = c.Close() // as above
	}
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
