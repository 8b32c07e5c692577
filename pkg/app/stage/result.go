package stage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/app/books"
	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/app/play"
	"github.com/eventspine/spine/pkg/app/watch"
	"github.com/eventspine/spine/pkg/once"
)

// demoResult is what spine demo tells: a contract. Every number is counted where it
// happened: HTTP answers, records read back from Kafka, rows in the databases.
type demoResult struct {
	Deliveries demoDeliveries       `json:"deliveries"`
	Facts      map[string]int       `json:"facts"`
	Groups     map[string]demoGroup `json:"groups"`
	Books      books.Totals         `json:"books"`
	LatencyMS  demoLatency          `json:"latency_ms"` // from the answer over HTTP to handled by a group
	ElapsedMS  int64                `json:"elapsed_ms"`

	report  play.Report
	audit   books.Result
	reports []demoReport
	dead    [][]any // group, reason
}

type demoDeliveries struct {
	Sent      int `json:"sent"`
	Accepted  int `json:"accepted"`
	Refused   int `json:"refused"`
	Duplicate int `json:"duplicate"` // accepted, and translate found nothing in it that it did not know
}

type demoGroup struct {
	Handled   int `json:"handled"`
	Duplicate int `json:"duplicate"` // records of an id that stands in the stream more than once
	Parked    int `json:"parked"`
	Dead      int `json:"dead"`
	Effects   int `json:"effects"`
}

type demoLatency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// demoReport is the answer to a consumer.Report.
type demoReport struct {
	title string
	rows  [][]any // the first one is the header
}

// demoResult reads back what the day left behind.
func (a commands) demoResult(ctx context.Context, l *config.Loaded, report play.Report) (_ demoResult, err error) {
	r := demoResult{Facts: map[string]int{}, Groups: map[string]demoGroup{}, report: report}
	r.Deliveries = demoDeliveries{Sent: report.Sent, Accepted: len(report.Accepted)}
	for _, n := range report.Refused {
		r.Deliveries.Refused += n
	}
	stock, err := watch.Stock(ctx, a.CLI, l, time.Time{})
	if err != nil {
		return r, err
	}
	stock.Accepted = report.Accepted
	r.audit = books.Balance(stock)
	r.Books = r.audit.Totals
	for _, outcome := range stock.Outcomes {
		if outcome.Kind == books.DuplicateDelivery {
			r.Deliveries.Duplicate++
		}
	}
	for _, e := range stock.Events {
		r.Facts[e.Type]++
	}
	latencies := stock.Latencies()
	r.LatencyMS = demoLatency{P50: books.Quantile(latencies, 0.5), P99: books.Quantile(latencies, 0.99)}
	dbs := cli.NewStores(l)
	defer func() { err = errors.Join(err, dbs.Close()) }()
	for _, g := range stock.Groups {
		db, err := dbs.Of(ctx, g.Name)
		if err != nil {
			return r, err
		}
		counts, err := db.Store(g.Name).Counts(ctx)
		if err != nil {
			return r, err
		}
		r.Groups[g.Name] = demoGroup{
			Handled: len(g.Handled), Duplicate: stock.Duplicates(g), Parked: len(g.Waiting), Dead: len(g.Dead), Effects: counts.EffectsDone,
		}
		if err := r.letters(ctx, db.Store(g.Name), g.Name); err != nil {
			return r, err
		}
		reports, err := a.reports(ctx, db.SQL(), g.Name)
		if err != nil {
			return r, err
		}
		r.reports = append(r.reports, reports...)
	}
	db, err := dbs.Of(ctx, cli.Translate)
	if err != nil {
		return r, err
	}
	return r, r.letters(ctx, db.Store(cli.Translate), cli.Translate)
}

// letters reads why records are dead.
func (r *demoResult) letters(ctx context.Context, store *once.Store, group string) error {
	const most = 10
	rows, err := store.Rows(ctx, once.RowFilter{State: once.Dead, Limit: most})
	if err != nil {
		return err
	}
	for _, row := range rows {
		r.dead = append(r.dead, []any{group, row.Reason})
	}
	return nil
}

func (a commands) reports(ctx context.Context, db *sql.DB, group string) ([]demoReport, error) {
	g, err := a.Fleet.Group(group)
	if err != nil {
		return nil, err
	}
	var all []demoReport
	for _, q := range g.Reports {
		rows, err := answer(ctx, db, q.Query)
		if err != nil {
			return nil, fmt.Errorf("report %q of %s: %w", q.Title, group, err)
		}
		all = append(all, demoReport{q.Title, rows})
	}
	return all, nil
}

// answer runs a query; the first row of the answer is its columns.
func answer(ctx context.Context, db *sql.DB, query string) ([][]any, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	header := make([]any, len(names))
	for i, name := range names {
		header[i] = strings.ToUpper(strings.ReplaceAll(name, "_", " "))
	}
	all := [][]any{header}
	for rows.Next() {
		row, into := make([]any, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, v := range row {
			if text, ok := v.([]byte); ok {
				row[i] = string(text)
			}
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// tell prints the result, and decides.
func (a commands) tell(r demoResult) error {
	if err := a.Print(r, func(w *cli.Table) { showDemo(w, r) }); err != nil {
		return err
	}
	if len(r.report.Unexpected) > 0 || r.report.Failed > 0 {
		return &cli.ExitError{Code: cli.ExitDrift, Err: fmt.Errorf("%d deliveries were answered otherwise than they should, such as: %s", len(r.report.Unexpected), r.report.Unexpected[0])}
	}
	if !r.audit.Balanced {
		return &cli.ExitError{Code: cli.ExitDrift}
	}
	return nil
}

func showDemo(w *cli.Table, r demoResult) {
	w.Line("\nWHAT ARRIVED")
	w.Row("deliveries sent", r.Deliveries.Sent)
	w.Row("accepted", r.Deliveries.Accepted)
	w.Row("of these, nothing new in it", r.Deliveries.Duplicate)
	for _, reason := range slices.Sorted(maps.Keys(r.report.Refused)) {
		w.Row("refused: "+reason, r.report.Refused[reason])
	}
	w.Line("\nWHAT WAS SPECIAL ABOUT IT")
	for _, note := range slices.Sorted(maps.Keys(r.report.Notes)) {
		w.Row(note, r.report.Notes[note])
	}
	w.Line("\nDEAD LETTERS")
	for _, row := range r.dead {
		w.Row(row...)
	}
	w.Line("\nFACTS")
	for _, fact := range slices.Sorted(maps.Keys(r.Facts)) {
		w.Row(fact, r.Facts[fact])
	}
	w.Line("\nGROUPS")
	w.Row("GROUP", "HANDLED", "DUPLICATES", "PARKED", "DEAD", "EFFECTS")
	for _, name := range slices.Sorted(maps.Keys(r.Groups)) {
		g := r.Groups[name]
		w.Row(name, g.Handled, g.Duplicate, g.Parked, g.Dead, g.Effects)
	}
	for _, report := range r.reports {
		w.Line("\n%s", strings.ToUpper(report.title))
		for _, row := range report.rows {
			w.Row(row...)
		}
	}
	w.Line("\nLATENCY")
	w.Row("OF", "P50 MS", "P99 MS")
	w.Row("answer over HTTP", fmt.Sprintf("%.1f", ms(r.report, 0.5)), fmt.Sprintf("%.1f", ms(r.report, 0.99)))
	w.Row("received → handled by a group", fmt.Sprintf("%.1f", r.LatencyMS.P50), fmt.Sprintf("%.1f", r.LatencyMS.P99))
	w.Line("\nTHE BOOKS")
	watch.ShowBooks(w, r.audit, false)
	w.Line("%.1f s in all", float64(r.ElapsedMS)/1000)
}

func ms(r play.Report, q float64) float64 { return float64(r.Quantile(q).Microseconds()) / 1000 }
