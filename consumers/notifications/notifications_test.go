package notifications_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/consumers/internal/grouptest"
	"github.com/eventspine/spine/consumers/notifications"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/notification"
	"github.com/eventspine/spine/schemas/order"
)

var update = flag.Bool("update", false, "write the golden files")

var later = time.Date(2026, 3, 30, 9, 0, 0, 0, time.UTC)

func config(t *testing.T, g consumer.Group) *notifications.Config {
	t.Helper()
	cfg, ok := g.Config.(*notifications.Config)
	if !ok {
		t.Fatalf("config is a %T", g.Config)
	}
	return cfg
}

// group writes mail into a folder of the test.
func group(t *testing.T, dir string) consumer.Group {
	t.Helper()
	g := notifications.Group()
	cfg := config(t, g)
	cfg.Defaults(dir)
	cfg.From = "Harbour Lane <shop@example.com>"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return g
}

func anOrder() grouptest.Order {
	return grouptest.Order{
		Instance: grouptest.UK(), ID: "5001", At: time.Date(2026, 3, 29, 1, 20, 0, 0, time.UTC), Email: "ada@example.com",
		Lines: []grouptest.Line{
			{ID: "l1", SKU: "A<&>", Quantity: "200", Price: "24.50", Discount: "6.45", Rate: "0.20"},
			{ID: "l2", SKU: "Café", Quantity: "1", Price: "9.99"},
		},
		Shipping: "5.00", ShippingRate: "0.20",
	}
}

func handle(t *testing.T, k *grouptest.Kit, e event.Event, fact event.Fact) grouptest.Out {
	t.Helper()
	out, err := k.Handle(t.Context(), e, fact)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// leave runs the effects, as the engine does after the commit.
func leave(t *testing.T, k *grouptest.Kit, out grouptest.Out) []event.Fact {
	t.Helper()
	var facts []event.Fact
	for _, ef := range out.Effects {
		if err := k.Do(t.Context(), ef); err != nil {
			t.Fatal(err)
		}
		done, err := k.Done(t.Context(), ef)
		if err != nil {
			t.Fatal(err)
		}
		facts = append(facts, done.Facts...)
	}
	return facts
}

func messages(t *testing.T, k *grouptest.Kit) []string {
	t.Helper()
	return k.Query(t, `SELECT message, status FROM notifications_messages ORDER BY message`)
}

func want[T any](t *testing.T, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "mail"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// golden compares a mail with its golden file.
func golden(t *testing.T, dir, name string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, "mail", name))
	if err != nil {
		t.Fatal(err)
	}
	got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n"))
	path := filepath.Join("testdata", strings.ReplaceAll(name, "%", "_"))
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wanted, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, string(got), string(wanted))
}

func TestMail_golden(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := grouptest.SQLite(t, group(t, dir))
	o := anOrder()
	out := handle(t, k, o.PlacedEvent(), o.Placed())
	facts := leave(t, k, out)
	leave(t, k, out) // a repeat writes the same bytes
	ce, c := o.Cancelled(later)
	leave(t, k, handle(t, k, ce, c))
	pe, p := o.Cancelled(later, grouptest.Line{ID: "l1", SKU: "A<&>", Quantity: "1"})
	leave(t, k, handle(t, k, pe, p))
	re, r := o.Refund("r 1", "1234.5", later, grouptest.Refunded{ID: "l1", Quantity: "42", Net: "1000", Tax: "200"})
	leave(t, k, handle(t, k, re, r))

	partial := "order-cancellation.shopify.uk.5001." + pe.ID + ".eml"
	names := []string{
		partial, "order-cancellation.shopify.uk.5001.all.eml", "order-confirmation.shopify.uk.5001.eml", "refund.shopify.uk.5001.r%201.eml",
	}
	want(t, files(t, dir), names)
	for _, n := range names {
		golden(t, dir, n)
	}
	sent, ok := facts[0].(notification.SentV1)
	if !ok || sent.NotificationID != "order-confirmation.shopify.uk.5001" || sent.Provider != "folder" || sent.Channel != notification.SentV1ChannelEmail || len(sent.RecipientHash) != 64 {
		t.Errorf("got %+v", facts[0])
	}
	if rows := k.Query(t, `SELECT status, happened_at FROM notifications_messages_view WHERE template = 'refund'`); rows[0] != "SENT|2026-03-30T09:00:00.000000Z" {
		t.Errorf("got %v", rows)
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	grouptest.Each(t, func() consumer.Group { return group(t, dir) }, func(k *grouptest.Kit) {
		t := k.T
		o := anOrder()
		want(t, len(handle(t, k, o.PlacedEvent(), o.Placed()).Effects), 1)
		again := o.PlacedEvent()
		again.ID = event.NewID(later, "other/path", "order.placed", "1", "")
		want(t, len(handle(t, k, again, o.Placed()).Effects), 0)
		re, r := o.Refund("r1", "5", later)
		want(t, len(handle(t, k, re, r).Effects), 1)
		want(t, len(handle(t, k, re, r).Effects), 0)
	})
}

func TestNoMail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	grouptest.Each(t, func() consumer.Group { return group(t, dir) }, func(k *grouptest.Kit) {
		t := k.T
		none := func(e event.Event, fact event.Fact) {
			t.Helper()
			if out := handle(t, k, e, fact); len(out.Effects) > 0 {
				t.Errorf("%s: asks for a mail", e.Entity)
			}
		}
		nobody := anOrder()
		nobody.ID, nobody.Email = "nobody", ""
		none(nobody.PlacedEvent(), nobody.Placed())
		bad := anOrder()
		bad.ID, bad.Email = "bad", "Ada <ada@example.com>\r\nBcc: all@example.com"
		none(bad.PlacedEvent(), bad.Placed())
		test := anOrder()
		test.ID = "test"
		e := test.PlacedEvent()
		e.Test = true
		none(e, test.Placed())
		re, r := test.Refund("r1", "5", later) // doesn't know that it is a test
		none(re, r)
		old := anOrder()
		old.ID = "old"
		e = old.PlacedEvent()
		e.Replay = true
		none(e, old.Placed())
		free, f := old.Refund("r2", "0", later)
		none(free, f)
		want(t, messages(t, k), []string{
			"order-confirmation.shopify.uk.bad|NO_RECIPIENT", "order-confirmation.shopify.uk.nobody|NO_RECIPIENT",
			"order-confirmation.shopify.uk.old|REPLAY", "order-confirmation.shopify.uk.test|TEST",
			"refund.shopify.uk.old.r2|NOTHING", "refund.shopify.uk.test.r1|TEST",
		})
	})
}

// What comes before its order has no address: it waits for the order.
func TestBeforeTheOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	grouptest.Each(t, func() consumer.Group { return group(t, dir) }, func(k *grouptest.Kit) {
		t := k.T
		o := anOrder()
		re, r := o.Refund("r1", "5", later)
		want(t, len(handle(t, k, re, r).Effects), 0)
		want(t, messages(t, k), []string{"refund.shopify.uk.5001.r1|WAITING"})
		out := handle(t, k, o.PlacedEvent(), o.Placed())
		leave(t, k, out)
		want(t, messages(t, k), []string{"order-confirmation.shopify.uk.5001|SENT", "refund.shopify.uk.5001.r1|SENT"})
		want(t, k.Query(t, `SELECT fact, effect FROM notifications_effects ORDER BY fact`), []string{"order.placed.v2|SENT", "refund.issued.v1|SENT"})
	})
}

func TestBeforeAnOrder_withoutRecipient(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, group(t, t.TempDir()))
	o := anOrder()
	o.Email = ""
	ce, c := o.Cancelled(later)
	handle(t, k, ce, c)
	handle(t, k, o.PlacedEvent(), o.Placed())
	want(t, messages(t, k), []string{"order-cancellation.shopify.uk.5001.all|NO_RECIPIENT", "order-confirmation.shopify.uk.5001|NO_RECIPIENT"})
}

// A catcher of mail that answers what the test wants.
type catcher struct {
	mu     sync.Mutex
	answer error
	mails  [][]byte
}

func (c *catcher) NewSession(*smtp.Conn) (smtp.Session, error) { return c, nil }
func (c *catcher) AuthMechanisms() []string                    { return []string{sasl.Plain} }

// Auth takes the password that the test keeps in a file.
func (c *catcher) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "shop" || password != "open sesame" {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (c *catcher) Mail(string, *smtp.MailOptions) error { return nil }
func (c *catcher) Reset()                               {}
func (c *catcher) Logout() error                        { return nil }

func (c *catcher) Rcpt(string, *smtp.RcptOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer
}

func (c *catcher) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mails = append(c.mails, b)
	return err
}

func (c *catcher) say(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = err
}

func TestSMTP(t *testing.T) {
	t.Parallel()
	c := &catcher{}
	srv := smtp.NewServer(c)
	srv.Domain = "localhost"
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv.AllowInsecureAuth = true // it listens on this machine
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})

	g := notifications.Group()
	cfg := config(t, g)
	cfg.Mail, cfg.From, cfg.User = "smtp://"+l.Addr().String(), "shop@example.com", "shop"
	secret := filepath.Join(t.TempDir(), "password")
	if err := errors.Join(cfg.Password.UnmarshalText([]byte("file:"+secret)), cfg.Validate()); err != nil {
		t.Fatal(err)
	}
	k := grouptest.SQLite(t, g)
	o := anOrder()
	for _, password := range []string{"", "wrong"} { // our trouble, not that of the mail
		if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := k.Handle(t.Context(), o.PlacedEvent(), o.Placed())
		if err != nil {
			t.Fatal(err)
		}
		var away *consumer.UnavailableError
		if err := k.Do(t.Context(), out.Effects[0]); !errors.As(err, &away) {
			t.Errorf("password %q: got %v, want unavailable", password, err)
		}
		k.Reset(t)
	}
	if err := os.WriteFile(secret, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	facts := leave(t, k, handle(t, k, o.PlacedEvent(), o.Placed()))
	if sent, ok := facts[0].(notification.SentV1); !ok || sent.Provider != "smtp" {
		t.Errorf("got %+v", facts)
	}
	if len(c.mails) != 1 || !bytes.Contains(c.mails[0], []byte("Subject: Your order #5001")) || !bytes.Contains(c.mails[0], []byte("Message-ID: <")) {
		t.Fatalf("caught %d mails: %s", len(c.mails), bytes.Join(c.mails, nil))
	}

	// A mailbox that is full today is tried again; one that is not there never.
	re, r := o.Refund("r1", "5", later)
	out := handle(t, k, re, r)
	c.say(&smtp.SMTPError{Code: 451, Message: "later"})
	var away *consumer.UnavailableError
	if err := k.Do(t.Context(), out.Effects[0]); !errors.As(err, &away) || away.Dependency != "smtp" {
		t.Errorf("451: got %v, want unavailable", err)
	}
	c.say(&smtp.SMTPError{Code: 550, Message: "no such user"})
	if facts := leave(t, k, out); len(facts) > 0 {
		t.Errorf("550: published %v", facts)
	}
	rows := k.Query(t, `SELECT status, reason FROM notifications_messages WHERE template = 'refund'`)
	if !strings.HasPrefix(rows[0], "FAILED|") || !strings.Contains(rows[0], "no such user") {
		t.Errorf("got %v", rows)
	}
	// Sent after all, by a second attempt that found the mailbox.
	c.say(nil)
	want(t, len(leave(t, k, out)), 1)
	want(t, len(c.mails), 2)
}

func TestSMTP_away(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	g := notifications.Group()
	cfg := config(t, g)
	cfg.Mail, cfg.From = "smtp://"+addr, "shop@example.com"
	k := grouptest.SQLite(t, g)
	o := anOrder()
	out := handle(t, k, o.PlacedEvent(), o.Placed())
	var away *consumer.UnavailableError
	if err := k.Do(t.Context(), out.Effects[0]); !errors.As(err, &away) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestFolder_away(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mail"), nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	k := grouptest.SQLite(t, group(t, dir))
	o := anOrder()
	out := handle(t, k, o.PlacedEvent(), o.Placed())
	var away *consumer.UnavailableError
	if err := k.Do(t.Context(), out.Effects[0]); !errors.As(err, &away) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  notifications.Config
		want string
	}{
		"folder":            {notifications.Config{Mail: "dir:x", From: "a@b.c"}, ""},
		"smtp":              {notifications.Config{Mail: "smtp://127.0.0.1:2525", From: "a@b.c"}, ""},
		"smtps":             {notifications.Config{Mail: "smtps://mail.example.com", From: "A <a@b.c>", User: "u", Password: "env:P"}, ""},
		"no sender":         {notifications.Config{Mail: "dir:x"}, `from ""`},
		"nowhere":           {notifications.Config{From: "a@b.c"}, "want smtp://host:port"},
		"http":              {notifications.Config{Mail: "http://x", From: "a@b.c"}, "want smtp://host:port"},
		"port":              {notifications.Config{Mail: "smtp://x:0", From: "a@b.c"}, "want smtp://host:port"},
		"password in url":   {notifications.Config{Mail: "smtp://u:p@x", From: "a@b.c"}, "keys of their own"},
		"password only":     {notifications.Config{Mail: "dir:x", From: "a@b.c", Password: "p"}, "without user"},
		"no folder":         {notifications.Config{Mail: "dir:", From: "a@b.c"}, "want smtp://host:port"},
		"path":              {notifications.Config{Mail: "smtp://x/y", From: "a@b.c"}, "want smtp://host:port"},
		"unparseable sheme": {notifications.Config{Mail: ":", From: "a@b.c"}, "want smtp://host:port"},
	} {
		err := c.cfg.Validate()
		if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestSecret_inClearIsRefused(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{"": true, "env:X": true, "file:/x": true, "hunter2": false, "env:": false, "other:x": false} {
		var s notifications.Secret
		if err := s.UnmarshalText([]byte(text)); (err == nil) != good {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// Two occasions never share a key, whatever their ids look like.
func FuzzKeys(f *testing.F) {
	f.Add("5001", "r1", "5001.r1", "")
	f.Add("A", "a", "a", "A")
	f.Fuzz(func(t *testing.T, order1, refund1, order2, refund2 string) {
		if (order1 == order2 && refund1 == refund2) || refund1 == "" || refund2 == "" {
			t.Skip()
		}
		key := func(id, refundID string) string {
			k := notifications.KeyOf(grouptest.Order{Instance: grouptest.UK(), ID: id}.Ref(), refundID)
			if k != filepath.Base(k) || len(k) > 200 || k != strings.ToLower(k) {
				t.Errorf("key %q is no file name", k)
			}
			return k
		}
		if a, b := key(order1, refund1), key(order2, refund2); a == b {
			t.Errorf("both have the key %s", a)
		}
	})
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"1234567.5", "GBP", "GBP 1,234,567.50"},
		{"186.9", "HKD", "HKD 186.90"},
		{"1000", "JPY", "JPY 1,000"},
		{"3.704", "BHD", "BHD 3.704"},
		{"-6.45", "GBP", "GBP -6.45"},
		{"0.0035", "GBP", "GBP 0.0035"},
		{"100", "EUR", "EUR 100.00"},
		{"0", "EUR", "EUR 0.00"},
	} {
		want(t, notifications.Amount(grouptest.D(c[0]), c[1]), c[2])
	}
}

func TestReasons_areNeverQuoted(t *testing.T) {
	t.Parallel()
	k := grouptest.SQLite(t, group(t, t.TempDir()))
	o := anOrder()
	handle(t, k, o.PlacedEvent(), o.Placed())
	e, c := o.Cancelled(later)
	secret := "customer said something private"
	c.ReasonText, c.Reason = &secret, order.CancelledV1ReasonFraud
	out := handle(t, k, e, c)
	if strings.Contains(string(out.Effects[0].Args), secret) || strings.Contains(fmt.Sprint(messages(t, k)), secret) {
		t.Error("the mail quotes the free text of the store")
	}
}
