package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventspine/spine/pkg/producer"
)

// numbered is a call of a day, as it comes through the world.
type numbered struct {
	producer.Call
	number int
}

// world lets some calls come later than others that were sent after them, and some
// again, up to 500 calls later. The same seed gives the same world.
func world(seed uint64, calls iter.Seq[producer.Call]) iter.Seq[numbered] {
	return func(yield func(numbered) bool) {
		r := rand.New(rand.NewPCG(seed, 2))
		var late []producer.Call
		again := map[int][]producer.Call{}
		n := 0
		out := func(c producer.Call) bool {
			ok := yield(numbered{c, n})
			n++
			return ok
		}
		for c := range calls {
			late = append(late, c)
			if r.IntN(100) < 4 {
				at := n + 1 + r.IntN(500)
				again[at] = append(again[at], c)
			}
			if len(late) < 40 {
				continue
			}
			pick := 0
			if r.IntN(4) == 0 {
				pick = r.IntN(len(late))
			}
			due := append([]producer.Call{late[pick]}, again[n]...)
			delete(again, n)
			late = append(late[:pick], late[pick+1:]...)
			for _, c := range due {
				if !out(c) {
					return
				}
			}
		}
		for _, c := range late {
			if !out(c) {
				return
			}
		}
	}
}

// sender sends a world to several intakes, as vendors do: what is not answered, or
// with 5xx, is sent again, to any of them. What was answered is written down.
type sender struct {
	urls    []string
	client  *http.Client
	journal *journal
	pace    time.Duration

	hold     atomic.Bool // there is enough on its way
	answered atomic.Int64
	tries    atomic.Int64

	mu         sync.Mutex
	unexpected []string // answers that no correct intake gives
}

func newSender(urls []string, j *journal, pace time.Duration) *sender {
	return &sender{urls: urls, journal: j, pace: pace, client: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

// send sends all that is not answered yet.
func (s *sender) send(ctx context.Context, calls iter.Seq[numbered], workers int) error {
	queue := make(chan numbered)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 3))
			for c := range queue {
				s.deliver(ctx, r, c)
			}
		})
	}
	defer all.Wait()
	defer close(queue)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c := range calls {
		if s.journal.has(c.number) {
			s.answered.Add(1)
			continue
		}
		if !nap(ctx, s.pace) {
			return ctx.Err()
		}
		for s.hold.Load() && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case queue <- c:
		}
	}
	return nil
}

func (s *sender) deliver(ctx context.Context, r *rand.Rand, c numbered) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		status, id, err := s.post(ctx, s.urls[r.IntN(len(s.urls))], c.Call)
		s.tries.Add(1)
		if err == nil && status < 500 {
			if status != c.Expect || (id == "") != (status >= 300) {
				s.mu.Lock()
				s.unexpected = append(s.unexpected, fmt.Sprintf("%s %q: answered %d with delivery %q, want %d", c.Instance, c.Note, status, id, c.Expect))
				s.mu.Unlock()
			}
			s.journal.write(c.number, c.Instance, id)
			s.answered.Add(1)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (s *sender) post(ctx context.Context, url string, c producer.Call) (status int, id string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/webhooks/"+c.Instance, bytes.NewReader(c.Body))
	if err != nil {
		return 0, "", err
	}
	req.Header = c.Header.Clone()
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil || resp.StatusCode >= 300 {
		return resp.StatusCode, "", err
	}
	var answer struct {
		Delivery string `json:"delivery"`
	}
	err = json.Unmarshal(body, &answer)
	return resp.StatusCode, answer.Delivery, err
}

// journal keeps what was answered, in a file: "<number> <instance> <delivery id>" a
// line, without the id where nothing was accepted. A run that was interrupted goes
// on behind it.
type journal struct {
	file *os.File

	mu       sync.Mutex
	w        *bufio.Writer
	answered map[int]struct{}
	accepted map[string]string // delivery id → instance
}

func openJournal(name string) (*journal, error) {
	j := &journal{answered: map[int]struct{}{}, accepted: map[string]string{}}
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := old[:bytes.LastIndexByte(old, '\n')+1] // the last line may be torn
	for line := range strings.Lines(string(whole)) {
		var number int
		var instance, id string
		if n, _ := fmt.Sscan(line, &number, &instance, &id); n < 2 {
			return nil, fmt.Errorf("%s: %q is no answer", name, line)
		}
		j.note(number, instance, id)
	}
	if j.file, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	if _, err := j.file.Seek(int64(len(whole)), io.SeekStart); err != nil {
		return nil, err
	}
	j.w = bufio.NewWriter(j.file)
	return j, nil
}

func (j *journal) note(number int, instance, id string) {
	j.answered[number] = struct{}{}
	if id != "" {
		j.accepted[id] = instance
	}
}

func (j *journal) has(number int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, has := j.answered[number]
	return has
}

func (j *journal) write(number int, instance, id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note(number, instance, id)
	fmt.Fprintln(j.w, number, instance, id)
}

func (j *journal) flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.w.Flush()
}
