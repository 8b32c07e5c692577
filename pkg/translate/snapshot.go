package translate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/wire"
)

// version orders the snapshots of one object. Times are in microseconds.
type version struct {
	source   int64 // the vendor's time of change
	clock    int64 // the vendor's finer clock; 0 = none
	offset   int64 // of the delivery: the order of arrival
	terminal bool  // the object is in a state that it never leaves at this source version
}

// late says that a snapshot of this version comes too late to count after last. One
// without the finer clock is as late as its arrival.
func (v version) late(last version) bool {
	switch {
	case v.source != last.source:
		return v.source < last.source
	case v.terminal != last.terminal:
		// A cancellation stands, in whichever order the two arrive: what the vendor says
		// at the same instant is older. Its finer clock is that of a message.
		return last.terminal
	case v.clock != last.clock && v.clock != 0:
		return v.clock < last.clock
	}
	return v.offset < last.offset
}

// state is the row of an object: its last snapshot.
type state struct {
	version
	body []byte // nil = none was seen
}

// snapshot compares an object with what was known of it, and publishes what changed.
func (t *translator) snapshot(ctx context.Context, db consumer.DB, out wire.Publisher, s subject) (outcome, []string, error) {
	id, now, err := s.version()
	if err != nil {
		return "", nil, err
	}
	if key := objectKey(s.delivery, id); key != s.delivery.Key {
		return rekey(out, s.delivery, key)
	}
	row := objectRow{instance: s.delivery.Source, object: s.object.Name, id: id}
	last, err := row.lock(ctx, db)
	if err != nil {
		return "", nil, err
	}
	if last.body != nil && now.late(last.version) {
		return stale, nil, nil
	}
	if now.clock == 0 && now.source == last.source {
		now.clock = last.clock // which a snapshot without one does not forget
	}
	// Whatever it means, the version is known from here on: an older one must not follow.
	if err := row.save(ctx, db, state{version: now, body: s.delivery.Body}); err != nil {
		return "", nil, err
	}
	if last.body != nil && bytes.Equal(last.body, s.delivery.Body) {
		return duplicate, nil, nil
	}
	before, err := s.before(last)
	if err != nil {
		return "", nil, err
	}
	news, err := s.facts(before)
	if err != nil {
		return "", nil, err
	}
	return t.publish(out, s, news, &now)
}

// before is the last snapshot as today's struct reads it, nil for the first one.
func (s subject) before(last state) (any, error) {
	if last.body == nil {
		return nil, nil
	}
	return decoded(s.delivery.Kind+", the snapshot before", s.object.DecodeStored, last.body)
}

// version asks the adapter which object a snapshot is of, and of when.
func (s subject) version() (id string, v version, err error) {
	err = guarded(s.delivery.Kind, func() error {
		if id = s.object.ID(s.native); id == "" {
			return errors.New("the id of the object: want one, got nothing")
		}
		said := s.object.Version(s.given, s.native)
		v = version{source: micros(said.Source), clock: micros(said.Clock), offset: s.delivery.Offset, terminal: said.Terminal}
		if v.source <= 0 || v.clock < 0 {
			return errors.New("the version of the object: want a time after 1970")
		}
		return nil
	})
	return id, v, err
}

// objectRow names the row of an object.
type objectRow struct{ instance, object, id string }

// lock makes the row if it is missing, locks it and reads it, in one statement, which
// SQLite and PostgreSQL share: the row that is in the way of the insert is locked, and
// answered as it was last committed. The first snapshot is locked like any other.
func (r objectRow) lock(ctx context.Context, db consumer.DB) (state, error) {
	var s state
	var terminal int64
	err := db.QueryRowContext(ctx, `
		INSERT INTO translate_objects (instance, object, id, source_version, clock, raw_offset, terminal)
		VALUES ($1, $2, $3, 0, 0, -1, 0)
		ON CONFLICT (instance, object, id) DO UPDATE SET terminal = translate_objects.terminal
		RETURNING body, source_version, clock, raw_offset, terminal`,
		r.instance, r.object, r.id).Scan(&s.body, &s.source, &s.clock, &s.offset, &terminal)
	if err != nil {
		return s, fmt.Errorf("reading the state of %s: %w", r.object, err)
	}
	s.terminal = terminal == 1
	return s, nil
}

// save stores the snapshot that is the last one now.
func (r objectRow) save(ctx context.Context, db consumer.DB, s state) error {
	terminal := 0
	if s.terminal {
		terminal = 1
	}
	_, err := db.ExecContext(ctx, `
		UPDATE translate_objects SET body = $1, source_version = $2, clock = $3, raw_offset = $4, terminal = $5
		WHERE instance = $6 AND object = $7 AND id = $8`,
		s.body, s.source, s.clock, s.offset, terminal, r.instance, r.object, r.id)
	if err != nil {
		return fmt.Errorf("storing the state of %s: %w", r.object, err)
	}
	return nil
}

// record notes what became of a delivery. A delivery that is translated again leaves
// the note of the first time, unless it yields facts now.
func record(ctx context.Context, db consumer.DB, d wire.Delivery, became outcome, ids []string) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO translate_outcomes (delivery_id, instance, kind, outcome, facts, event_ids, received_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (delivery_id) DO UPDATE SET outcome = excluded.outcome, facts = excluded.facts, event_ids = excluded.event_ids
		WHERE excluded.facts > 0`,
		d.ID, d.Source, storable(d.Kind), string(became), len(ids), strings.Join(ids, " "), micros(d.ReceivedAt))
	if err != nil {
		return fmt.Errorf("noting what became of a delivery: %w", err)
	}
	return nil
}

// storable is a text that PostgreSQL takes.
func storable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
}
