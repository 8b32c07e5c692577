// Package once is the "handled once" store of a group: which events are handled,
// who owns a partition, up to where it is done, which keys wait, and what is on its
// way out. One code, two SQL dialects: SQLite for one machine, PostgreSQL beyond.
//
// Every write of an owner stands behind the ownership lock and its epoch (promise:
// fenced). The protocol is the one of the design's executable model.
package once

import (
	"time"

	"github.com/eventspine/spine/pkg/once/database"
	"github.com/eventspine/spine/pkg/once/journal"
	"github.com/eventspine/spine/pkg/once/outgoing"
	"github.com/eventspine/spine/pkg/once/record"
	"github.com/eventspine/spine/pkg/once/replay"
)

const (
	// ErrFenced says that another owner has taken the partition since: the whole
	// session of the partition is to be dropped.
	ErrFenced = database.Error("ownership of the partition is lost")
	// ErrOutcomeUnknown says that the answer to a commit was lost. The session is to be
	// dropped and started over with Own, as if it had been fenced: only a fresh load
	// knows what was committed.
	ErrOutcomeUnknown = database.ErrOutcomeUnknown
	// ErrUnavailable wraps errors of a database that is away: try again, count no
	// attempt, make no dead letter.
	ErrUnavailable = database.ErrUnavailable
)

// Header is a Kafka record header.
type Header = record.Header

// Record is a Kafka record as the store keeps it: byte-identical.
type Record = record.Record

// Mode says where a record comes from.
type Mode int

// The modes.
const (
	Live    Mode = iota // from the topic
	Waiting             // the head of a waiting key: its row goes with the commit
	Replay              // fed again below next_offset
)

// Item is one record to be handled.
type Item struct {
	Mode    Mode
	EventID string // inbox key
	Record  Record
	Silent  bool  // what it asks of the outside is suppressed: a replay
	Replay  int64 // id of the replay request, for Replay
	// Reached says for Replay how far the replay has come with what the transaction has
	// done, by offset; false = not further. It is asked at the end of the transaction.
	Reached func(done map[int64]Result) (replay.Step, bool)
	// Unmarked leaves the inbox out: at least once. An offset that is done is refused
	// all the same: below next_offset, waiting or dead.
	Unmarked bool
}

// Result says what Do did.
type Result int

// The results of Do.
const (
	Handled           Result = iota + 1
	DuplicateDelivery        // this offset is done: handled, waiting or dead
	DuplicateEvent           // this event id is done, at another offset
)

// OutgoingKind tells facts from dead-letter copies.
type OutgoingKind = outgoing.Kind

// The kinds.
const (
	OutFact       = outgoing.Fact
	OutDeadLetter = outgoing.DeadLetter
)

// Outgoing is a record on its way to Kafka.
type Outgoing = outgoing.Row

// EffectState is where an effect stands.
type EffectState = journal.State

// The states.
const (
	EffectPending = journal.Pending
	EffectIntent  = journal.Intent
	EffectUnknown = journal.Unknown
	EffectDone    = journal.Done
	EffectDropped = journal.Dropped
)

// Effect is a call to the outside, journalled.
type Effect = journal.Effect

// WaitState tells rows that wait from dead heads.
type WaitState string

// The states.
const (
	Wait WaitState = "wait"
	Dead WaitState = "dead"
)

// Row is a record that waits or is dead.
type Row struct {
	ID          int64
	State       WaitState
	Holds       bool // successors of the key wait behind it
	EventID     string
	Record      Record
	Attempts    int
	NextAt      time.Time
	FirstFailed time.Time
	LastFailed  time.Time
	Class       string // class of the last failure: transient, permanent, undecodable …
	Reason      string
	Redriven    int  // how often it was revived
	Silent      bool // it failed in a replay without effects
}
