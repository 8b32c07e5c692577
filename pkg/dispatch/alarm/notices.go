package alarm

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/once"
)

const (
	maxText   = 400  // bytes of a reason in a message
	maxDeaths = 5000 // reasons that are looked through
)

// DeadLetter raises the alarm that a group has the first dead letter of its
// fingerprint: first among those that stand in its store, whichever process put them
// there. Two that die at one moment, on different partitions, may both be the first:
// an alarm more is better than none.
func (a *Alarms) DeadLetter(group string, store *once.Store, row once.Row) {
	if a == nil {
		return
	}
	fingerprint := fault.Fingerprint(row.Class, row.Reason)
	a.Raise(Notice{
		Kind: "dead letter " + group + " " + fingerprint,
		Text: fmt.Sprintf("spine: first dead letter of its kind in group %s: %s: %s (fingerprint %s, %s/%d@%d). See: spine dlq list -g %s",
			group, row.Class, short(fault.Normalised(row.Reason)), fingerprint, row.Record.Topic, row.Record.Partition, row.Record.Offset, group),
		Old: func(ctx context.Context) (bool, error) { return stood(ctx, store, fingerprint, row.LastFailed) },
	})
}

func stood(ctx context.Context, store *once.Store, fingerprint string, before time.Time) (bool, error) {
	deaths, err := store.Deaths(ctx, before, maxDeaths)
	for _, d := range deaths {
		if fault.Fingerprint(d.Class, d.Reason) == fingerprint {
			return true, nil
		}
	}
	return false, err
}

// Overflow raises the alarm that the waiting room of a group is full.
func (a *Alarms) Overflow(group string, bytes, limit int64) {
	a.Raise(Notice{
		Kind: "overflow " + group,
		Text: fmt.Sprintf("spine: the waiting room of group %s is full, %d of %d bytes: its partitions are paused, nothing is dropped. See: spine parked list -g %s",
			group, bytes, limit, group),
	})
}

func short(reason string) string {
	if len(reason) <= maxText {
		return reason
	}
	cut := maxText
	for cut > 0 && !utf8.RuneStart(reason[cut]) {
		cut--
	}
	return reason[:cut] + "…"
}
