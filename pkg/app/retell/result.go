package retell

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/translate/again"
)

// result is what spine replay --system prints: a contract.
type result struct {
	System    string       `json:"system"`
	Instance  string       `json:"instance,omitempty"`
	Since     string       `json:"since"`
	Until     string       `json:"until,omitempty"`
	Executed  bool         `json:"executed"`
	Counts    deliveries   `json:"deliveries"`
	Refused   []refused    `json:"refused"`
	Facts     []*factRow   `json:"facts"`
	New       []retoldFact `json:"new"`
	Changed   []retoldFact `json:"changed"`
	Gone      []string     `json:"gone"`      // ids that were published and are not told any more: they stand
	Published int64        `json:"published"` // by the owners
	Known     int64        `json:"known"`     // dropped by the owners: published meanwhile
	Open      int64        `json:"open"`      // not carried out yet
}

type deliveries struct {
	Translated int `json:"translated"`
	Left       int `json:"left"`    // not handled yet, waiting or dead: translate's own
	Refused    int `json:"refused"` // by today's adapter
}

type refused struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

type factRow struct {
	Fact        string `json:"fact"`
	New         int    `json:"new"`
	Same        int    `json:"same"`
	NotCompared int    `json:"not_compared"` // of the same ones: known by id only
	Changed     int    `json:"changed"`
}

type retoldFact struct {
	ID          string             `json:"id"`
	Fact        string             `json:"fact"`
	Key         string             `json:"key"`
	Delivery    string             `json:"delivery"`
	Accepted    bool               `json:"accepted,omitempty"`
	Differences []again.Difference `json:"differences,omitempty"`
}

func (w *work) result(ctx context.Context) (result, error) {
	r := result{
		System: w.System, Instance: w.Instance, Since: w.Since.UTC().Format(cli.MicroTime), Executed: w.Execute,
		Refused: []refused{}, Facts: []*factRow{}, New: []retoldFact{}, Changed: []retoldFact{},
	}
	if !w.Until.IsZero() {
		r.Until = w.Until.UTC().Format(cli.MicroTime)
	}
	counts, err := w.fold.Counts(ctx)
	if err != nil {
		return r, err
	}
	r.Counts = deliveries{counts.Deliveries, counts.Left, counts.Failed}
	reasons, err := w.fold.Reasons(ctx)
	if err != nil {
		return r, err
	}
	for _, reason := range reasons {
		r.Refused = append(r.Refused, refused{reason.Text, reason.Count})
	}
	if r.Gone, err = w.fold.Gone(ctx); err != nil {
		return r, err
	}
	rows := map[string]*factRow{}
	err = w.fold.Facts(ctx, func(f again.Fact) error {
		if !w.asked(f) {
			return nil
		}
		row := rows[f.Type]
		if row == nil {
			row = &factRow{Fact: f.Type}
			rows[f.Type], r.Facts = row, append(r.Facts, row)
		}
		told := retoldFact{ID: f.ID, Fact: f.Type, Key: string(f.Record.Key), Delivery: f.Delivery}
		switch f.State {
		case again.Missing:
			row.New++
			r.New = append(r.New, told)
		case again.Changed:
			row.Changed++
			told.Accepted, told.Differences = w.accepted(f), f.Diff
			r.Changed = append(r.Changed, told)
		case again.Same:
			row.Same++
			if !f.Compared {
				row.NotCompared++
			}
		}
		return nil
	}, again.Missing, again.Same, again.Changed)
	slices.SortFunc(r.Facts, func(a, b *factRow) int { return cmp.Compare(a.Fact, b.Fact) })
	return r, err
}

// asked says whether a fact is of those that were asked for.
func (o Options) asked(f again.Fact) bool {
	return len(o.Facts) == 0 || slices.Contains(o.Facts, f.Type)
}

// refusal is the error of changed content that nobody named.
func (r result) refusal() error {
	n := 0
	for _, c := range r.Changed {
		if !c.Accepted {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return cli.Refused("%d published facts have other content now, and are left as they are: a fact is immutable; --accept-changed with their ids or fact types publishes the new content under the old id, behind what stands", n)
}

const shown = 20 // facts of each kind, for people

func (w *work) show(r result) error {
	err := w.Print(r, func(t *cli.Table) {
		t.Line("%s since %s: %d deliveries translated again, %d left to translate, %d refused by the adapter", r.System, r.Since,
			r.Counts.Translated, r.Counts.Left, r.Counts.Refused)
		for _, reason := range r.Refused {
			t.Line("  refused %d times: %s", reason.Count, reason.Reason)
		}
		t.Row("FACT", "NEW", "SAME", "NOT COMPARED", "CHANGED")
		for _, row := range r.Facts {
			t.Row(row.Fact, row.New, row.Same, row.NotCompared, row.Changed)
		}
		w.list(t, "new", r.New)
		w.list(t, "changed", r.Changed)
		if n := len(r.Gone); n > 0 {
			t.Line("%d facts were published and are not told any more; they stand%s", n, first(r.Gone))
		}
		if r.Executed {
			t.Line("%d published, %d known meanwhile, %d not carried out yet", r.Published, r.Known, r.Open)
		}
	})
	if err == nil && !r.Executed && w.People() && len(r.New)+len(r.Changed) > 0 {
		fmt.Fprintln(w.Stderr, "spine: a preview, nothing was published; --execute does it")
	}
	return err
}

func first(ids []string) string {
	text := ""
	for i, id := range ids {
		if i == shown {
			return text + fmt.Sprintf("\n  and %d more: -o json lists all", len(ids)-shown)
		}
		text += "\n  " + id
	}
	return text
}

func (w *work) list(t *cli.Table, state string, facts []retoldFact) {
	for i, f := range facts {
		if i == shown && !w.Wide() {
			t.Line("and %d more %s: -o wide or -o json lists all", len(facts)-shown, state)
			return
		}
		note := ""
		if f.Accepted {
			note = ", accepted"
		}
		t.Line("%s %s %s of %s%s", state, f.Fact, f.ID, f.Key, note)
		for _, d := range f.Differences {
			t.Line("    %s: %s, now %s", d.Field, cmp.Or(string(d.Published), "nothing"), cmp.Or(string(d.Now), "nothing"))
		}
	}
}
