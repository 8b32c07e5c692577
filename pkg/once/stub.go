package once

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"iter"
	"time"

	"github.com/eventspine/spine/pkg/consumer"
)

var errStub = errors.New("once: not filled in yet")

// Dialect names the SQL dialect of a database.
type Dialect string

// The dialects.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgres"
)

// DB is an open database with the tables of the store.
type DB struct{}

// Open opens the database and brings its tables up to date.
func Open(ctx context.Context, o Options) (*DB, error) { return nil, errStub }

// Close ends the writer and closes the connections.
func (db *DB) Close() error { return errStub }

// SQL is the connection pool, for reading beside a running process and for tests.
func (db *DB) SQL() *sql.DB { return nil }

// Dialect is the SQL dialect of the database.
func (db *DB) Dialect() Dialect { return "" }

// Ping asks the database for a sign of life.
func (db *DB) Ping(ctx context.Context) error { return errStub }

// Migrate brings the tables of a group up to date: goose migrations at the root of
// fsys or in its folder migrations, version table <name>_goose.
func (db *DB) Migrate(ctx context.Context, name string, fsys fs.FS) error { return errStub }

// LockRoles makes this process the only one that runs roles on an SQLite database.
func (db *DB) LockRoles() (release func() error, err error) { return nil, errStub }

// Fence gives all ownerships of the database a fresh epoch.
func (db *DB) Fence(ctx context.Context) (int, error) { return 0, errStub }

// Groups lists the groups that own something in this database.
func (db *DB) Groups(ctx context.Context) ([]string, error) { return nil, errStub }

// Store is what one group has handled.
func (db *DB) Store(group string) *Store { return &Store{} }

// Store is the part of a database that belongs to one group.
type Store struct{}

// Own takes a partition.
func (s *Store) Own(ctx context.Context, topic string, partition int32, start int64) (*Owner, error) {
	return nil, errStub
}

// NextOffset is the stored offset of a partition.
func (s *Store) NextOffset(ctx context.Context, topic string, partition int32) (int64, bool, error) {
	return 0, false, errStub
}

// Prune removes inbox rows handled before a time, at most limit.
func (s *Store) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	return 0, errStub
}

// Fence gives the ownerships of the group a fresh epoch.
func (s *Store) Fence(ctx context.Context) (int, error) { return 0, errStub }

// Ownership is where a group stands in a partition.
type Ownership struct {
	Topic      string
	Partition  int32
	NextOffset int64
	UpdatedAt  time.Time
	Waiting    int // rows that wait
	Dead       int // dead rows
	HeldKeys   int // keys with a holding row
	Outgoing   int // records on their way out
}

// Ownerships lists the partitions.
func (s *Store) Ownerships(ctx context.Context) ([]Ownership, error) { return nil, errStub }

// RowFilter selects waiting and dead rows.
type RowFilter struct {
	State     WaitState // "" = both
	ID        int64     // 0 = all
	Topic     string    // "" = all
	Partition int32     // with Topic only
	Key       []byte    // nil = all
	After     int64     // rows with a higher id only, for paging
	Limit     int       // 0 = all
}

// Rows lists waiting and dead rows by id.
func (s *Store) Rows(ctx context.Context, f RowFilter) ([]Row, error) { return nil, errStub }

// Counts are the totals of a group.
type Counts struct {
	Handled        int   // inbox rows
	Waiting        int   // rows that wait
	Dead           int   // dead rows
	WaitingBytes   int64 // size of the records that wait or are dead
	HeldKeys       int
	Outgoing       int
	EffectsDone    int
	EffectsOpen    int // pending or intent
	EffectsUnknown int
}

// Counts counts.
func (s *Store) Counts(ctx context.Context) (Counts, error) { return Counts{}, errStub }

// HandledEvent is an inbox row.
type HandledEvent struct {
	EventID   string
	Topic     string
	Partition int32
	Offset    int64
	HandledAt time.Time
}

// Handled iterates over the inbox by event id.
func (s *Store) Handled(ctx context.Context) iter.Seq2[HandledEvent, error] { return nil }

// EffectFilter selects effects.
type EffectFilter struct {
	State EffectState // "" = all
	Name  string      // "" = all
	After int64       // effects with a higher id only, for paging
	Limit int         // 0 = all
}

// Effects lists effects by id.
func (s *Store) Effects(ctx context.Context, f EffectFilter) ([]Effect, error) { return nil, errStub }

// Owner is one assignment of a partition.
type Owner struct{}

// NextOffset is the stored offset as loaded.
func (o *Owner) NextOffset() int64 { return 0 }

// Held is the set of held keys (raw bytes as a string) as loaded; the caller may keep and change it.
func (o *Owner) Held() map[string]struct{} { return nil }

// Do handles an item.
func (o *Owner) Do(ctx context.Context, item Item, fn func(context.Context, Tx) error) (Result, error) {
	return 0, errStub
}

// Spill moves a failed head and its queued successors to the store. Of a successor, EventID and Record count.
func (o *Owner) Spill(ctx context.Context, head Row, successors []Row, copies []Outgoing) error {
	return errStub
}

// Append puts a record behind the waiting rows of its key, unless it is known.
func (o *Owner) Append(ctx context.Context, rec Record, eventID string) error { return errStub }

// Heads lists the rows that are to be tried now.
func (o *Owner) Heads(ctx context.Context, now time.Time, limit int) ([]Row, error) {
	return nil, errStub
}

// KeyHeld says whether a holding row of the key stands.
func (o *Owner) KeyHeld(ctx context.Context, key []byte) (bool, error) { return false, errStub }

// Redrive revives dead rows where they stand.
func (o *Owner) Redrive(ctx context.Context, ids []int64) (int, error) { return 0, errStub }

// Advance stores next_offset, never backwards.
func (o *Owner) Advance(ctx context.Context, next int64) error { return errStub }

// Outgoing lists what is on its way out, lowest first.
func (o *Owner) Outgoing(ctx context.Context, limit int) ([]Outgoing, error) { return nil, errStub }

// Remove removes outgoing rows after their acknowledgement.
func (o *Owner) Remove(ctx context.Context, ids []int64) error { return errStub }

// Effects lists due effects, and those found in state intent, by id.
func (o *Owner) Effects(ctx context.Context, now time.Time, limit int) ([]Effect, error) {
	return nil, errStub
}

// Intend marks an effect as about to be called and counts the attempt.
func (o *Owner) Intend(ctx context.Context, id int64) error { return errStub }

// Failed notes a failed call: state EffectPending to be called again at next, EffectUnknown for a person to decide.
func (o *Owner) Failed(ctx context.Context, id int64, next time.Time, msg string, state EffectState) error {
	return errStub
}

// Complete marks an effect as done, in one transaction with fn (may be nil).
func (o *Owner) Complete(ctx context.Context, id int64, fn func(context.Context, Tx) error) error {
	return errStub
}

// Check compares epochs: ErrFenced if another owner has taken the partition.
func (o *Owner) Check(ctx context.Context) error { return errStub }

// Tx is a handler's transaction: the SQL connection and what leaves with it.
type Tx struct{ consumer.DB }

// Send adds an outgoing record, relayed in order after the commit.
func (t Tx) Send(ctx context.Context, out Outgoing) error { return errStub }

// Effect adds a call to the outside, unless this group has seen its name and key.
func (t Tx) Effect(ctx context.Context, e Effect) error { return errStub }
