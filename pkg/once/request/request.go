// Package request is the way in which a command beside a running process gets
// something done: it leaves a row in spine_requests, and the owner of the partition
// carries it out behind lock and epoch. Nothing else is written beside an owner.
package request

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/journal"
)

// Kind says what a person asks for.
type Kind string

// The kinds.
const (
	Retry   Kind = "retry"   // try the waiting head of a key now, its attempts counted anew; call an effect again
	Redrive Kind = "redrive" // revive a dead row where it stands
	Drop    Kind = "drop"    // remove a waiting or dead row for good; its successors go on; give an effect up
)

// Target says what a request is about.
type Target string

// The targets.
const (
	Row    Target = "row"    // a row of spine_waiting
	Effect Target = "effect" // a row of spine_effects
)

// Result says what became of a request.
type Result string

// The results.
const (
	Open    Result = ""        // not carried out yet
	Done    Result = "done"    // it happened
	Gone    Result = "gone"    // the row is not there any more: handled or dropped; the effect is done or given up
	Refused Result = "refused" // the state does not allow it: a row stands behind its head, is dead, or is not dead; an effect is being called
)

// Request asks the owner of a partition to act on a row that waits or is dead, or on
// an effect.
type Request struct {
	ID      int64
	Kind    Kind
	Target  Target
	RowID   int64
	AskedAt time.Time
	DoneAt  time.Time // zero = open
	Result  Result
}

const (
	batch = 500                // requests in one transaction of the owner
	kept  = 7 * 24 * time.Hour // requests that are done stay that long
)

// ErrNoRow says that a request names a row that the group does not have.
const ErrNoRow = database.Error("no such waiting or dead row")

// Ask leaves a request for the owner of the row's partition, and answers its id. A
// request that is open already is not doubled: its id is answered.
func Ask(ctx context.Context, db *database.DB, group string, kind Kind, rowID int64) (int64, error) {
	ids, err := AskAll(ctx, db, group, kind, []int64{rowID})
	if err == nil && ids[0] == 0 {
		err = ErrNoRow
	}
	if err != nil {
		return 0, fmt.Errorf("asking for %s of row %d: %w", kind, rowID, err)
	}
	return ids[0], nil
}

// AskAll is Ask for many rows in one transaction. It answers the ids of the requests in
// the order of the rows; 0 = the group has no such row.
func AskAll(ctx context.Context, db *database.DB, group string, kind Kind, rowIDs []int64) ([]int64, error) {
	return askAll(ctx, db, group, Request{Kind: kind, Target: Row}, rowIDs)
}

// AskEffects is AskAll for effects.
func AskEffects(ctx context.Context, db *database.DB, group string, kind Kind, effectIDs []int64) ([]int64, error) {
	return askAll(ctx, db, group, Request{Kind: kind, Target: Effect}, effectIDs)
}

func askAll(ctx context.Context, db *database.DB, group string, what Request, rowIDs []int64) ([]int64, error) {
	ids := make([]int64, len(rowIDs))
	err := db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for i, row := range rowIDs {
			var err error
			what.RowID = row
			if ids[i], err = ask(ctx, tx, group, what); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

func ask(ctx context.Context, tx *sql.Tx, group string, r Request) (id int64, err error) {
	var ownership int64
	table := map[Target]string{Row: "spine_waiting", Effect: "spine_effects"}[r.Target]
	err = tx.QueryRowContext(ctx, `SELECT t.ownership FROM `+table+` t JOIN spine_ownership o ON o.id = t.ownership
		WHERE o.group_name = $1 AND t.id = $2`, group, r.RowID).Scan(&ownership)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO spine_requests
		(group_name, ownership, kind, target, row_id, asked_at, done_at, result) VALUES ($1, $2, $3, $4, $5, $6, 0, '')
		ON CONFLICT DO NOTHING`, group, ownership, string(r.Kind), string(r.Target), r.RowID, time.Now().UnixMicro()); err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, `SELECT MAX(id) FROM spine_requests WHERE ownership = $1 AND target = $2 AND row_id = $3
		AND kind = $4`, ownership, string(r.Target), r.RowID, string(r.Kind)).Scan(&id)
	return id, err
}

// List lists a group's requests above an id, by id. Those that are done stay for a
// week.
func List(ctx context.Context, db *database.DB, group string, after int64) ([]Request, error) {
	return list(ctx, db.SQL(), `WHERE group_name = $1 AND id > $2 ORDER BY id`, group, after)
}

func list(ctx context.Context, from database.Reader, which string, args ...any) ([]Request, error) {
	q := database.Query{What: "reading requests", SQL: `SELECT id, kind, target, row_id, asked_at, done_at, result FROM spine_requests ` + which, Args: args}
	return database.List(ctx, from, q, func(rows *sql.Rows, r *Request) error {
		var asked, done int64
		err := rows.Scan(&r.ID, &r.Kind, &r.Target, &r.RowID, &asked, &done, &r.Result)
		r.AskedAt = time.UnixMicro(asked).UTC()
		if done != 0 {
			r.DoneAt = time.UnixMicro(done).UTC()
		}
		return err
	})
}

// decide carries out a request about an effect.
func decide(ctx context.Context, tx *sql.Tx, ownership int32, r Request) (Result, error) {
	state, known := map[Kind]journal.State{Retry: journal.Pending, Drop: journal.Dropped}[r.Kind]
	if !known {
		return Refused, nil
	}
	now, err := journal.Decide(ctx, tx, ownership, r.RowID, state)
	switch now {
	case state:
		return Done, err
	case journal.Intent:
		return Refused, err
	}
	return Gone, err
}

// Waits says whether an ownership has open requests.
func Waits(ctx context.Context, db *database.DB, ownership int32) (bool, error) {
	var n int
	err := db.SQL().QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT id FROM spine_requests
		WHERE ownership = $1 AND done_at = 0 LIMIT 1) AS r`, ownership).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("looking for requests: %w", database.Available(err))
	}
	return n > 0, nil
}

// Serve carries out the open requests of an ownership, those about rows by act, in the
// order in which they were asked, in a transaction of the owner. It answers what was
// carried out; what act leaves open stays.
func Serve(ctx context.Context, tx *sql.Tx, ownership int32, act func(context.Context, Request) (Result, error)) ([]Request, error) {
	open, err := list(ctx, tx, `WHERE ownership = $1 AND done_at = 0 ORDER BY id LIMIT $2`, ownership, batch)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	var served []Request
	for _, r := range open {
		if r.Target == Effect {
			r.Result, err = decide(ctx, tx, ownership, r)
		} else {
			r.Result, err = act(ctx, r)
		}
		if err != nil {
			return nil, fmt.Errorf("carrying out request %d, %s of %s %d: %w", r.ID, r.Kind, r.Target, r.RowID, err)
		}
		if r.Result == Open {
			continue
		}
		r.DoneAt = now
		if _, err := tx.ExecContext(ctx, `UPDATE spine_requests SET done_at = $1, result = $2 WHERE id = $3`,
			now.UnixMicro(), string(r.Result), r.ID); err != nil {
			return nil, fmt.Errorf("answering request %d: %w", r.ID, err)
		}
		served = append(served, r)
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM spine_requests WHERE ownership = $1 AND done_at > 0 AND done_at < $2`,
		ownership, now.Add(-kept).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("forgetting old requests: %w", err)
	}
	return served, nil
}
