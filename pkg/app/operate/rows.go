package operate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/show"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

const (
	requestPatience = 10 * time.Second       // without a sign of an owner
	requestLook     = 100 * time.Millisecond // for answers
	rowPage         = 500
	askPage         = 200 // requests in one transaction
)

// What became of a row in the output, where it is not the owner's answer.
const (
	resultAsked       = "asked" // nobody has answered yet: the request stays
	resultPlanned     = "planned"
	resultQuarantined = "quarantined"
)

// room is the waiting room of one group: read freely, written by its owners only.
type room struct {
	*cli.CLI
	group string
	db    *once.DB
	store *once.Store
	limit config.Size // bytes
}

// withRoom gives fn the waiting room of a group that has run.
func (a commands) withRoom(ctx context.Context, group string, fn func(context.Context, room) error) (err error) {
	if group == "" {
		return cli.Usage("want a group: -g GROUP; see spine groups list")
	}
	if _, err := a.Fleet.Group(group); err != nil {
		return err
	}
	l, err := a.Load(nil)
	if err != nil {
		return err
	}
	dbs := cli.NewStores(l)
	defer func() { err = errors.Join(err, dbs.Close()) }()
	db, err := dbs.Of(ctx, group)
	if err != nil {
		return err
	}
	return fn(ctx, room{a.CLI, group, db, db.Store(group), l.WaitingRoomOf(group)})
}

// rows reads all rows that a filter selects, page by page.
func (r room) rows(ctx context.Context, f once.RowFilter) ([]once.Row, error) {
	var all []once.Row
	for f.Limit = rowPage; ; {
		page, err := r.store.Rows(ctx, f)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(page) < rowPage {
			return all, nil
		}
		f.After = page[len(page)-1].ID
	}
}

// row is the row that a word of the command line names.
func (r room) row(ctx context.Context, word string) (once.Row, error) {
	id, err := strconv.ParseInt(word, 10, 64)
	if err != nil || id <= 0 {
		return once.Row{}, cli.Usage("%s: want the number of a row; see spine parked list and spine dlq list", word)
	}
	rows, err := r.store.Rows(ctx, once.RowFilter{ID: id})
	if err == nil && len(rows) == 0 {
		err = cli.Usage("group %s has no row %d that waits or is dead", r.group, id)
	}
	if err != nil {
		return once.Row{}, err
	}
	return rows[0], nil
}

// answer is what became of what was asked for a row: a contract.
type answer struct {
	Row         int64  `json:"row"`
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	Offset      int64  `json:"offset"`
	Key         string `json:"key"`
	State       string `json:"state"` // as it was before
	Class       string `json:"class"`
	Reason      string `json:"reason"`
	Fingerprint string `json:"fingerprint"`
	Redriven    int    `json:"redriven"`
	Result      string `json:"result"`
}

func answerOf(row once.Row, result string) answer {
	return answer{
		Row: row.ID, Topic: row.Record.Topic, Partition: row.Record.Partition, Offset: row.Record.Offset, Key: show.Printable(row.Record.Key),
		State: string(row.State), Class: row.Class, Reason: row.Reason, Fingerprint: fault.Fingerprint(row.Class, row.Reason),
		Redriven: row.Redriven, Result: result,
	}
}

// ask asks the owners for something, row by row in the order of the ids, which is
// that of the keys; rate limits requests per second, 0 = none. Then it waits for the
// answers as long as there is a sign of an owner. Killed, it leaves what was asked to
// the owners, and the rest as it was: the same command goes on.
func (r room) ask(ctx context.Context, kind request.Kind, rows []once.Row, rate float64) ([]answer, error) {
	answers := make([]answer, len(rows))
	open := map[int64]int{} // index by request
	progress := cli.NewProgress(r.Stderr, !r.People())
	defer progress.End()
	var pace <-chan time.Time
	step := askPage
	if rate > 0 {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer ticker.Stop()
		pace, step = ticker.C, 1
	}
	for from := 0; from < len(rows); from += step {
		if from > 0 && pace != nil {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-pace:
			}
		}
		progress.At("asked for", int64(from), int64(len(rows)))
		page := rows[from:min(from+step, len(rows))]
		ids := make([]int64, len(page))
		for i, row := range page {
			ids[i] = row.ID
		}
		asked, err := request.AskAll(ctx, r.db.DB, r.group, kind, ids)
		if err != nil {
			return nil, fmt.Errorf("asking for %s: %w", kind, err)
		}
		for i, id := range asked {
			answers[from+i] = answerOf(page[i], resultAsked)
			if id == 0 {
				answers[from+i].Result = string(request.Gone)
				continue
			}
			open[id] = from + i
		}
	}
	return answers, r.await(ctx, open, func(i int, result request.Result) { answers[i].Result = string(result) })
}

// await tells what became of the open requests, index by id, as long as there is a
// sign of an owner.
func (r room) await(ctx context.Context, open map[int64]int, tell func(i int, result request.Result)) error {
	asked := len(open)
	if err := r.watch(ctx, open, tell); err != nil {
		return err
	}
	if n := len(open); n > 0 {
		fmt.Fprintf(r.Stderr, "spine: %d of %d requests not carried out yet: no process runs %s at the moment, or the row is at work; they stay, and the next owner carries them out\n",
			n, asked, r.group)
	}
	return nil
}

// watch tells the answers, and leaves in open what has none.
func (r room) watch(ctx context.Context, open map[int64]int, tell func(i int, result request.Result)) error {
	ticker := time.NewTicker(requestLook)
	defer ticker.Stop()
	progress, asked := cli.NewProgress(r.Stderr, !r.People()), len(open)
	defer progress.End()
	for deadline := time.Now().Add(requestPatience); len(open) > 0 && time.Now().Before(deadline); {
		first := slices.Min(slices.Collect(maps.Keys(open)))
		list, err := request.List(ctx, r.db.DB, r.group, first-1)
		if err != nil {
			return err
		}
		for _, q := range list {
			if i, asked := open[q.ID]; asked && q.Result != request.Open {
				tell(i, q.Result)
				delete(open, q.ID)
				deadline = time.Now().Add(requestPatience)
			}
		}
		if len(open) == 0 {
			return nil
		}
		progress.At("carried out", int64(asked-len(open)), int64(asked))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// showAnswers prints what became of each row, and refuses where the owner did.
func (r room) showAnswers(answers []answer) error {
	err := r.Print(answers, func(w *cli.Table) {
		w.Row("ROW", "KEY", "RECORD", "STATE", "RESULT")
		for _, a := range answers {
			w.Row(a.Row, a.Key, fmt.Sprintf("%s/%d@%d", a.Topic, a.Partition, a.Offset), a.State, a.Result)
		}
	})
	if err == nil && slices.ContainsFunc(answers, func(a answer) bool { return a.Result == string(request.Refused) }) {
		return cli.Refused("a row that is not in a state that allows it was left alone; see spine parked list")
	}
	return err
}

// shownRow is what parked show and dlq show print: a contract.
type shownRow struct {
	Group       string     `json:"group"`
	Row         int64      `json:"row"`
	State       string     `json:"state"`
	Holds       bool       `json:"holds_key"`
	EventID     string     `json:"event_id"`
	Class       string     `json:"class"`
	Reason      string     `json:"reason"`
	Fingerprint string     `json:"fingerprint"`
	Attempts    int        `json:"attempts"`
	Redriven    int        `json:"redriven"`
	Since       string     `json:"since,omitempty"`
	LastFailed  string     `json:"last_failed,omitempty"`
	NextTry     string     `json:"next_try,omitempty"`
	Record      show.Event `json:"record"`
}

// showRow prints a row and its record, decoded as tail does.
func (a commands) showRow(ctx context.Context, group, word string, unmask bool) error {
	return a.withRoom(ctx, group, func(ctx context.Context, r room) error {
		row, err := r.row(ctx, word)
		if err != nil {
			return err
		}
		l, err := a.Load(nil)
		if err != nil {
			return err
		}
		codec, err := cli.Codec(l)
		if err != nil {
			return err
		}
		decoder := show.Decoder{Codec: codec, Unmask: unmask}
		event, err := decoder.Decode(ctx, leaving.Kafka(row.Record))
		if err != nil {
			return err
		}
		s := shownRow{
			Group: group, Row: row.ID, State: string(row.State), Holds: row.Holds, EventID: row.EventID, Class: row.Class, Reason: row.Reason,
			Fingerprint: fault.Fingerprint(row.Class, row.Reason), Attempts: row.Attempts, Redriven: row.Redriven,
			Since: microTime(row.FirstFailed), LastFailed: microTime(row.LastFailed), NextTry: nextTry(row), Record: event,
		}
		err = a.Print(s, func(w *cli.Table) {
			w.Line("row %d of %s: %s, %d attempts, redriven %d times, since %s", s.Row, s.Group, s.State, s.Attempts, s.Redriven, cmp.Or(s.Since, "-"))
			w.Line("%s: %s (fingerprint %s)", cmp.Or(s.Class, "behind its head"), cmp.Or(s.Reason, "-"), s.Fingerprint)
			w.Line("")
		})
		if err == nil && a.People() {
			err = event.Pretty(a.Stdout)
		}
		return err
	})
}

func microTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(cli.MicroTime)
}

// nextTry is when a row is tried next; a head that is due says so by a time that has
// passed.
func nextTry(row once.Row) string {
	if row.State == once.Dead {
		return ""
	}
	return microTime(row.NextAt)
}

// clipped is text for one cell.
func clipped(s string, wide bool) string {
	const most = 60
	if wide || utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// neverRan says that a group has no store yet.
func neverRan(err error) bool { return errors.Is(err, fs.ErrNotExist) }
