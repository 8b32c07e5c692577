package retell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/topic"
	"github.com/eventspine/spine/pkg/translate/again"
	"github.com/eventspine/spine/pkg/wire"
)

const page = 500 // records or rows that are dealt with together

// read fills the fold: first the deliveries, then what was published.
func (w *work) read(ctx context.Context) error {
	window, err := w.window()
	if err != nil {
		return err
	}
	done, err := w.handled(ctx)
	if err != nil {
		return err
	}
	w.asOf = time.Now()
	if err := w.deliveries(ctx, window, done); err != nil {
		return err
	}
	if err := w.fold.Finish(ctx); err != nil {
		return err
	}
	if err := w.outcomes(ctx); err != nil {
		return err
	}
	return w.published(ctx)
}

func (w *work) window() (tap.Window, error) {
	until := "end"
	if !w.Until.IsZero() {
		until = fmt.Sprintf("@%d", w.Until.UnixMilli())
	}
	return tap.ParseWindow(fmt.Sprintf("@%d:%s", w.Since.UnixMilli(), until), time.Now())
}

// place is where a delivery stands in the raw topic.
type place struct {
	partition int32
	offset    int64
}

// handled says which deliveries translate has handled: those below next_offset that
// neither wait nor are dead. The others are its own to translate, with today's
// adapter.
func (w *work) handled(ctx context.Context) (func(place) bool, error) {
	store, raw := w.db.Store(cli.Translate), topic.RawName(w.System)
	owned, err := store.Ownerships(ctx)
	if err != nil {
		return nil, err
	}
	next, standing := map[int32]int64{}, map[place]bool{}
	for _, o := range owned {
		if o.Topic == raw {
			next[o.Partition] = o.NextOffset
		}
	}
	for partition := range next {
		filter := once.RowFilter{Topic: raw, Partition: partition, Limit: page}
		for more := true; more; {
			rows, err := store.Rows(ctx, filter)
			if err != nil {
				return nil, err
			}
			for _, row := range rows {
				standing[place{partition, row.Record.Offset}], filter.After = true, row.ID
			}
			more = len(rows) == page
		}
	}
	return func(p place) bool { return p.offset < next[p.partition] && !standing[p] }, nil
}

func (w *work) deliveries(ctx context.Context, window tap.Window, handled func(place) bool) error {
	var taken []again.Delivery
	var left []string
	flush := func() error {
		err := errors.Join(w.fold.Leave(ctx, left), w.fold.Take(ctx, taken))
		taken, left = taken[:0], left[:0]
		return err
	}
	var n, total int64
	w.progress.Step("translating the deliveries of " + w.System + " again")
	err := tap.Read(ctx, tap.Options{
		Client: w.client, Topics: []string{topic.RawName(w.System)}, Window: window,
		Resolved: func(_ string, _ int32, from, to int64) { total += max(to-from, 0) },
	}, func(r *kgo.Record) error {
		n++
		w.progress.At("deliveries", n, total)
		d, err := wire.DecodeDelivery(r)
		if err != nil || !w.wanted(d.Source) {
			return nil //nolint:nilerr // a dead letter that no adapter sees
		}
		if _, known := w.settings[d.Source]; !known && !slices.Contains(w.foreign, d.Source) {
			w.foreign = append(w.foreign, d.Source)
		}
		if handled(place{r.Partition, r.Offset}) {
			taken = append(taken, again.Delivery{Delivery: d, Partition: r.Partition})
		} else {
			left = append(left, d.ID)
		}
		if len(taken)+len(left) < page {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}

// outcomes tells the fold what translate has ever published for the system: the ids
// outlive the records.
func (w *work) outcomes(ctx context.Context) error {
	for after := ""; ; {
		rows, err := w.db.SQL().QueryContext(ctx, `SELECT delivery_id, instance, event_ids FROM translate_outcomes
			WHERE delivery_id > $1 AND facts > 0 ORDER BY delivery_id LIMIT $2`, after, page)
		if err != nil {
			return fmt.Errorf("reading the outcomes of translate: %w", err)
		}
		var list []again.Outcome
		n := 0
		for ; rows.Next(); n++ {
			var source, events string
			if err := rows.Scan(&after, &source, &events); err != nil {
				return errors.Join(fmt.Errorf("reading the outcomes of translate: %w", err), rows.Close())
			}
			if system, _, _ := strings.Cut(source, "/"); system == w.System && w.wanted(source) {
				list = append(list, again.Outcome{Delivery: after, Events: strings.Fields(events)})
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return fmt.Errorf("reading the outcomes of translate: %w", err)
		}
		if err := w.fold.Known(ctx, list); err != nil {
			return err
		}
		if n < page {
			return nil
		}
	}
}

// published compares with what stands in the topics of facts. What was published for a
// delivery of the window came after it.
func (w *work) published(ctx context.Context) error {
	var topics []string
	for _, fact := range w.emits() {
		if target, ok := w.topics.Route(fact); ok && !slices.Contains(topics, target.Topic) {
			topics = append(topics, target.Topic)
		}
	}
	var list []*kgo.Record
	flush := func() error {
		err := w.fold.Compare(ctx, list)
		list = list[:0]
		return err
	}
	var n, total int64
	w.progress.Step("comparing with " + strings.Join(topics, ", "))
	err := tap.Read(ctx, tap.Options{
		Client: w.client, Topics: topics, Window: tap.Since(w.Since),
		Resolved: func(_ string, _ int32, from, to int64) { total += max(to-from, 0) },
	}, func(r *kgo.Record) error {
		n++
		w.progress.At("records", n, total)
		if list = append(list, r); len(list) < page {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}
