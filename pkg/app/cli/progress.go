package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress says on stderr how far long work has come: a line that is rewritten on a
// terminal, plain lines elsewhere. It is safe for concurrent use.
type Progress struct {
	w           io.Writer
	live, quiet bool

	mu    sync.Mutex
	begun time.Time // of the step
	last  time.Time
	open  bool // a rewritten line stands there
}

// NewProgress begins now; quiet says nothing. What is done in a moment has no line.
func NewProgress(w io.Writer, quiet bool) *Progress {
	now := time.Now()
	return &Progress{w: w, live: Terminal(w), quiet: quiet, begun: now, last: now}
}

// Step begins a step.
func (p *Progress) Step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.begun = time.Now()
	p.last = p.begun
	if !p.quiet {
		fmt.Fprintln(p.w, what)
	}
}

// Count shows a number whose end is not known.
func (p *Progress) Count(what string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due() {
		p.say(fmt.Sprintf("  %s: %d", what, n))
	}
}

// At shows that n of so many are done, how fast it goes and how long it takes. what may
// be left out.
func (p *Progress) At(what string, n, of int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.due() {
		return
	}
	if what != "" {
		what = " " + what
	}
	rate := float64(n) / time.Since(p.begun).Seconds()
	text := fmt.Sprintf("  %d of %d%s, %.0f a second", n, of, what, rate)
	if left := float64(of-n) / rate; n > 0 && left >= 0 {
		text += fmt.Sprintf(", %s left", time.Duration(left*float64(time.Second)).Round(time.Second))
	}
	p.say(text)
}

// End closes the line.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// due says whether it is time to say more.
func (p *Progress) due() bool {
	every := 2 * time.Second
	if p.live {
		every = 100 * time.Millisecond
	}
	if p.quiet || time.Since(p.last) < every {
		return false
	}
	p.last = time.Now()
	return true
}

func (p *Progress) say(text string) {
	if p.live {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		p.open = true
		return
	}
	fmt.Fprintln(p.w, text)
}

func (p *Progress) clear() {
	if p.open {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.open = false
	}
}
