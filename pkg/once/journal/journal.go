// Package journal is the SQL of a group's calls to the outside: each stands in
// spine_effects from the transaction that asked for it until long after it is done,
// so that a crash loses none and its key is not called twice. What writes runs in a
// transaction of the owner, behind lock and epoch.
package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/record"
)

// State is where an effect stands.
type State string

// The states.
const (
	Pending State = "pending" // to be called, or called again
	Intent  State = "intent"  // about to be called: if found so after a restart, the outcome is unknown
	Unknown State = "unknown" // a person decides
	Done    State = "done"
	Dropped State = "dropped" // given up by a person
)

// Effect is a call to the outside, journalled.
type Effect struct {
	ID        int64
	Name      string
	Key       string // stable idempotency key, unique per group and name
	Args      []byte // JSON
	Cause     []byte // JSON of what the engine needs to stamp facts published when it is done
	State     State
	Attempts  int
	NextAt    time.Time
	Error     string
	CreatedAt time.Time
	ChangedAt time.Time
}

// Add stores what a transaction asked for. A name and key that the group has asked
// for before are not stored again.
func Add(ctx context.Context, tx *sql.Tx, group string, ownership int32, effects []Effect) error {
	now := time.Now().UnixMicro()
	for _, e := range effects {
		args, cause := e.Args, any(nil)
		if args == nil {
			args = []byte("null")
		}
		if e.Cause != nil {
			cause = e.Cause
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO spine_effects (group_name, ownership, name, effect_key, args, cause,
			state, attempts, next_at, created_at, changed_at, error)
			VALUES ($1, $2, $3, $4, $5, $6, 'pending', 0, $7, $8, $8, '') ON CONFLICT DO NOTHING`,
			group, ownership, e.Name, e.Key, args, cause, record.Micros(e.NextAt), now)
		if err != nil {
			return fmt.Errorf("storing the effect %s: %w", e.Name, err)
		}
	}
	return nil
}

const columns = `SELECT id, name, effect_key, args, cause, state, attempts, next_at, error, created_at, changed_at
	FROM spine_effects `

// Due lists the effects of an ownership that are due, by id: pending ones, and those
// in state Intent.
func Due(ctx context.Context, db *database.DB, ownership int32, now time.Time, limit int) ([]Effect, error) {
	return read(ctx, db, columns+`WHERE ownership = $1 AND state IN ('pending', 'intent') AND next_at <= $2
		ORDER BY id LIMIT $3`, ownership, record.Micros(now), limit)
}

// Filter selects effects.
type Filter struct {
	State State  // "" = all
	Name  string // "" = all
	Key   string // "" = all
	After int64  // effects with a higher id only, for paging
	Limit int    // 0 = all
	Tried int    // effects called at least that often
}

// List lists the effects of a group by id.
func List(ctx context.Context, db *database.DB, group string, f Filter) ([]Effect, error) {
	if f.Limit <= 0 {
		f.Limit = math.MaxInt
	}
	return read(ctx, db, columns+`WHERE group_name = $1 AND ($2 = '' OR state = $2) AND ($3 = '' OR name = $3)
		AND ($4 = '' OR effect_key = $4) AND id > $5 AND attempts >= $6 ORDER BY id LIMIT $7`,
		group, string(f.State), f.Name, f.Key, f.After, f.Tried, f.Limit)
}

// Count counts the effects of a group by state.
func Count(ctx context.Context, db *database.DB, group string) (map[State]int, error) {
	q := database.Query{What: "counting effects", SQL: `SELECT state, COUNT(*) FROM spine_effects WHERE group_name = $1 GROUP BY state`, Args: []any{group}}
	counts := map[State]int{}
	return counts, database.Each(ctx, db.SQL(), q, func(rows *sql.Rows) error {
		var state State
		var n int
		err := rows.Scan(&state, &n)
		counts[state] = n
		return err
	})
}

func read(ctx context.Context, db *database.DB, query string, args ...any) ([]Effect, error) {
	q := database.Query{What: "reading effects", SQL: query, Args: args}
	return database.List(ctx, db.SQL(), q, func(rows *sql.Rows, e *Effect) error {
		var next, created, changed int64
		err := rows.Scan(&e.ID, &e.Name, &e.Key, &e.Args, &e.Cause, &e.State, &e.Attempts, &next, &e.Error, &created, &changed)
		e.NextAt, e.CreatedAt, e.ChangedAt = record.Time(next), record.Time(created), record.Time(changed)
		return err
	})
}

// Intend marks an effect as about to be called and counts the attempt.
func Intend(ctx context.Context, tx *sql.Tx, ownership int32, id int64) error {
	return set(ctx, tx, ownership, id, `state = 'intent', attempts = attempts + 1`)
}

// Failed notes that a call failed, and why. Its state is Pending, to be called again
// at NextAt, or Unknown, for a person to decide.
func Failed(ctx context.Context, tx *sql.Tx, ownership int32, e Effect) error {
	if e.State != Pending && e.State != Unknown {
		return fmt.Errorf("noting a failed effect: state %q", e.State)
	}
	return set(ctx, tx, ownership, e.ID, `next_at = $4, error = $5, state = $6`, record.Micros(e.NextAt), e.Error, string(e.State))
}

func set(ctx context.Context, tx *sql.Tx, ownership int32, id int64, set string, args ...any) error {
	//nolint:gosec // set is text of this file
	res, err := tx.ExecContext(ctx, `UPDATE spine_effects SET changed_at = $1, `+set+
		` WHERE id = $2 AND ownership = $3 AND state NOT IN ('done', 'dropped')`,
		append([]any{time.Now().UnixMicro(), id, ownership}, args...)...)
	if err != nil {
		return fmt.Errorf("storing the state of effect %d: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return fmt.Errorf("storing the state of effect %d: it is done or gone", id)
}

// Complete marks an effect as done. It answers false if it is done already.
func Complete(ctx context.Context, tx *sql.Tx, ownership int32, id int64) (bool, error) {
	var state State
	err := tx.QueryRowContext(ctx, `SELECT state FROM spine_effects WHERE id = $1 AND ownership = $2`,
		id, ownership).Scan(&state)
	if err != nil {
		return false, fmt.Errorf("reading effect %d: %w", id, err)
	}
	if state == Done {
		return false, nil
	}
	return true, set(ctx, tx, ownership, id, `state = 'done', error = ''`)
}

// Decide is a person's word on an effect that is unknown or waits to be called again:
// Pending calls it now, with the same key; Dropped gives it up. It answers where the
// effect stands then, "" = nowhere; in another state it stays as it is.
func Decide(ctx context.Context, tx *sql.Tx, ownership int32, id int64, state State) (now State, err error) {
	_, err = tx.ExecContext(ctx, `UPDATE spine_effects SET changed_at = $1, next_at = 0, state = $2
		WHERE id = $3 AND ownership = $4 AND state IN ('pending', 'unknown')`, time.Now().UnixMicro(), string(state), id, ownership)
	if err != nil {
		return "", fmt.Errorf("deciding on effect %d: %w", id, err)
	}
	err = tx.QueryRowContext(ctx, `SELECT state FROM spine_effects WHERE id = $1 AND ownership = $2`, id, ownership).Scan(&now)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("reading effect %d: %w", id, err)
	}
	return now, nil
}

// Prune forgets at most limit effects of a group that were done or given up before a
// time, and answers how many. What a person has to decide stays.
func Prune(ctx context.Context, db *database.DB, group string, before time.Time, limit int) (int, error) {
	return db.Delete(ctx, database.Query{
		What: "pruning the effects of " + group,
		SQL: `DELETE FROM spine_effects WHERE id IN (SELECT id FROM spine_effects
			WHERE group_name = $1 AND state IN ('done', 'dropped') AND changed_at < $2 ORDER BY changed_at LIMIT $3)`,
		Args: []any{group, record.Micros(before), limit},
	})
}
