package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/inbox"
	"github.com/eventspine/spine/pkg/once/ownership"
	"github.com/eventspine/spine/pkg/once/record"
)

// Owner is one assignment of a partition: a session that ends when it is fenced.
// Its methods are safe for concurrent use; of one key, one call at a time.
type Owner struct {
	s         *Store
	id        int32 // of the ownership row
	topic     string
	partition int32
	epoch     int64
	next      int64
	held      map[string]struct{}
	lost      atomic.Pointer[error]
}

// Own takes a partition: it waits for the transactions that the previous owner has
// in flight, as long as ctx allows, gives the ownership a fresh epoch and loads
// where the group stands. From then on the previous owner can write nothing.
// Promise: fenced. A partition that was never owned starts at start.
func (s *Store) Own(ctx context.Context, topic string, partition int32, start int64) (*Owner, error) {
	o := &Owner{s: s, topic: topic, partition: partition}
	err := s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := o.find(ctx, tx, start); err != nil {
			return err
		}
		var err error
		if o.epoch, o.next, err = ownership.Bump(ctx, s.db.DB, tx, o.id); err != nil {
			return err
		}
		o.held, err = o.loadHeld(ctx, tx) // after the bump: nobody else writes any more
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("taking %s/%d for %s: %w", topic, partition, s.group, err)
	}
	return o, nil
}

func (o *Owner) find(ctx context.Context, tx *sql.Tx, start int64) error {
	get := func() error {
		return tx.QueryRowContext(ctx, `SELECT id FROM spine_ownership
			WHERE group_name = $1 AND topic = $2 AND kafka_partition = $3`,
			o.s.group, o.topic, o.partition).Scan(&o.id)
	}
	err := get()
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO spine_ownership
		(group_name, topic, kafka_partition, epoch, start_offset, next_offset, updated_at)
		VALUES ($1, $2, $3, $4, $5, $5, $6) ON CONFLICT DO NOTHING`,
		o.s.group, o.topic, o.partition, ownership.Epoch(), start, record.Micros(time.Now())); err != nil {
		return err
	}
	return get()
}

// NextOffset is the stored offset as loaded.
func (o *Owner) NextOffset() int64 { return o.next }

// Held is the set of held keys (raw bytes as a string) as loaded: keys with a
// holding row. The caller may keep and change it.
func (o *Owner) Held() map[string]struct{} { return maps.Clone(o.held) }

// write runs fn in a transaction behind lock and epoch. offset is one whose row fn
// wants to know about, below 0 = none.
func (o *Owner) write(ctx context.Context, offset int64, fn func(context.Context, *transaction) error) error {
	return o.within(ctx, o.s.db.Write, func(sctx context.Context, t *transaction) error {
		if err := t.fence(sctx, offset); err != nil {
			return err
		}
		return fn(sctx, t)
	})
}

// within runs fn in a transaction of the session. The fence is fn's to ask for.
func (o *Owner) within(ctx context.Context, write func(context.Context, func(context.Context, *sql.Tx) error) error,
	fn func(context.Context, *transaction) error,
) error {
	if lost := o.lost.Load(); lost != nil {
		return *lost
	}
	err := write(ctx, func(sctx context.Context, tx *sql.Tx) error {
		return fn(sctx, &transaction{Tx: tx, o: o, now: time.Now()})
	})
	for _, end := range []error{ErrFenced, ErrOutcomeUnknown} {
		if errors.Is(err, end) { // the session is over: only a fresh load knows what stands
			o.lost.CompareAndSwap(nil, &end)
		}
	}
	return err
}

// fence takes lock and epoch and looks for the row at an offset.
func (t *transaction) fence(ctx context.Context, offset int64) error {
	return t.own(ctx, `COALESCE((SELECT w.state FROM spine_waiting w WHERE w.ownership = o.id AND w.kafka_offset = $2), '')`,
		&t.row, offset)
}

// own is two statements, lock then read: the read has to see what was committed
// while it waited for the lock. more is read along with it; its parameters are
// numbered from 2. Promise: fenced.
func (t *transaction) own(ctx context.Context, more string, into any, args ...any) error {
	lock := database.Lock{Kind: "ownership", ID: t.o.id, Shared: true}
	if err := t.o.s.db.Lock(ctx, t.Tx, lock); err != nil {
		return fmt.Errorf("locking the ownership: %w", err)
	}
	var epoch int64
	err := t.QueryRowContext(ctx, `SELECT o.epoch, o.next_offset, `+more+` FROM spine_ownership o WHERE o.id = $1`,
		append([]any{t.o.id}, args...)...).Scan(&epoch, &t.next, into)
	if errors.Is(err, sql.ErrNoRows) || err == nil && epoch != t.o.epoch {
		return ErrFenced
	}
	if err != nil {
		return fmt.Errorf("reading the ownership: %w", err)
	}
	return nil
}

// Do handles an item: lock and epoch, inbox, fn with its own rows, outgoing rows and
// effects are one transaction (promise: once). fn is not called for a duplicate. A
// waiting row goes with the commit. An error of fn undoes everything and comes back
// as it is, wrapped in ErrUnavailable if it was the database that went away; other
// errors wrap ErrFenced, ErrOutcomeUnknown or ErrUnavailable where they say so. fn
// may be called again after a deadlock, and must not use its Tx later on.
func (o *Owner) Do(ctx context.Context, item Item, fn func(context.Context, Tx) error) (Result, error) {
	if item.EventID == "" {
		return 0, errors.New("handling a record: it has no event id")
	}
	var result Result
	err := o.write(ctx, item.Record.Offset, func(sctx context.Context, t *transaction) error {
		var err error
		result, err = t.mark(sctx, item)
		if err != nil {
			return err
		}
		if result == Handled {
			if err := t.call(ctx, sctx, item.Silent, fn); err != nil {
				return err
			}
		}
		if item.Mode == Waiting && result != DuplicateDelivery {
			return t.removeRow(sctx, item.Record)
		}
		return t.reach(sctx, item, map[int64]Result{item.Record.Offset: result})
	})
	if err != nil {
		return 0, err
	}
	return result, nil
}

// mark puts the event into the inbox, unless it is done. Waiting and dead rows count
// as done for what comes from the topic.
func (t *transaction) mark(ctx context.Context, item Item) (Result, error) {
	done, err := t.stands(item)
	switch {
	case err != nil:
		return 0, err
	case done:
		return DuplicateDelivery, nil
	case item.Unmarked:
		return Handled, nil
	}
	fresh, err := inbox.Mark(ctx, t.Tx, t.o.s.group, []inbox.Entry{t.entry(item)})
	if err != nil {
		return 0, err
	}
	return t.resultOf(ctx, item, fresh)
}

// stands says whether the offset of an item is done by what the store has read of it.
func (t *transaction) stands(item Item) (bool, error) {
	off := item.Record.Offset
	switch item.Mode {
	case Live:
		return off < t.next || t.row != "", nil
	case Waiting:
		return t.row != Wait, nil // dropped, or dead by now
	case Replay:
		if off >= t.next { // ahead of the live records it would handle them without their effects
			return false, fmt.Errorf("replaying offset %d: only what is below next_offset %d", off, t.next)
		}
		return t.row != "", nil // left to redrive
	}
	return false, fmt.Errorf("handling a record: unknown mode %d", item.Mode)
}

func (t *transaction) entry(item Item) inbox.Entry {
	return inbox.Entry{EventID: record.ID(item.EventID), Place: inbox.Place{Ownership: t.o.id, Offset: item.Record.Offset}}
}

// resultOf says whether an item is to be handled whose event is marked: fresh are the
// ids that were not. Of two items with one event id the second is a duplicate.
func (t *transaction) resultOf(ctx context.Context, item Item, fresh map[string]struct{}) (Result, error) {
	e := t.entry(item)
	if _, ok := fresh[e.EventID]; ok {
		delete(fresh, e.EventID)
		return Handled, nil
	}
	place, err := t.handledAt(ctx, item.EventID)
	if err != nil {
		return 0, err
	}
	if place == e.Place && item.Mode != Waiting {
		return DuplicateDelivery, nil
	}
	return DuplicateEvent, nil
}

func (t *transaction) handledAt(ctx context.Context, eventID string) (inbox.Place, error) {
	return inbox.Find(ctx, t.Tx, t.o.s.group, record.ID(eventID))
}

// Advance stores next_offset: everything below it is handled, waiting or dead
// (promise: not lost). It never goes backwards.
func (o *Owner) Advance(ctx context.Context, next int64) error {
	return o.write(ctx, -1, func(ctx context.Context, t *transaction) error {
		_, err := t.ExecContext(ctx, `UPDATE spine_ownership SET next_offset = $1, updated_at = $2
			WHERE id = $3 AND next_offset < $1`, next, record.Micros(t.now), o.id)
		if err != nil {
			return fmt.Errorf("storing next_offset: %w", err)
		}
		return nil
	})
}

// Check compares epochs, for an owner that has nothing to write: ErrFenced if
// another owner has taken the partition, or the store was restored.
func (o *Owner) Check(ctx context.Context) error {
	if lost := o.lost.Load(); lost != nil {
		return *lost
	}
	var epoch int64
	err := o.s.db.SQL().QueryRowContext(ctx, `SELECT epoch FROM spine_ownership WHERE id = $1`, o.id).Scan(&epoch)
	if errors.Is(err, sql.ErrNoRows) || err == nil && epoch != o.epoch {
		var end error = ErrFenced
		o.lost.CompareAndSwap(nil, &end)
		return ErrFenced
	}
	if err != nil {
		return fmt.Errorf("reading the epoch: %w", database.Available(err))
	}
	return nil
}
