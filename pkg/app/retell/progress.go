package retell

import (
	"fmt"
	"io"
	"time"

	"github.com/eventspine/spine/pkg/app/cli"
)

// progress says on stderr how far a step has come, how fast it goes and how long it
// takes: a line that is rewritten on a terminal, plain lines elsewhere.
type progress struct {
	w     io.Writer
	quiet bool
	live  bool
	begun time.Time // of the step
	n     int64
	last  time.Time
	open  bool // a rewritten line stands open
}

func newProgress(w io.Writer, people bool) *progress {
	return &progress{w: w, live: cli.Terminal(w), quiet: !people}
}

// step begins a step.
func (p *progress) step(what string) {
	p.end()
	p.begun, p.last, p.n = time.Now(), time.Now(), 0
	if !p.quiet {
		fmt.Fprintln(p.w, what)
	}
}

// more counts one.
func (p *progress) more(what string, of int64) { p.at(what, p.n+1, of) }

// at says that n are done.
func (p *progress) at(what string, n, of int64) {
	p.n = n
	every := 2 * time.Second
	if p.live {
		every = 100 * time.Millisecond
	}
	if p.quiet || time.Since(p.last) < every {
		return
	}
	p.last = time.Now()
	rate := float64(n) / time.Since(p.begun).Seconds()
	text := fmt.Sprintf("  %d of %d %s, %.0f a second", n, of, what, rate)
	if left := float64(of-n) / rate; n > 0 && left >= 0 {
		text += fmt.Sprintf(", %s left", time.Duration(left*float64(time.Second)).Round(time.Second))
	}
	if p.live {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		p.open = true
		return
	}
	fmt.Fprintln(p.w, text)
}

// end closes the line.
func (p *progress) end() {
	if p.open {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.open = false
	}
}
