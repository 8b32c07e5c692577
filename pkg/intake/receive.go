package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/wire"
)

// retryAfter is what a sender is asked to wait when a delivery is not durable.
const retryAfter = "10" // seconds

// maxWord bounds what an adapter reads for kind and key.
const maxWord = 200 // bytes

// refusal is an answer other than 2xx: nothing of the request is kept.
type refusal struct {
	status  int
	code    string // also the outcome that is counted
	message string
	err     error // for the log
}

func refuse(status int, code, message string, err error) *refusal {
	return &refusal{status: status, code: code, message: message, err: err}
}

// ServeHTTP answers one request. Statuses and bodies are a contract.
func (i *Intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := i.o.Now()
	request := correlation(r.Header)
	w.Header().Set("X-Correlation-Id", request)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h, refused := i.hookOf(r)
	source := h.String() // "" when unknown: labels are not made of what strangers send
	var d wire.Delivery
	outcome := ""
	if refused == nil {
		d, outcome, refused = i.take(w, r, h, request)
	}
	log := i.o.Log.With(slog.String("correlation_id", request), slog.String("instance", source), slog.String("kind", d.Kind))
	if refused != nil {
		i.metrics.count(r.Context(), h.Instance, refused.code)
		log.LogAttrs(r.Context(), refused.level(), "delivery refused",
			slog.Int("status", refused.status), slog.String("outcome", refused.code), slog.Any("error", refused.err))
		answerError(w, refused, request)
		return
	}
	i.metrics.count(r.Context(), h.Instance, outcome)
	i.metrics.took(r.Context(), h.Instance, i.o.Now().Sub(start))
	log.DebugContext(r.Context(), "delivery accepted", slog.String("delivery", d.ID), slog.String("outcome", outcome))
	answer(w, h.Answer, d.ID)
}

func (r *refusal) level() slog.Level {
	if r.status >= http.StatusInternalServerError {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// hookOf finds who is spoken to. The path is taken as it stands: never cleaned,
// never redirected.
func (i *Intake) hookOf(r *http.Request) (hook, *refusal) {
	path, found := strings.CutPrefix(r.URL.Path, "/webhooks/")
	h, known := i.hooks[path]
	if !found || !known || r.URL.RawPath != "" {
		return hook{}, refuse(http.StatusNotFound, "not_found", "no such system or instance", nil)
	}
	if r.Method != http.MethodPost {
		return h, refuse(http.StatusMethodNotAllowed, "method_not_allowed", "want POST", nil)
	}
	return h, nil
}

// take receives a request and makes its delivery durable, in one of the places that
// bound memory.
func (i *Intake) take(w http.ResponseWriter, r *http.Request, h hook, request string) (d wire.Delivery, outcome string, refused *refusal) {
	if !accepts(h.Media, r.Header) {
		return d, "", refuse(http.StatusUnsupportedMediaType, "media_type", "want one of "+strings.Join(media(h.Media), ", ")+", not encoded", nil)
	}
	release, refused := i.slot(r)
	if refused != nil {
		return d, "", refused
	}
	defer release()
	if d, refused = i.receive(w, r, h, request); refused != nil {
		return d, "", refused
	}
	outcome, refused = i.deliver(r.Context(), d)
	return d, outcome, refused
}

// receive reads and verifies a request. What it answers is all that is known of it.
func (i *Intake) receive(w http.ResponseWriter, r *http.Request, h hook, request string) (wire.Delivery, *refusal) {
	body, refused := i.read(w, r)
	if refused != nil {
		return wire.Delivery{}, refused
	}
	now := i.o.Now().UTC().Truncate(time.Microsecond)
	if refused := verify(h, r.Header, body, now); refused != nil {
		return wire.Delivery{}, refused
	}
	id, err := uuid.NewV7()
	if err != nil {
		return wire.Delivery{}, refuse(http.StatusServiceUnavailable, "unavailable", "not accepted, try again", err)
	}
	d := wire.Delivery{
		ID: id.String(), Source: h.String(), Origin: event.OriginWebhook, Header: kept(h.Keep, r.Header), Body: body,
		ReceivedAt: now, Request: request, Traceparent: traceparent(r.Header),
		Kind: looked(func() string { return h.Kind(r.Header, body) }),
	}
	d.Key = d.Source
	if h.Key != nil {
		if entity := looked(func() string { return h.Key(d.Kind, r.Header, body) }); entity != "" {
			d.Key = event.Key(d.Source, entity)
		}
	}
	return d, nil
}

// slot waits for a place.
func (i *Intake) slot(r *http.Request) (release func(), refused *refusal) {
	timer := time.NewTimer(i.o.Budget)
	defer timer.Stop()
	select {
	case i.slots <- struct{}{}:
		return func() { <-i.slots }, nil
	case <-timer.C:
	case <-r.Context().Done():
	}
	return nil, refuse(http.StatusServiceUnavailable, "overloaded", "too many requests at a time, try again", nil)
}

// read reads the body once, up to the cap.
func (i *Intake) read(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, i.o.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, refuse(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("want a body of at most %d bytes", i.o.MaxBody), nil)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuse(http.StatusRequestTimeout, "unreadable", "the body came too slowly", err)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "unreadable", "the body cannot be read", err)
	}
	return body, nil
}

// verify asks the adapter. Only its word that the signature is wrong is a 401:
// trouble of our own is never the sender's fault.
func verify(h hook, header http.Header, body []byte, now time.Time) *refusal {
	err := guarded(func() error {
		return h.Verify(producer.Request{Instance: h.Instance.Instance, Secrets: h.Secrets, Header: header, Body: body, Now: now})
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, producer.ErrSignature):
		// The cause goes to the log only: the answer never says what was wrong.
		return refuse(http.StatusUnauthorized, "signature_invalid", producer.ErrSignature.Error(), err)
	}
	return refuse(http.StatusServiceUnavailable, "unavailable", "not accepted, try again", fmt.Errorf("verifying: %w", err))
}

// guarded calls code of an adapter; its panic is an error.
func guarded(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the adapter panics with a %T", p) // the value may quote the body
		}
	}()
	return call()
}

// looked is a word that an adapter reads from a request: short, printable, and ""
// where that fails, because a delivery is kept in any case.
func looked(look func() string) string {
	word := ""
	if err := guarded(func() error { word = look(); return nil }); err != nil || len(word) > maxWord || !utf8.ValidString(word) {
		return ""
	}
	if strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return word
}

// kept are the headers on the adapter's list. Credentials are never kept, even if
// they are listed.
func kept(keep []string, from http.Header) http.Header {
	h := http.Header{}
	for _, name := range keep {
		if values := from.Values(name); len(values) > 0 && !producer.Credential(name) {
			h[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
	}
	return h
}

func media(accepted []string) []string {
	if len(accepted) == 0 {
		return []string{"application/json"}
	}
	return accepted
}

// accepts says if a body of this media type is read. A compressed one is not: the
// cap on its size would mean nothing.
func accepts(accepted []string, h http.Header) bool {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return false
	}
	typ, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && slices.Contains(media(accepted), typ)
}

// answer says 2xx in the words of the vendor, if it wants words of its own.
func answer(w http.ResponseWriter, a producer.Answer, delivery string) {
	if a.Status == 0 && a.Body == "" {
		writeJSON(w, http.StatusOK, struct {
			Received bool   `json:"received"`
			Delivery string `json:"delivery"`
		}{true, delivery})
		return
	}
	if a.Body != "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body) // a sender that left is one that tries again
}

func answerError(w http.ResponseWriter, r *refusal, request string) {
	type body struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		ID      string `json:"correlation_id"`
	}
	switch r.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, r.status, struct {
		Error body `json:"error"`
	}{body{r.code, r.message, request}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a sender that left is one that tries again
}
