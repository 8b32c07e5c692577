// Package consumer is what the author of a group writes against: a Group is a
// value, its handlers are functions whose signature selects the fact, and what a
// handler returns says what becomes of the event.
//
// A handler runs inside one SQL transaction together with the mark that its event
// is handled. What it writes through Tx, what it publishes and the effects it asks
// for are committed together or not at all, once per event (promise: once). It may be
// called more often than that: after a crash, after a conflict in the database, and
// because events of other keys may share its transaction, one of which failed. What an
// earlier call wrote through Tx, published or asked for is undone then.
//
// # Writing a group
//
// A group is one folder and one line in the list of groups. Its Name is the prefix of
// its tables, its Tables are migrations, and On has one handler per fact. See the
// example of the package.
//
// A handler takes events of one key one after the other, in the order of their topic,
// and events of different keys side by side. So it
//
//   - writes through Tx only, with the context that it was given: what it keeps in
//     memory is lost in a restart, and what it writes elsewhere isn't undone;
//   - gives what must be unique for good a key of its own, such as one invoice per
//     order: the memory of handled events is long, and ends;
//   - stores what comes before the fact that it belongs to, and applies it later: a
//     refund may precede its order. It never waits for another fact of the same key,
//     which would queue behind it;
//   - makes ids and keys from the event, never from a clock, a counter or chance;
//   - calls nothing outside: it asks for an Effect, which is called after the commit.
//
// What it answers says what becomes of the event: nil is handled; Reject is a dead
// letter now; Later lets the key wait; Unavailable is the fault of a dependency, and
// tried again until that is back. Any other error, and a panic, is tried again a few
// times, and then is a dead letter, behind which the later events of its key wait.
//
// consumertest.Run tries all of that on a group, with every fault, in a few seconds.
package consumer

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"

	"github.com/eventspine/spine/pkg/event"
)

// Start says where a group begins when it starts for the first time.
type Start int

// The starting points.
const (
	FromNow       Start = iota // facts published from now on
	FromBeginning              // all that the topics still hold
)

// Group is one independent reaction to facts.
type Group struct {
	Name     string // folder name, consumer group id, prefix of its tables
	Owner    string // the team to ask
	Start    Start  // first start only
	Backfill bool   // false: facts of origin BACKFILL are counted, not handled
	Tables   fs.FS  // goose migrations, version table <group>_goose; nil = no tables
	// Config is a pointer to groups.<name> of the configuration, which is read strictly.
	// Methods that it may have: Defaults(dataDir string) sets defaults before reading;
	// Demo(shops []event.Instance, skus []string) sets up a demo without a
	// configuration; Validate() error checks after reading; Servers() map[string]string
	// names what it talks to, host:port by what it is, for spine config check.
	Config  any
	On      []Handler    // one per fact
	Effects []Effect     // calls to the outside
	Emits   []event.Fact // zero values of the facts that its handlers publish
	// Ledger says per fact type how the group's own tables show what it did: a query of
	// one column, the event id of each effect, one row each. spine audit holds it
	// against what is marked as handled: an id that stands twice is doubled, an id that
	// was not handled is a phantom. nil = the tables don't say.
	Ledger map[string]string
	// Reports are tables for people, shown at the end of a demo.
	Reports []Report
}

// Report is a question that a group's own tables answer: a query whose columns are
// shown as they are named.
type Report struct {
	Title string
	Query string
}

// Handler is a reaction to one fact; On makes it.
type Handler struct {
	Type    string         // the fact that Call expects
	New     func() any     // pointer to a zero value of the fact
	Upcasts []event.Upcast // older majors that are turned into Type
	Call    func(ctx context.Context, tx Tx, e event.Event, fact any) error
}

// On makes a handler of fn: its signature selects the fact, so that a removed fact
// version breaks the build. Older majors arrive upcast.
func On[T event.Fact](fn func(context.Context, Tx, event.Of[T]) error) Handler {
	var zero T
	h := Handler{
		Type: zero.EventType(),
		New:  func() any { return new(T) },
		Call: func(ctx context.Context, tx Tx, e event.Event, fact any) error {
			data, ok := fact.(*T)
			if !ok {
				return fmt.Errorf("handling %s: got %T", zero.EventType(), fact)
			}
			return fn(ctx, tx, event.Of[T]{Event: e, Data: *data})
		},
	}
	if u, ok := any(zero).(event.Upcasting); ok {
		for _, up := range u.Upcasts() {
			h.Upcasts = append(h.Upcasts, typed[T](up))
		}
	}
	return h
}

// typed makes Convert answer a pointer to T, the form that Call expects.
func typed[T event.Fact](up event.Upcast) event.Upcast {
	convert := up.Convert
	up.Convert = func(old any, in event.Instance) (event.Fact, error) {
		fact, err := convert(old, in)
		if err != nil {
			return nil, err
		}
		value, ok := fact.(T)
		pointer, isFact := any(&value).(event.Fact)
		if !ok || !isFact {
			return nil, fmt.Errorf("upcasting %s: got %T", up.From, fact)
		}
		return pointer, nil
	}
	return up
}

// Tx is the handler's transaction and its way out.
type Tx struct {
	DB
	Out
}

// DB is the open SQL transaction: the methods that sqlc-generated code expects.
// Placeholders are $1, $2 … on SQLite and PostgreSQL alike.
type DB interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Out is what leaves with the transaction.
type Out interface {
	// Publish validates and encodes the fact now; it leaves in order after the
	// commit. The error of an invalid or unregistered fact is to be returned.
	Publish(n event.New) error
	// Effect asks for the named effect. args is stored as JSON with the transaction;
	// the effect runs after the commit, also after a restart, with this key. The
	// key is stable over retries; asking twice for one key runs it once.
	Effect(name, key string, args any) error
}

// Unknown says what to do when the outcome of an effect is not known: the call was
// made, the answer was lost.
type Unknown int

// The policies.
const (
	RetryWithKey Unknown = iota // call again with the same key
	Ask                         // a person decides: it waits as unknown
	LookUp                      // ask the other side first, and call again only what it has not seen: LookingUp
)

// Effect is a call to the outside world: at least once, with a stable key.
type Effect struct {
	Name    string
	Unknown Unknown
	Do      func(ctx context.Context, key string, args json.RawMessage) error
	Look    func(ctx context.Context, key string, args json.RawMessage) (made bool, err error) // with LookUp only
	Done    func(ctx context.Context, tx Tx, key string, args json.RawMessage) error           // nil = nothing more
}

// EffectOf makes an effect of do, which calls the outside world. done, if given,
// runs in the transaction that marks the effect as done: what is true only after
// the call (a status row, a fact such as notification.sent) is written there.
func EffectOf[A any](name string, u Unknown, do func(ctx context.Context, key string, args A) error,
	done ...func(ctx context.Context, tx Tx, key string, args A) error,
) Effect {
	e := Effect{Name: name, Unknown: u}
	e.Do = func(ctx context.Context, key string, raw json.RawMessage) error {
		args, err := argsOf[A](name, raw)
		if err != nil {
			return err
		}
		return do(ctx, key, args)
	}
	if len(done) == 0 {
		return e
	}
	e.Done = func(ctx context.Context, tx Tx, key string, raw json.RawMessage) error {
		args, err := argsOf[A](name, raw)
		if err != nil {
			return err
		}
		for _, fn := range done {
			if err := fn(ctx, tx, key, args); err != nil {
				return err
			}
		}
		return nil
	}
	return e
}

// LookingUp gives an effect the policy LookUp: look asks the other side whether the
// call of this key was made. It is asked before each call but the first, and what was
// made is done. An error of look is tried again later, as one of the call is; Reject
// leaves it to a person. It is for a service that knows no idempotency keys, and
// is to see a call as soon as it was made.
func LookingUp[A any](e Effect, look func(ctx context.Context, key string, args A) (made bool, err error)) Effect {
	e.Unknown = LookUp
	e.Look = func(ctx context.Context, key string, raw json.RawMessage) (bool, error) {
		args, err := argsOf[A](e.Name, raw)
		if err != nil {
			return false, err
		}
		return look(ctx, key, args)
	}
	return e
}

func argsOf[A any](name string, raw json.RawMessage) (A, error) {
	var args A
	if err := json.Unmarshal(raw, &args); err != nil {
		return args, fmt.Errorf("reading the arguments of effect %s: %w", name, err)
	}
	return args, nil
}
