package main

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/once"
)

// postbox is a mail server that takes no mail until it is mended.
type postbox struct {
	mended atomic.Bool
	mails  atomic.Int64
}

func (p *postbox) NewSession(*smtp.Conn) (smtp.Session, error) { return p, nil }
func (p *postbox) Mail(string, *smtp.MailOptions) error        { return nil }
func (p *postbox) Reset()                                      {}
func (p *postbox) Logout() error                               { return nil }

func (p *postbox) Rcpt(string, *smtp.RcptOptions) error {
	if p.mended.Load() {
		return nil
	}
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "the disk is full"}
}

func (p *postbox) Data(r io.Reader) error {
	p.mails.Add(1)
	_, err := io.Copy(io.Discard, r)
	return err
}

func (p *postbox) serve(t *testing.T) (url string) {
	t.Helper()
	srv := smtp.NewServer(p)
	srv.Domain = "localhost"
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return "smtp://" + l.Addr().String()
}

// doubt makes failed calls of notifications unknown, as those of a group that asks a
// person are, until all of them are.
func (o operator) doubt() (stop func()) {
	o.t.Helper()
	db, err := once.Open(o.t.Context(), once.Options{URL: "sqlite:" + filepath.Join(o.d.Data, "spine.db"), Existing: true})
	if err != nil {
		o.t.Fatal(err)
	}
	ended, ticker := make(chan struct{}), time.NewTicker(50*time.Millisecond)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
			err := db.Write(o.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, `UPDATE spine_effects SET state = 'unknown' WHERE state = 'pending' AND attempts > 0`)
				return err
			})
			if err != nil {
				o.t.Error(err)
			}
		}
	})
	return func() {
		close(ended)
		wg.Wait()
		ticker.Stop()
		if err := db.Close(); err != nil {
			o.t.Error(err)
		}
	}
}

// TestOperator_effects looks at mails of which nobody knows what became, has one sent after all, and
// gives another one up.
func TestOperator_effects(t *testing.T) {
	long(t)
	t.Parallel()
	post := &postbox{}
	o := operator{t, startDev(t, t.TempDir(), "SPINE_GROUPS_NOTIFICATIONS_MAIL="+post.serve(t))}
	stop := o.doubt()
	playOrders(t, o.d)
	stop()
	waits := o.parked("notifications")
	if len(waits.Effects) < 2 || len(waits.Keys) != 0 {
		t.Fatalf("what waits: %+v", waits)
	}
	first, second := waits.Effects[0], waits.Effects[1]
	if first.State != "unknown" || first.Name != "mail" || first.Attempts < 1 || !strings.Contains(first.Reason, "the disk is full") {
		t.Errorf("a mail of which nobody knows: %+v", first)
	}
	o.same("what the audit says before", effectBooks{Done: 0, Unknown: len(waits.Effects)}, o.effectBooks())
	if text, _ := o.spine(0, "audit"); !strings.Contains(text, "a person decides") || !strings.Contains(text, "the books balance") {
		t.Errorf("the audit for people: %s", text)
	}
	if text, _ := o.spine(0, "parked", "list"); !strings.Contains(text, first.Effect+" ") {
		t.Errorf("what waits, for people: %s", text)
	}
	o.showEffect(first.Effect)
	for _, wrong := range [][]string{{"e999"}, {"enough"}, {"e0"}, {first.Effect, "1"}, {"1", first.Effect}} {
		o.spine(2, append([]string{"parked", "retry", "-g", "notifications"}, wrong...)...)
	}

	post.mended.Store(true)
	var done []struct{ Effect, Key, Result string }
	o.read(&done, "parked", "retry", first.Effect, "-g", "notifications")
	if len(done) != 1 || done[0].Effect != first.Effect || done[0].Key != first.Key || done[0].Result != "done" {
		t.Errorf("asked to be called again: %+v", done)
	}
	devtest.Eventually(t, 30*time.Second, "it is sent", func() bool { return o.effectBooks().Done == 1 })
	if _, said := o.spine(4, "parked", "drop", second.Effect, "-g", "notifications"); !strings.Contains(said, second.Key) || !strings.Contains(said, "--yes") {
		t.Errorf("what would be given up: %s", said)
	}
	o.read(&done, "parked", "drop", second.Effect, "-g", "notifications", "--yes")
	o.same("given up", "done", done[0].Result)
	o.read(&done, "parked", "retry", first.Effect, second.Effect, "-g", "notifications")
	o.same("what has ended stays so", []string{"gone", "gone"}, []string{done[0].Result, done[1].Result})
	o.same("what the audit says after", effectBooks{Done: 1, Dropped: 1, Unknown: len(waits.Effects) - 2}, o.effectBooks())
	o.same("mails", int64(1), post.mails.Load())
	o.same("what waits", len(waits.Effects)-2, len(o.parked("notifications").Effects))
}

type effectBooks struct{ Done, Open, Unknown, Dropped int }

// effectBooks are what a balanced audit says of the effects of notifications.
func (o operator) effectBooks() effectBooks {
	o.t.Helper()
	var books struct {
		Balanced bool
		Effects  []struct {
			Group string
			effectBooks
		}
	}
	o.read(&books, "audit", "-g", "notifications")
	if !books.Balanced || len(books.Effects) != 1 || books.Effects[0].Group != "notifications" {
		o.t.Fatalf("the books: %+v", books)
	}
	return books.Effects[0].effectBooks
}

// showEffect: its arguments are personal data, for all that anybody knows.
func (o operator) showEffect(effect string) {
	o.t.Helper()
	var shown struct {
		Effect, State string
		Causation     string `json:"causation_id"`
		Args          any
	}
	o.read(&shown, "parked", "show", effect, "-g", "notifications")
	if shown.Effect != effect || shown.State != "unknown" || shown.Causation == "" || shown.Args != "***" {
		o.t.Errorf("shown: %+v", shown)
	}
	text, _ := o.spine(0, "parked", "show", effect, "-g", "notifications")
	if !strings.Contains(text, "arguments: \"***\"") || strings.Contains(text, "@") {
		o.t.Errorf("shown to people: %s", text)
	}
	o.read(&shown, "parked", "show", effect, "-g", "notifications", "--unmask")
	if _, open := shown.Args.(map[string]any); !open {
		o.t.Errorf("unmasked: %v", shown.Args)
	}
}
