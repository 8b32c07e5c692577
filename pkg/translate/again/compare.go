package again

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/wire"
)

// Outcome is what translate has published for a delivery.
type Outcome struct {
	Delivery string
	Events   []string // ids of the facts
}

// Known tells what translate has published so far, whenever that was. It comes after
// Finish and before Compare.
func (f *Fold) Known(ctx context.Context, list []Outcome) error {
	err := f.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, o := range list {
			if err := known(ctx, tx, o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("noting what was published: %w", err)
	}
	return nil
}

// How a fact is known.
const (
	before = 1 // published for a delivery before the window, or for one that is left out
	within = 2 // published for a delivery of the window
)

func known(ctx context.Context, tx *sql.Tx, o Outcome) error {
	var folded bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM translate_outcomes WHERE delivery_id = $1)`, o.Delivery).Scan(&folded)
	if err != nil {
		return err
	}
	level := before
	if folded {
		level = within
	}
	for _, id := range o.Events {
		res, err := tx.ExecContext(ctx, `UPDATE again_facts SET known = MAX(known, $1) WHERE id = $2`, level, id)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if n == 0 && folded {
			if _, err := tx.ExecContext(ctx, `INSERT INTO again_gone (id, delivery) VALUES ($1, $2) ON CONFLICT DO NOTHING`, id, o.Delivery); err != nil {
				return err
			}
		}
	}
	return nil
}

// State says how a fact compares with what was published.
type State string

// The states.
const (
	Missing State = "new"     // its id was never published
	Same    State = "same"    // published, and the content is the same as far as it was compared
	Changed State = "changed" // published with other content
)

// Compare looks at published records, in the order of their partition: of several
// records of one id the last one counts. One of an object that was known before the
// window is not compared, since the fold doesn't know what it was compared with then.
func (f *Fold) Compare(ctx context.Context, list []*kgo.Record) error {
	err := f.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, rec := range list {
			if err := f.compare(ctx, tx, rec); err != nil {
				return fmt.Errorf("%s/%d@%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("comparing with what was published: %w", err)
	}
	return nil
}

func (f *Fold) compare(ctx context.Context, tx *sql.Tx, rec *kgo.Record) error {
	e, err := wire.Head(rec)
	if err != nil {
		return nil //nolint:nilerr // a dead letter of each group that reads it, and no fact of translate
	}
	var text []byte
	var level int
	err = tx.QueryRowContext(ctx, `SELECT record, known FROM again_facts WHERE id = $1`, e.ID).Scan(&text, &level)
	if errors.Is(err, sql.ErrNoRows) || err == nil && level == before {
		return nil
	}
	if err != nil {
		return err
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return err
	}
	diff, err := f.difference(ctx, rec, k.record())
	if err != nil {
		return err
	}
	state := Same
	if len(diff) > 0 {
		state = Changed
	}
	note, err := json.Marshal(diff)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE again_facts SET state = $1, diff = $2 WHERE id = $3`, string(state), string(note), e.ID)
	return err
}

// Fact is a fact that the fold yields.
type Fact struct {
	ID, Type  string
	Delivery  string // id of the delivery that tells it first
	Partition int32  // of that delivery
	State     State
	Compared  bool // its published record was there to be compared
	Diff      []Difference
	Record    *kgo.Record // as it would be published
}

// Facts hands the facts of some states to use, in the order in which the fold told
// them.
func (f *Fold) Facts(ctx context.Context, use func(Fact) error, states ...State) error {
	rows, err := f.db.SQL().QueryContext(ctx, `SELECT id, fact, delivery, kafka_partition, record, state, diff, known
		FROM again_facts ORDER BY seq`)
	if err != nil {
		return fmt.Errorf("reading the facts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t Fact
		var text, diff []byte
		var level int
		if err := rows.Scan(&t.ID, &t.Type, &t.Delivery, &t.Partition, &text, &t.State, &diff, &level); err != nil {
			return fmt.Errorf("reading the facts: %w", err)
		}
		t.Compared = t.State != ""
		switch {
		case t.Compared:
		case level > 0:
			t.State = Same
		default:
			t.State = Missing
		}
		if !slices.Contains(states, t.State) {
			continue
		}
		var k kept
		if err := errors.Join(json.Unmarshal(text, &k), json.Unmarshal(diff, &t.Diff)); err != nil {
			return fmt.Errorf("reading the facts: %w", err)
		}
		t.Record = k.record()
		if err := use(t); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Counts say what the fold saw.
type Counts struct {
	Deliveries int // that were translated
	Left       int // that wait or are dead: left to translate
	Failed     int // that today's adapter refuses
	Gone       int // facts that were published for a delivery of the window and are not told any more
}

// Counts counts.
func (f *Fold) Counts(ctx context.Context) (c Counts, err error) {
	err = f.db.SQL().QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM translate_outcomes), (SELECT COUNT(*) FROM again_left),
		(SELECT COUNT(*) FROM again_failed), (SELECT COUNT(*) FROM again_gone)`).Scan(&c.Deliveries, &c.Left, &c.Failed, &c.Gone)
	if err != nil {
		return c, fmt.Errorf("counting what was translated again: %w", err)
	}
	return c, nil
}

// Reason is why deliveries are refused.
type Reason struct {
	Text  string
	Count int
}

// Reasons lists them, the most frequent first.
func (f *Fold) Reasons(ctx context.Context) ([]Reason, error) {
	rows, err := f.db.SQL().QueryContext(ctx, `SELECT reason, COUNT(*) AS n FROM again_failed GROUP BY reason ORDER BY n DESC, reason`)
	if err != nil {
		return nil, fmt.Errorf("reading why deliveries are refused: %w", err)
	}
	defer rows.Close()
	var list []Reason
	for rows.Next() {
		var r Reason
		if err := rows.Scan(&r.Text, &r.Count); err != nil {
			return nil, fmt.Errorf("reading why deliveries are refused: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// Gone lists the facts that were published and are not told any more: immutable, they
// stand.
func (f *Fold) Gone(ctx context.Context) ([]string, error) {
	rows, err := f.db.SQL().QueryContext(ctx, `SELECT id FROM again_gone ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("reading what is not told any more: %w", err)
	}
	defer rows.Close()
	list := []string{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("reading what is not told any more: %w", err)
		}
		list = append(list, id)
	}
	return list, rows.Err()
}
