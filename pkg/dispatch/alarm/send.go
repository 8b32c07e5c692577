package alarm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/dispatch/fault"
)

// How an endpoint that is away is tried again.
const (
	paceBase = time.Second
	paceMax  = 5 * time.Minute
)

// refusedError is an answer that no repetition changes.
type refusedError struct{ status string }

func (e *refusedError) Error() string { return "the endpoint answered " + e.status }

// sendAll sends what is queued, one text after the other, until ctx ends.
func (a *Alarms) sendAll(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		text, ok := a.nextText()
		if !ok {
			select {
			case <-ctx.Done():
			case <-a.send:
			}
			continue
		}
		err := a.post(ctx, text)
		var refused *refusedError
		switch {
		case err == nil:
			failures = 0
			a.count("sent", 1)
			continue
		case errors.As(err, &refused):
			a.count("refused", 1)
			a.o.Log.Error("an alarm is refused", "error", err)
			continue
		}
		a.back(text)
		failures++
		if ctx.Err() == nil {
			a.o.Log.Warn("sending an alarm, trying again", "attempt", failures, "error", err)
			fault.Sleep(ctx, fault.Retry{Base: paceBase, Max: paceMax}.Pause(failures))
		}
	}
}

func (a *Alarms) nextText() (text string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.texts) == 0 {
		return "", false
	}
	text, a.texts = a.texts[0], a.texts[1:]
	return text, true
}

// back puts a text in front again, which is the first to go where there is no room.
func (a *Alarms) back(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lost int
	a.texts, lost = bounded(append([]string{text}, a.texts...))
	a.count("dropped", lost)
}

// post makes one call. The URL is a secret: no error names it.
func (a *Alarms) post(ctx context.Context, text string) error {
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	body, err := json.Marshal(map[string]string{"text": escaped})
	if err != nil {
		return fmt.Errorf("writing an alarm: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.o.Webhook, bytes.NewReader(body))
	if err != nil {
		return &refusedError{"nothing: its URL is none"}
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		var about *url.Error
		if errors.As(err, &about) {
			err = about.Err
		}
		return fmt.Errorf("calling the webhook: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<10)) // so that the connection can be used again
	switch code := res.StatusCode; {
	case code < http.StatusMultipleChoices:
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= http.StatusInternalServerError:
		return fmt.Errorf("calling the webhook: it answered %s", res.Status)
	}
	return &refusedError{res.Status}
}
