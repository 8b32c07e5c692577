package stage

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/eventspine/spine/pkg/app/cli"
)

// progress says on stderr how far long work has come: a line that is rewritten on a
// terminal, plain lines elsewhere.
type progress struct {
	w    io.Writer
	live bool

	mu    sync.Mutex
	last  time.Time
	dirty bool // a rewritten line stands open
}

func newProgress(w io.Writer) *progress { return &progress{w: w, live: cli.Terminal(w)} }

// step begins a step.
func (p *progress) step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintln(p.w, what)
	p.last = time.Now()
}

// count shows a number; of = 0 where the end is not known.
func (p *progress) count(what string, n, of int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := 2 * time.Second
	if p.live {
		every = 100 * time.Millisecond
	}
	if time.Since(p.last) < every {
		return
	}
	p.last = time.Now()
	text := fmt.Sprintf("  %s: %d", what, n)
	if of > 0 {
		text += fmt.Sprintf(" of %d", of)
	}
	if p.live {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		p.dirty = true
		return
	}
	fmt.Fprintln(p.w, text)
}

func (p *progress) clear() {
	if p.dirty {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.dirty = false
	}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}
