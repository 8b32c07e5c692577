package stage

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Where nobody looks, a line every two seconds; on a terminal, one line that is
// rewritten and gone at the end.
func TestProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var plain, live strings.Builder
		for p, w := range map[*progress]*strings.Builder{newProgress(&plain): &plain, {w: &live, live: true}: &live} {
			w.Reset()
			p.step("playing")
			p.count("sent", 1, 0) // too soon
			time.Sleep(3 * time.Second)
			p.count("sent", 2, 10)
			p.count("sent", 3, 10)
			time.Sleep(200 * time.Millisecond)
			p.count("sent", 4, 10)
			p.step("done")
			p.end()
		}
		if got, want := plain.String(), "playing\n  sent: 2 of 10\ndone\n"; got != want {
			t.Errorf("plain: %q, want %q", got, want)
		}
		if got, want := live.String(), "playing\n\r\x1b[K  sent: 2 of 10\r\x1b[K  sent: 4 of 10\r\x1b[Kdone\n"; got != want {
			t.Errorf("live: %q, want %q", got, want)
		}
	})
}
