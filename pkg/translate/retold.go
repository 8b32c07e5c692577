package translate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/eventspine/spine/pkg/consumer"
)

// Retold goes with a fact that was found by translating a delivery again, on its way
// to the owner of the delivery's partition.
type Retold struct {
	Event    string    `json:"event"`    // its id
	Delivery string    `json:"delivery"` // that tells it
	Anew     bool      `json:"anew"`     // its id is published, its new content is wanted all the same
	AsOf     time.Time `json:"as_of"`    // what was published after this was not known when it was found
}

// Text is the form in which it goes.
func (r Retold) Text() (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("writing what goes with a fact: %w", err)
	}
	return string(text), nil
}

// skew is how far the clocks of two machines may be apart.
const skew = 10 * time.Minute

// Retell is called by the owner of a partition before a fact leaves, in that
// transaction. It answers false for one that was published meanwhile; else the delivery
// has told it from now on (promise: once).
func Retell(ctx context.Context, db consumer.DB, text string) (publish bool, err error) {
	var r Retold
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return false, fmt.Errorf("reading what goes with a fact: %w", err)
	}
	if !r.Anew {
		// By the delivery itself, when this was asked twice, or by one that has come since:
		// the ids of deliveries begin with the time of their receipt.
		var told int
		err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM translate_outcomes
			WHERE (delivery_id = $1 OR delivery_id >= $2) AND facts > 0 AND event_ids LIKE $3`,
			r.Delivery, idAt(r.AsOf.Add(-skew)), "%"+r.Event+"%").Scan(&told)
		if err != nil {
			return false, fmt.Errorf("looking for fact %s: %w", r.Event, err)
		}
		if told > 0 {
			return false, nil
		}
	}
	_, err = db.ExecContext(ctx, `UPDATE translate_outcomes SET outcome = 'facts', facts = facts + 1,
		event_ids = CASE WHEN event_ids = '' THEN $1 ELSE event_ids || ' ' || $1 END
		WHERE delivery_id = $2 AND event_ids NOT LIKE $3`, r.Event, r.Delivery, "%"+r.Event+"%")
	if err != nil {
		return false, fmt.Errorf("noting what became of a delivery: %w", err)
	}
	return true, nil
}

// idAt is lower than the id of any delivery received at t or later.
func idAt(t time.Time) string {
	var id uuid.UUID
	ms := t.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id.String()
}
