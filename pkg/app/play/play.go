// Package play sends a day of webhooks over real HTTP and counts what is answered.
package play

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/eventspine/spine/pkg/producer"
)

// Options say where and how fast.
type Options struct {
	URL     string // of the intake, "http://127.0.0.1:8080"
	Rate    int    // requests a second; 0 = as fast as they are answered
	Workers int    // requests at a time; 0 = 64
	// Progress is called after each answer; nil = nobody looks.
	Progress func(sent int)
	Retry    bool // send again what was not answered at all, or with 5xx, as vendors do
}

// Report counts what was answered, each where it happened.
type Report struct {
	Sent       int
	Accepted   map[string]string // delivery id → instance, of answers 2xx
	Refused    map[string]int    // "401 bad signature" → how many
	Notes      map[string]int    // special calls by note
	Unexpected []string          // answers other than a correct intake's; at most 10
	Failed     int               // calls that were never answered
	Latency    []time.Duration   // of answers, sorted
	Elapsed    time.Duration
}

// Quantile of the answers' latency.
func (r Report) Quantile(q float64) time.Duration {
	if len(r.Latency) == 0 {
		return 0
	}
	return r.Latency[min(int(q*float64(len(r.Latency))), len(r.Latency)-1)]
}

type player struct {
	Options
	client *http.Client

	mu sync.Mutex
	r  Report
}

// Send plays the calls. Calls of one instance go out in their order, several at a
// time, as a vendor's do: order is never promised by the sender.
func Send(ctx context.Context, calls iter.Seq[producer.Call], o Options) (Report, error) {
	if o.Workers == 0 {
		o.Workers = 64
	}
	p := &player{
		Options: o,
		client:  &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: o.Workers}},
		r:       Report{Accepted: map[string]string{}, Refused: map[string]int{}, Notes: map[string]int{}},
	}
	defer p.client.CloseIdleConnections()
	begun := time.Now()
	queue := make(chan producer.Call)
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(func() {
			for call := range queue {
				p.play(ctx, call)
			}
		})
	}
	err := p.feed(ctx, calls, queue)
	close(queue)
	workers.Wait()
	p.r.Elapsed = time.Since(begun)
	slices.Sort(p.r.Latency)
	return p.r, err
}

func (p *player) feed(ctx context.Context, calls iter.Seq[producer.Call], queue chan<- producer.Call) error {
	var tick <-chan time.Time
	if p.Rate > 0 {
		t := time.NewTicker(time.Second / time.Duration(p.Rate))
		defer t.Stop()
		tick = t.C
	}
	for call := range calls {
		if tick != nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick:
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case queue <- call:
		}
	}
	return nil
}

// play sends one call until it is answered.
func (p *player) play(ctx context.Context, call producer.Call) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		begun := time.Now()
		status, body, err := p.post(ctx, call)
		if err == nil && (status < 500 || !p.Retry) {
			p.count(call, status, body, time.Since(begun))
			return
		}
		if !p.Retry || ctx.Err() != nil {
			p.fail(call, err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (p *player) post(ctx context.Context, call producer.Call) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/webhooks/"+call.Instance, bytes.NewReader(call.Body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = call.Header.Clone()
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return resp.StatusCode, body, err
}

func (p *player) count(call producer.Call, status int, body []byte, took time.Duration) {
	var answer struct {
		Delivery string `json:"delivery"`
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r.Sent++
	p.r.Latency = append(p.r.Latency, took)
	if call.Note != "" {
		p.r.Notes[call.Note]++
	}
	switch {
	case status >= 300:
		reason := call.Note
		if reason == "" {
			reason = http.StatusText(status)
		}
		p.r.Refused[strconv.Itoa(status)+" "+reason]++
	case json.Unmarshal(body, &answer) == nil && answer.Delivery != "":
		p.r.Accepted[answer.Delivery] = call.Instance
	default:
		p.unexpected(fmt.Sprintf("%s: %d without a delivery id", call.Instance, status))
	}
	if status != call.Expect {
		p.unexpected(fmt.Sprintf("%s %s: answered %d, want %d", call.Instance, call.Note, status, call.Expect))
	}
	if p.Progress != nil {
		p.Progress(p.r.Sent)
	}
}

func (p *player) unexpected(what string) {
	if len(p.r.Unexpected) < 10 {
		p.r.Unexpected = append(p.r.Unexpected, what)
	}
}

func (p *player) fail(call producer.Call, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r.Sent++
	p.r.Failed++
	p.unexpected(fmt.Sprintf("%s %s: not answered: %v", call.Instance, call.Note, err))
}
