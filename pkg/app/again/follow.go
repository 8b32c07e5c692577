package again

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/once/replay"
)

const (
	look     = 250 * time.Millisecond
	patience = 10 * time.Second // without a sign of an owner
	open     = "open"
)

// state is a replay as it stands: a contract.
type state struct {
	Group      string      `json:"group"`
	Replay     int64       `json:"replay"`
	Executed   bool        `json:"executed"`
	Kind       string      `json:"kind"`
	State      string      `json:"state"` // open, done or dropped
	AskedAt    string      `json:"asked_at"`
	Facts      []string    `json:"facts"` // [] = all
	Effects    bool        `json:"effects"`
	Backfill   bool        `json:"backfill"`
	Records    int64       `json:"records"` // offsets of all ranges
	Done       int64       `json:"done"`    // of them
	Handled    int64       `json:"handled"`
	Duplicate  int64       `json:"duplicate"`
	Standing   int64       `json:"standing"` // waiting or dead before
	Failed     int64       `json:"failed"`
	Partitions []statePart `json:"partitions"`
}

type statePart struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	Until     int64  `json:"until"`
	Next      int64  `json:"next"`
	Handled   int64  `json:"handled"`
	Duplicate int64  `json:"duplicate"`
	Standing  int64  `json:"standing"`
	Backfill  int64  `json:"backfill"`
	Other     int64  `json:"other"`
	Failed    int64  `json:"failed"`
	State     string `json:"state"`
	Reason    string `json:"reason,omitempty"` // why it stands still
}

// statesOf joins the parts of replays, in their order.
func statesOf(group string, parts []replay.Part) []*state {
	states := []*state{}
	for _, p := range parts {
		if n := len(states); n == 0 || states[n-1].Replay != p.ID {
			states = append(states, &state{
				Group: group, Replay: p.ID, Executed: true, Kind: string(p.Kind), State: string(replay.Done), AskedAt: p.AskedAt.Format(cli.MicroTime),
				Facts: append([]string{}, p.Facts...), Effects: p.Effects, Backfill: p.Backfill, Partitions: []statePart{},
			})
		}
		s, c, at := states[len(states)-1], p.Counts, cmp.Or(string(p.Result), open)
		s.Partitions = append(s.Partitions, statePart{
			p.Topic, p.Partition, p.From, p.Until, p.Cursor, c.Handled, c.Duplicate, c.Standing, c.Backfill, c.Other, c.Failed, at, p.Reason,
		})
		s.Records, s.Done = s.Records+p.Until-p.From, s.Done+p.Cursor-p.From
		s.Handled, s.Duplicate, s.Standing, s.Failed = s.Handled+c.Handled, s.Duplicate+c.Duplicate, s.Standing+c.Standing, s.Failed+c.Failed
		if at == open || at == string(replay.Dropped) && s.State != open {
			s.State = at
		}
	}
	return states
}

// show lists the replays that are remembered.
func (j *job) show(ctx context.Context) error {
	parts, err := replay.List(ctx, j.db.DB, j.group, 0)
	if err != nil {
		return err
	}
	states := statesOf(j.group, parts)
	return j.Print(states, func(w *cli.Table) {
		w.Row("REPLAY", "KIND", "ASKED", "STATE", "RECORDS", "DONE", "HANDLED", "DUPLICATE", "STANDING", "FAILED", "REASON")
		for _, s := range states {
			w.Row(s.Replay, s.Kind, s.AskedAt, s.State, s.Records, s.Done, s.Handled, s.Duplicate, s.Standing, s.Failed, s.reason())
		}
	})
}

func (s *state) reason() string {
	i := slices.IndexFunc(s.Partitions, func(p statePart) bool { return p.State == open && p.Reason != "" })
	if i < 0 {
		return ""
	}
	return s.Partitions[i].Reason
}

func (j *job) giveUp(ctx context.Context) error {
	n, err := replay.Drop(ctx, j.db.DB, j.group, j.cancel)
	if err != nil {
		return err
	}
	if n == 0 {
		return cli.Usage("group %s has no open replay %d; see spine replay -g %s --list", j.group, j.cancel, j.group)
	}
	return j.report(ctx, j.cancel)
}

// carryOut leaves the request, and follows the owners to its end.
func (j *job) carryOut(ctx context.Context) error {
	ranges, err := j.read(ctx, nil)
	if err != nil {
		return err
	}
	id, err := replay.Ask(ctx, j.db.DB, j.group, replay.Request{
		Kind: replay.Facts, Facts: j.facts, Backfill: j.backfill || j.of.Backfill, Effects: j.effects, Rate: rateOf(j.rate),
	}, ranges)
	if err != nil {
		return err
	}
	if !j.noWait {
		if err := j.follow(ctx, id); err != nil {
			return err
		}
	}
	return j.report(ctx, id)
}

func rateOf(perSecond float64) int {
	if perSecond <= 0 {
		return 0
	}
	return max(int(perSecond), 1)
}

func (j *job) stateOf(ctx context.Context, id int64) (*state, error) {
	parts, err := replay.List(ctx, j.db.DB, j.group, id)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("replay %d of %s is not there any more", id, j.group)
	}
	return statesOf(j.group, parts)[0], nil
}

// follow says how far the owners are, until they are at the end. Without an owner it
// says so, and waits for one.
func (j *job) follow(ctx context.Context, id int64) error {
	p := cli.NewProgress(j.Stderr, !j.People())
	defer p.End()
	tick := time.NewTicker(look)
	defer tick.Stop()
	moved, done, said := time.Now(), int64(-1), false
	for {
		s, err := j.stateOf(ctx, id)
		if err != nil || s.State != open {
			return err
		}
		if s.Done != done {
			moved, done, said = time.Now(), s.Done, false
		}
		p.At("", s.Done, s.Records)
		if !said && time.Since(moved) > patience {
			said = true
			p.End()
			fmt.Fprintf(j.Stderr, "spine: replay %d stands still: %s; it stays, and goes on by itself (spine replay -g %s --cancel %d gives it up)\n",
				id, cmp.Or(s.reason(), "no process runs "+j.group+" at the moment, or it is busy with live records"), j.group, id)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// report shows how a replay stands.
func (j *job) report(ctx context.Context, id int64) error {
	s, err := j.stateOf(ctx, id)
	if err != nil {
		return err
	}
	err = j.Print(s, func(w *cli.Table) {
		w.Row("TOPIC", "PARTITION", "FROM", "UNTIL", "NEXT", "HANDLED", "DUPLICATE", "STANDING", "BACKFILL", "OTHER", "FAILED", "STATE")
		for _, p := range s.Partitions {
			w.Row(p.Topic, p.Partition, p.From, p.Until, p.Next, p.Handled, p.Duplicate, p.Standing, p.Backfill, p.Other, p.Failed, p.State)
		}
		w.Line("replay %d of %s: %s, %d handled now, %d before", s.Replay, s.Group, s.State, s.Handled, s.Duplicate)
	})
	if err == nil && s.Failed > 0 && j.People() {
		fmt.Fprintf(j.Stderr, "spine: %d failed and stand as dead letters: spine dlq list -g %s\n", s.Failed, j.group)
	}
	return err
}
