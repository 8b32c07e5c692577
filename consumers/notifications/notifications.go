// Package notifications mails customers about their orders: a confirmation, a
// cancellation, a refund.
//
// # What it does
//
// order.placed.v2, order.cancelled.v1 and refund.issued.v1 each become one mail with a text
// and an HTML part, in the currency of the order and the time zone of the instance. The
// mail is an effect: its arguments are stored with the transaction of the handler, and it
// leaves after the commit, also after a restart, with an idempotency key. When the mail is
// out, notification.sent.v1 is published.
//
// A mail is asked for once per occasion (the confirmation of an order, a cancellation, a
// refund), whatever comes twice. There is no mail
//   - without a valid address (NO_RECIPIENT),
//   - for a test order (TEST),
//   - for an event that is handled again from history (REPLAY),
//   - for a refund that gives no money back (NOTHING).
//
// A cancellation or refund that comes before its order waits for it (WAITING), because the
// order has the address.
//
// # Where mail goes
//
//	groups:
//	  notifications:
//	    mail: smtp://127.0.0.1:2525        # STARTTLS where the server offers it
//	    # mail: smtps://mail.example.com   # TLS from the start, port 465
//	    # mail: dir:.spine/mail            # default: a file per mail
//	    from: shop@example.com
//	    user: shop                         # optional; then the connection must be encrypted
//	    password: env:SMTP_PASSWORD
//
// A file is named after the idempotency key, <key>.eml, and written in one step. The same
// mail is the same bytes (Message-ID, Date and boundary follow from the key and the event),
// so that a second attempt changes nothing; a mail server may see a mail twice, with one
// Message-ID. A server that is away, or that refuses us, is tried again until it is back; a
// mail that it refuses for good (a 5xx answer to sender, recipient or content) ends as
// FAILED with the answer.
//
// # Tables
//
// Times are BIGINT microseconds since 1970. Each table has a view named <table>_view that
// shows timestamps. notifications_orders holds personal data: name and address.
//
//	notifications_orders    what later mails need of an order: recipient, number, articles
//	notifications_messages  an occasion and what became of it, natural key: the idempotency key
//	notifications_effects   view: one row per event that left its mark (event_id, fact, order_key, effect)
package notifications

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/mail"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/notification"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/refund"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Group is the group notifications.
func Group() consumer.Group {
	cfg := &Config{}
	m := &mailer{cfg: cfg, pages: pages(), now: time.Now}
	return consumer.Group{
		Name:   "notifications",
		Owner:  "customer-care",
		Tables: tables(),
		Config: cfg,
		On: []consumer.Handler{
			consumer.On(placed),
			consumer.On(cancelled),
			consumer.On(refunded),
		},
		Effects: []consumer.Effect{consumer.EffectOf(effect, consumer.RetryWithKey, m.send, m.done)},
		Emits:   []event.Fact{notification.SentV1{}},
		Ledger:  ledger(),
		Reports: []consumer.Report{
			{Title: "Mail", Query: "SELECT template, status, COUNT(*) AS mails FROM notifications_messages GROUP BY template, status ORDER BY template, status"},
		},
	}
}

// ledger says per fact, older majors among them, where the tables show its events.
func ledger() map[string]string {
	all := map[string]string{}
	for _, fact := range []string{"order.placed.v1", "order.placed.v2", "order.cancelled.v1", "refund.issued.v1"} {
		all[fact] = "SELECT event_id FROM notifications_effects WHERE fact = '" + fact + "'"
	}
	return all
}

func tables() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded: cannot happen
	}
	return sub
}

const effect = "mail"

// The templates, and with them the occasions.
const (
	confirmation = "order-confirmation"
	cancellation = "order-cancellation"
	refundNote   = "refund"
	version      = 1 // of all templates
)

// What became of an occasion.
const (
	waiting     = "WAITING"   // its order is not here
	requested   = "REQUESTED" // the effect is on its way
	sent        = "SENT"
	failed      = "FAILED"
	noRecipient = "NO_RECIPIENT"
	testOrder   = "TEST"
	replayed    = "REPLAY"
	nothing     = "NOTHING"
)

func orderKey(ref common.Ref) string { return event.Key(ref.System+"/"+ref.Instance, ref.ID) }

// placed confirms an order, and sends what waited for it.
func placed(ctx context.Context, tx consumer.Tx, e event.Of[order.PlacedV2]) error {
	c := customerOf(e.Data)
	c.Test = e.Test
	isNew, err := insertOrder(ctx, tx, e.Data.OrderRef, e.Event, c)
	if err != nil || !isNew {
		return err // promise: once, also for an order that comes as another event
	}
	letter, err := confirm(e)
	if err != nil {
		return err
	}
	if err := notify(ctx, tx, e.Event, letter, &c); err != nil {
		return err
	}
	held, err := held(ctx, tx, orderKey(e.Data.OrderRef))
	if err != nil {
		return err
	}
	for _, l := range held {
		if err := release(ctx, tx, e.Event, l, c); err != nil {
			return err
		}
	}
	return nil
}

// cancelled tells that an order, or a part of it, was cancelled.
func cancelled(ctx context.Context, tx consumer.Tx, e event.Of[order.CancelledV1]) error {
	l, err := cancel(e)
	if err != nil {
		return err
	}
	return afterwards(ctx, tx, e.Event, l)
}

// refunded tells that money is on its way back.
func refunded(ctx context.Context, tx consumer.Tx, e event.Of[refund.IssuedV1]) error {
	l, err := giveBack(e)
	if err != nil {
		return err
	}
	return afterwards(ctx, tx, e.Event, l)
}

// afterwards sends a letter about an order that may be here or not.
func afterwards(ctx context.Context, tx consumer.Tx, e event.Event, l letter) error {
	c, found, err := loadOrder(ctx, tx, l.OrderRef)
	if err != nil {
		return err
	}
	if !found {
		return notify(ctx, tx, e, l, nil)
	}
	return notify(ctx, tx, e, l, &c)
}

// notify records an occasion and asks for its mail, if there is to be one. Without a
// customer it waits for the order.
func notify(ctx context.Context, tx consumer.Tx, e event.Event, l letter, c *customer) error {
	status, reason := requested, ""
	switch {
	case e.Test || (c != nil && c.Test):
		status = testOrder
	case e.Replay:
		status = replayed // promise: outside effects are suppressed in replay
	case l.Empty:
		status = nothing
	case c == nil:
		status = waiting
	case !c.valid():
		status, reason = noRecipient, "the order has no valid e-mail address"
	}
	if status == requested {
		l.address(*c)
	}
	isNew, err := insertMessage(ctx, tx, e, l, status, reason)
	if err != nil || !isNew || status != requested {
		return err // promise: once
	}
	return tx.Effect(effect, l.Key, l)
}

// release sends what waited for its order.
func release(ctx context.Context, tx consumer.Tx, e event.Event, l letter, c customer) error {
	status, reason := requested, ""
	switch {
	case c.Test:
		status = testOrder
	case e.Replay:
		status = replayed
	case !c.valid():
		status, reason = noRecipient, "the order has no valid e-mail address"
	}
	if err := setStatus(ctx, tx, l.Key, status, reason, nil); err != nil || status != requested {
		return err
	}
	l.address(c)
	return tx.Effect(effect, l.Key, l)
}

// customer is who gets the mail.
type customer struct {
	Email    string
	Name     string
	Number   string            // of the order, as the customer knows it
	Articles map[string]string // names by line
	Test     bool
}

func customerOf(o order.PlacedV2) customer {
	c := customer{Number: plain(o.OrderNumber), Articles: map[string]string{}}
	for _, l := range o.Lines {
		c.Articles[l.LineID] = plain(l.Name)
	}
	if o.Customer.Email != nil {
		c.Email = strings.TrimSpace(*o.Customer.Email)
	}
	if o.Customer.FirstName != nil {
		c.Name = plain(*o.Customer.FirstName)
	}
	return c
}

// valid tells whether mail can be addressed to the customer: a bare address.
func (c customer) valid() bool {
	a, err := mail.ParseAddress(c.Email)
	return err == nil && a.Address == c.Email
}

// hash identifies a recipient without naming them.
func (c customer) hash() string {
	sum := sha256.Sum256([]byte(strings.ToLower(c.Email)))
	return hex.EncodeToString(sum[:])
}

// keyOf is the idempotency key of an occasion, safe as a file name. No two occasions
// share one: a dot stands between the parts and never within.
func keyOf(template string, ref common.Ref, occasion string) string {
	parts := []string{template, escape(ref.System), escape(ref.Instance), escape(ref.ID)}
	if occasion != "" {
		parts = append(parts, escape(occasion))
	}
	key := strings.Join(parts, ".")
	if len(key) <= 120 {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return template + "." + hex.EncodeToString(sum[:])
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c) // upper case too: file systems may not tell it apart
		}
	}
	return b.String()
}

// plain is one line of text from outside, without control characters.
func plain(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s))
}
