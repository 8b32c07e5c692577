package again

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/wire"
)

// plan is what a preview shows: a contract.
type plan struct {
	Group      string        `json:"group"`
	Executed   bool          `json:"executed"`
	Effects    bool          `json:"effects"`
	Partitions []plannedPart `json:"partitions"`
}

// plannedPart says what a replay of a partition would do.
type plannedPart struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	Until     int64  `json:"until"`
	Records   int    `json:"records"`
	ToHandle  int    `json:"to_handle"`
	Handled   int    `json:"handled"` // before: they are counted as duplicates
	Waiting   int    `json:"waiting"`
	Dead      int    `json:"dead"`
	Backfill  int    `json:"backfill"` // left out without --backfill
	Other     int    `json:"other"`    // of other facts
}

// previewBatch is how many records are looked up together.
const previewBatch = 500

// candidate is a record that the group may have to handle.
type candidate struct {
	id     string // inbox key
	record *kgo.Record
}

// preview reads the range and says what would become of it.
func (j *job) preview(ctx context.Context) error {
	p, err := j.survey(ctx, func(candidate) error { return nil })
	if err != nil {
		return err
	}
	err = j.Print(p, p.table)
	if err == nil && j.People() {
		fmt.Fprintln(j.Stderr, "spine: a preview, nothing was changed; --execute does it")
	}
	return err
}

func (p plan) table(w *cli.Table) {
	w.Row("TOPIC", "PARTITION", "FROM", "UNTIL", "RECORDS", "TO HANDLE", "HANDLED", "WAITING", "DEAD", "BACKFILL", "OTHER")
	for _, x := range p.Partitions {
		w.Row(x.Topic, x.Partition, x.From, x.Until, x.Records, x.ToHandle, x.Handled, x.Waiting, x.Dead, x.Backfill, x.Other)
	}
}

// survey reads the range and counts what is in it. What is to be handled is handed to
// take, in the order of its partition.
func (j *job) survey(ctx context.Context, take func(candidate) error) (plan, error) {
	parts := make([]plannedPart, len(j.owned))
	waiting := make([][]candidate, len(j.owned))
	ranges, err := j.read(ctx, func(i int, r *kgo.Record) error {
		parts[i].Records++
		c, ok := j.sort(&parts[i], r)
		if !ok {
			return nil
		}
		if waiting[i] = append(waiting[i], c); len(waiting[i]) < previewBatch {
			return nil
		}
		err := j.lookUp(ctx, i, &parts[i], waiting[i], take)
		waiting[i] = waiting[i][:0]
		return err
	})
	p := plan{Group: j.group, Effects: j.effects, Partitions: []plannedPart{}}
	if err != nil {
		return p, err
	}
	for i, r := range ranges {
		if err := j.lookUp(ctx, i, &parts[i], waiting[i], take); err != nil {
			return p, err
		}
		parts[i].Topic, parts[i].Partition, parts[i].From, parts[i].Until = r.Topic, r.Partition, r.From, r.Until
		p.Partitions = append(p.Partitions, parts[i])
	}
	return p, nil
}

// sort says what a record is, as far as it shows without the store; false = it is
// counted.
func (j *job) sort(p *plannedPart, r *kgo.Record) (candidate, bool) {
	e, bad := wire.Head(r)
	switch {
	case !slices.Contains(dispatch.Types(j.of), e.Type), len(j.facts) > 0 && !slices.Contains(j.facts, e.Type):
		p.Other++
		return candidate{}, false
	case bad == nil && e.Origin == event.OriginBackfill && !j.backfill && !j.of.Backfill:
		p.Backfill++
		return candidate{}, false
	}
	c := candidate{e.ID, r}
	if c.id == "" { // one without an id is only itself
		c.id = fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	}
	return c, true
}

// lookUp asks the store what is done.
func (j *job) lookUp(ctx context.Context, i int, p *plannedPart, list []candidate, take func(candidate) error) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]string, len(list))
	for n, c := range list {
		ids[n] = c.id
	}
	known, err := replay.Look(ctx, j.db.DB, j.group, ids,
		replay.Place{Ownership: j.owned[i].Ownership, From: list[0].record.Offset, Until: list[len(list)-1].record.Offset + 1})
	if err != nil {
		return err
	}
	for n, c := range list {
		state, stands := known.Standing[c.record.Offset]
		switch {
		case known.Handled[n]:
			p.Handled++
		case stands && state == string(once.Dead):
			p.Dead++
		case stands:
			p.Waiting++
		default:
			p.ToHandle++
			if err := take(c); err != nil {
				return err
			}
		}
	}
	return nil
}
