package cli

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Where nobody looks, a line every two seconds; on a terminal, one line that is
// rewritten and gone at the end; nothing where a program reads.
func TestProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var plain, live, none strings.Builder
		for p, w := range map[*Progress]*strings.Builder{NewProgress(&plain, false): &plain, {w: &live, live: true}: &live, NewProgress(&none, true): &none} {
			w.Reset()
			p.Step("playing")
			p.Count("sent", 1) // too soon
			time.Sleep(3 * time.Second)
			p.Count("sent", 2)
			p.Count("sent", 3)
			time.Sleep(200 * time.Millisecond)
			p.Count("sent", 4)
			p.Step("comparing")
			time.Sleep(2 * time.Second)
			p.At("records", 10, 100)
			p.At("records", 11, 100)
			time.Sleep(2 * time.Second)
			p.At("", 100, 100)
			p.End()
		}
		if got, want := plain.String(), "playing\n  sent: 2\ncomparing\n  10 of 100 records, 5 a second, 18s left\n  100 of 100, 25 a second, 0s left\n"; got != want {
			t.Errorf("plain: %q, want %q", got, want)
		}
		if none.Len() > 0 {
			t.Errorf("quiet: %q", none.String())
		}
		const again = "\r\x1b[K"
		if got, want := live.String(), "playing\n"+again+"  sent: 2"+again+"  sent: 4"+again+"comparing\n"+
			again+"  10 of 100 records, 5 a second, 18s left"+again+"  100 of 100, 25 a second, 0s left"+again; got != want {
			t.Errorf("live: %q, want %q", got, want)
		}
	})
}

// Work that is over in a moment says nothing.
func TestProgress_ofAMoment(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	p := NewProgress(&said, false)
	p.At("rows", 1, 2)
	p.End()
	if said.Len() > 0 {
		t.Errorf("said %q", said.String())
	}
}
