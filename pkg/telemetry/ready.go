package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"
)

// Probe asks a part whether it is ready: nil or Ready = yes, else the error is the reason.
// It obeys ctx and is called from several requests at once.
type Probe func(ctx context.Context) error

// readyError is the answer of a part that is ready and has something to say.
type readyError struct{ note string }

func (e *readyError) Error() string { return e.note }

// Ready is a Probe's answer of a part that is ready, and what people should know.
func Ready(note string) error { return &readyError{note} }

// probeTime bounds one probe, so that a part that hangs is not ready instead of
// hanging the answer.
const probeTime = 2 * time.Second

// Readiness is the parts of a process that have to be ready, by name.
type Readiness struct {
	mu     sync.Mutex // guards probes
	probes map[string]Probe
}

// NewReadiness has no parts; nothing is ready until there is one.
func NewReadiness() *Readiness { return &Readiness{probes: map[string]Probe{}} }

// Add adds a part, or replaces the one of that name.
func (r *Readiness) Add(name string, p Probe) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probes[name] = p
}

// Status is what /readyz answers. Its JSON is a contract.
type Status struct {
	Ready bool            `json:"ready"`
	Parts map[string]Part `json:"parts"`
}

// Part is one part of a Status.
type Part struct {
	Ready  bool   `json:"ready"`
	Reason string `json:"reason"` // "" when ready
	Note   string `json:"note,omitempty"`
}

// Check asks every part at once.
func (r *Readiness) Check(ctx context.Context) Status {
	r.mu.Lock()
	probes := maps.Clone(r.probes)
	r.mu.Unlock()

	type result struct {
		name string
		part Part
	}
	results := make(chan result, len(probes)) // room for late ones, which nobody reads
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	s := Status{Ready: len(probes) > 0, Parts: map[string]Part{}}
	for name, p := range probes {
		s.Parts[name] = Part{Reason: fmt.Sprintf("no answer within %s", probeTime)}
		go func() { results <- result{name, ask(ctx, p)} }()
	}
	for range probes {
		select {
		case got := <-results:
			s.Parts[got.name] = got.part
		case <-ctx.Done():
		}
	}
	for _, p := range s.Parts {
		s.Ready = s.Ready && p.Ready
	}
	return s
}

func ask(ctx context.Context, p Probe) Part {
	err := p(ctx)
	var ready *readyError
	switch {
	case err == nil:
		return Part{Ready: true}
	case errors.As(err, &ready):
		return Part{Ready: true, Note: ready.note}
	case errors.Is(err, context.DeadlineExceeded):
		return Part{Reason: fmt.Sprintf("no answer within %s: %v", probeTime, err)}
	}
	return Part{Reason: err.Error()}
}

// Handler serves the ops address: /healthz (the process is alive), /readyz (200 or
// 503, JSON of Status) and /metrics.
func Handler(m *Metrics, r *Readiness, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, req *http.Request) {
		answer(req.Context(), w, log, http.StatusOK, map[string]bool{"alive": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		s := r.Check(req.Context())
		code := http.StatusOK
		if !s.Ready {
			code = http.StatusServiceUnavailable
		}
		answer(req.Context(), w, log, code, s)
	})
	mux.Handle("GET /metrics", m.handler(log))
	return mux
}

func answer(ctx context.Context, w http.ResponseWriter, log *slog.Logger, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.DebugContext(ctx, "answering on the ops address", "error", err)
	}
}
