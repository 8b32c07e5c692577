package notifications

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	texttemplate "text/template"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/schemas/notification"
)

//go:embed templates/*.txt templates/*.html
var templates embed.FS

// page is a template in both forms.
type page struct {
	text *texttemplate.Template
	html *htmltemplate.Template
}

func pages() map[string]page {
	all := map[string]page{}
	for _, name := range []string{confirmation, cancellation, refundNote} {
		all[name] = page{
			text: texttemplate.Must(texttemplate.ParseFS(templates, "templates/"+name+".txt", "templates/rows.txt")),
			html: htmltemplate.Must(htmltemplate.ParseFS(templates, "templates/"+name+".html", "templates/layout.html")),
		}
	}
	return all
}

// mailer sends letters.
type mailer struct {
	cfg   *Config
	pages map[string]page
	now   func() time.Time

	mu      sync.Mutex
	refused []refusal
}

// refusal is a mail that the server will never take. It carries the outcome of send to
// done; should the process end between them, send asks the server again.
type refusal struct{ key, reason string }

// maxRefused bounds the memory of refusals far above what is ever on its way at a time.
const maxRefused = 10_000

// send is the effect: it writes the mail and hands it over.
func (m *mailer) send(ctx context.Context, key string, l letter) error {
	r, err := m.cfg.route()
	if err != nil {
		return err
	}
	msg, err := m.write(l)
	if err != nil {
		return err
	}
	if r.folder != "" {
		if err := save(r.folder, key, msg); err != nil {
			return consumer.Unavailable("mail folder", err)
		}
		return nil
	}
	reason, err := m.deliver(ctx, r, msg)
	m.remember(key, reason)
	return err
}

// done records the outcome, and publishes that the mail is out.
func (m *mailer) done(ctx context.Context, tx consumer.Tx, key string, l letter) error {
	if reason := m.refusalOf(key); reason != "" {
		return setStatus(ctx, tx, key, failed, reason, nil)
	}
	at := m.now().UTC().Truncate(time.Microsecond)
	micros := at.UnixMicro()
	if err := setStatus(ctx, tx, key, sent, "", &micros); err != nil {
		return err
	}
	provider := "folder"
	if !strings.HasPrefix(m.cfg.Mail, "dir:") {
		provider = "smtp"
	}
	return tx.Publish(event.New{
		Fact: notification.SentV1{
			NotificationID: key, Template: l.Template, TemplateVersion: version, Channel: notification.SentV1ChannelEmail,
			RecipientHash: l.RecipientHash, SubjectRef: l.OrderRef, Provider: provider, ProviderMessageID: m.messageID(key),
		},
		Entity: key, Key: l.RecipientHash, At: at,
	})
}

func (m *mailer) remember(key, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range m.refused {
		if r.key == key {
			m.refused = append(m.refused[:i], m.refused[i+1:]...)
			break
		}
	}
	if reason == "" {
		return
	}
	if len(m.refused) == maxRefused {
		m.refused = m.refused[1:]
	}
	m.refused = append(m.refused, refusal{key, reason})
}

func (m *mailer) refusalOf(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.refused {
		if r.key == key {
			return r.reason
		}
	}
	return ""
}

// messageID follows from the key: a repeated mail can be told by it.
func (m *mailer) messageID(key string) string {
	sum := sha256.Sum256([]byte(key))
	domain := "localhost"
	if a, err := mail.ParseAddress(m.cfg.From); err == nil {
		domain = a.Address[strings.LastIndexByte(a.Address, '@')+1:]
	}
	return hex.EncodeToString(sum[:16]) + "@" + domain
}

// write makes the mail of a letter: the same bytes each time.
func (m *mailer) write(l letter) (*gomail.Msg, error) {
	p, ok := m.pages[l.Template]
	if !ok {
		return nil, fmt.Errorf("writing a mail: template %q is not known", l.Template)
	}
	var text, html bytes.Buffer
	if err := p.text.ExecuteTemplate(&text, l.Template+".txt", &l); err != nil {
		return nil, fmt.Errorf("writing a mail: %w", err)
	}
	if err := p.html.ExecuteTemplate(&html, l.Template+".html", &l); err != nil {
		return nil, fmt.Errorf("writing a mail: %w", err)
	}
	id := m.messageID(l.Key)
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithBoundary("spine-"+id[:32]))
	if err := errors.Join(msg.From(m.cfg.From), msg.To(l.To)); err != nil {
		return nil, fmt.Errorf("addressing a mail: %w", err)
	}
	msg.Subject(l.Subject())
	msg.SetMessageIDWithValue(id)
	msg.SetDateWithValue(l.Date)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no vacation answers
	msg.SetBodyString(gomail.TypeTextPlain, text.String())
	msg.AddAlternativeString(gomail.TypeTextHTML, html.String())
	return msg, nil
}

// save writes a mail into the folder in one step: a reader never sees half of it, and a
// crash leaves all or nothing under its name.
func save(folder, key string, msg *gomail.Msg) error {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".mail-*")
	if err != nil {
		return err
	}
	_, err = msg.WriteTo(f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(folder, key+".eml"))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

const smtpTimeout = 20 * time.Second

// deliver hands a mail to the server. reason is why it will never take it.
func (m *mailer) deliver(ctx context.Context, r route, msg *gomail.Msg) (reason string, err error) {
	opts := []gomail.Option{gomail.WithPort(r.port), gomail.WithTimeout(smtpTimeout), gomail.WithTLSPolicy(gomail.TLSOpportunistic)}
	if r.implicit {
		opts = append(opts, gomail.WithSSL())
	}
	if m.cfg.User != "" {
		password, err := m.cfg.Password.read()
		if err != nil {
			return "", consumer.Unavailable("smtp", err) // until somebody sets it
		}
		opts = append(opts, gomail.WithUsername(m.cfg.User), gomail.WithPassword(password))
		if r.local() {
			opts = append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthPlainNoEnc))
		} else {
			opts = append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithTLSPolicy(gomail.TLSMandatory))
		}
	}
	client, err := gomail.NewClient(r.host, opts...)
	if err != nil {
		return "", fmt.Errorf("setting up SMTP: %w", err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() {
		return "", nil // what fails after the server took it is no failure
	}
	var refused *gomail.SendError
	if errors.As(err, &refused) && final(refused) {
		return refused.Error(), nil
	}
	return "", consumer.Unavailable("smtp", err)
}

// final tells whether the server will never take this mail. An answer about who we are
// (530 to 538: authentication) is not about the mail.
func final(e *gomail.SendError) bool {
	switch e.Reason {
	case gomail.ErrSMTPMailFrom, gomail.ErrSMTPRcptTo, gomail.ErrSMTPData, gomail.ErrSMTPDataClose:
		code := e.ErrorCode()
		return code >= 500 && code < 600 && (code < 530 || code > 538)
	}
	return false
}
