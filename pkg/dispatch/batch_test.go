package dispatch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
)

// batches sends rounds of records of many keys, and sees which of them share a
// transaction with one before them.
type batches struct {
	*world
	sent   map[string][]string
	rounds int
	labels int  // that were sent
	alone  bool // the special records never shared a transaction

	mu     sync.Mutex
	behind map[string]bool // labels whose handler was called behind another's, in one transaction
}

func newBatches(w *world) *batches {
	return &batches{world: w, sent: map[string][]string{}, behind: map[string]bool{}}
}

// handler is the world's, which sees before it what its transaction has written and
// nobody else can see yet.
func (b *batches) handler(ctx context.Context, tx consumer.Tx, e event.Of[cancelled]) error {
	const count = `SELECT COUNT(*) FROM ledger`
	var within, outside int
	if err := tx.QueryRowContext(ctx, count).Scan(&within); err != nil {
		return err
	}
	if err := b.db.SQL().QueryRowContext(ctx, count).Scan(&outside); err != nil {
		return err
	}
	if within > outside {
		b.mu.Lock()
		b.behind[e.Data.OrderNumber] = true
		b.mu.Unlock()
	}
	return b.handle(ctx, tx, e)
}

func (b *batches) shared(label string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.behind[label]
}

// run runs the group with one worker, so that its transactions are few and large.
func (b *batches) run(change ...func(*dispatch.Options)) *running {
	b.t.Helper()
	return b.world.run(append([]func(*dispatch.Options){func(o *dispatch.Options) {
		o.Concurrency, o.Batch, o.Retry.Attempts = 1, 32, 1000
		o.Group.On = []consumer.Handler{consumer.On(b.handler)}
	}}, change...)...)
}

const keysOfRound = 16

// round sends one record of each key. The one in the middle has a label and a key of
// its own, which may be held from then on.
func (b *batches) round(special string) (label string) {
	b.t.Helper()
	b.rounds++
	label = fmt.Sprintf("p%s%d", special, b.rounds)
	var words []string
	for i := range keysOfRound {
		entity, word := fmt.Sprint(i), fmt.Sprintf("p%d-%d", b.rounds, i)
		if i == keysOfRound/2 {
			entity, word = label, label
		}
		words, b.sent[entity] = append(words, entity+":"+word), append(b.sent[entity], word)
		b.labels++
	}
	b.send(words...)
	return label
}

// untilShared sends rounds until the handler of one of the special records was called
// behind others in one transaction. A machine that is slow gets batches of one, which
// are no batches: once says so.
func (b *batches) untilShared(special string) {
	b.t.Helper()
	for begun := time.Now(); time.Since(begun) < patience; {
		label := b.round(special)
		b.until("the round is handled, or stands", func() bool {
			return len(b.world.labels(""))+len(b.rows()) >= b.labels && b.script.count(label) > 0
		})
		if b.shared(label) {
			return
		}
	}
	b.alone = true
}

// patience is how long a test waits for records to share a transaction.
const patience = 5 * time.Second

func (s *script) count(label string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts[label]
}

// once checks that each record was handled once, in the order of its key, and has
// published its fact.
func (b *batches) once() {
	b.t.Helper()
	b.until("all are handled", func() bool { return len(b.ledger()) >= b.labels })
	b.until("nothing is left", func() bool { c := b.counts(); return c.Waiting+c.Dead+c.Outgoing == 0 })
	b.check(b.sent)
	checkFacts(b.world, b.sent)
	if b.alone {
		b.t.Skip("all is well, but this machine is too slow for batches: each record had a transaction of its own")
	}
}

// One record of a batch fails, in each way that a handler can: only its own is undone.
// The others are handled once, though their handler may be called again, and each key
// keeps its order.
func TestBatch_oneOfThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(ctx context.Context) error
		dies   bool
	}{
		"fails":       {answer: func(context.Context) error { return errBroken }},
		"later":       {answer: func(context.Context) error { return consumer.Later(time.Now().Add(20*time.Millisecond), "too early") }},
		"unavailable": {answer: func(context.Context) error { return consumer.Unavailable("mail", errBroken) }},
		"panic":       {answer: func(context.Context) error { panic("out of order") }},
		"goexit":      {answer: func(context.Context) error { runtime.Goexit(); return nil }},
		"deadline":    {answer: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		"reject":      {answer: func(context.Context) error { return consumer.Reject("not this one") }, dies: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBatches(newWorld(t, 1))
			mended := make(chan struct{})
			b.script.set(func(ctx context.Context, label string, attempt int) error {
				select {
				case <-mended:
					return nil
				default:
				}
				if strings.HasPrefix(label, "pbad") && (c.dies || attempt <= 2) {
					return c.answer(ctx)
				}
				return nil
			})
			b.run(func(o *dispatch.Options) {
				if name == "deadline" {
					o.Deadline = 200 * time.Millisecond
				}
			})
			b.untilShared("bad")
			close(mended)
			b.redrive()
			b.until("all is out", func() bool { return len(b.ledger()) >= b.labels && b.counts().Outgoing == 0 })
			if got := len(b.read(b.out)); got != b.labels { // nobody was cut off: no fact comes twice
				t.Errorf("%d facts of %d records", got, b.labels)
			}
			b.once()
		})
	}
}

// The partition is taken from its owner while a batch is on its way, again and again.
func TestBatch_fenced(t *testing.T) {
	t.Parallel()
	b := newBatches(newWorld(t, 1))
	var thefts sync.WaitGroup
	b.script.set(func(ctx context.Context, label string, attempt int) error {
		if strings.HasPrefix(label, "psteal") && attempt == 1 {
			thefts.Go(func() { // it waits for the transaction
				if _, err := b.db.Store(b.group).Own(context.WithoutCancel(ctx), b.in, 0, 0); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	})
	b.run()
	for range 3 {
		b.untilShared("steal")
	}
	thefts.Wait()
	b.once()
}

// Two records of one event under different keys in one batch: the second is a
// duplicate of the first.
func TestBatch_duplicate(t *testing.T) {
	t.Parallel()
	b := newBatches(newWorld(t, 1))
	b.run()
	sent, offset, together := map[string][]string{}, int64(0), false
	begun := time.Now()
	for n := 0; !together && time.Since(begun) < patience; n++ {
		var records []*kgo.Record
		for i := range 8 {
			entity, label := fmt.Sprint(i), fmt.Sprintf("p%d-%d", n, i)
			rec := b.record(entity, label)
			again := *rec
			again.Key = []byte("shopify/uk:again" + entity)
			records, sent[entity] = append(records, rec, &again), append(sent[entity], label)
		}
		b.publish(records...)
		offset += int64(len(records))
		b.until("all of the round is done", func() bool { s, _ := b.next(0); return s == offset })
		together = b.shared(fmt.Sprintf("p%d-4", n)) && b.shared(fmt.Sprintf("p%d-5", n))
	}
	b.check(sent)
	if got, want := len(b.read(b.out)), int(offset)/2; got != want || len(b.rows()) != 0 {
		t.Errorf("%d facts of %d events, %d rows", got, want, len(b.rows()))
	}
	if !together {
		t.Skip("all is well, but this machine is too slow for batches: each record had a transaction of its own")
	}
}

// PostgreSQL commits a batch, and nobody learns of it: the owner starts over and finds
// it done.
func TestBatch_outcomeUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	if w.db.Dialect() != once.PostgreSQL {
		t.Skip("SPINE_TEST_POSTGRES is not set")
	}
	proxy := databasetest.NewProxy(t, w.set.DatabaseURL)
	db, err := once.Open(t.Context(), once.Options{URL: proxy.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := newBatches(w)
	b.script.set(func(_ context.Context, label string, attempt int) error {
		if strings.HasPrefix(label, "plose") && attempt == 1 {
			proxy.LoseCommit.Store(true)
		}
		return nil
	})
	b.run(func(o *dispatch.Options) { o.DB, o.CommitInterval = db, time.Hour }) // nobody else commits meanwhile, but for the relay
	for range 3 {
		b.untilShared("lose")
	}
	if proxy.LoseCommit.Load() {
		t.Error("no commit was lost")
	}
	b.once()
}

// A process that dies between the handlers of a batch and their commit leaves nothing
// of it; the next one handles them all, once.
func TestBatch_crash(t *testing.T) {
	t.Parallel()
	b := newBatches(newLooseWorld(t, 1))
	if err := b.db.Close(); err != nil { // SQLite: one process at a time
		t.Fatal(err)
	}
	died := filepath.Join(t.TempDir(), "died")
	child := startChild(t, b.world, "SPINE_DISPATCH_CHILD_DIES="+died)
	gone := func() bool { _, err := os.Stat(died); return err == nil }
	for begun := time.Now(); !gone(); {
		if time.Since(begun) > 2*patience {
			t.Skip("this machine is too slow for batches: each record had a transaction of its own")
		}
		b.round("die")
		<-time.After(100 * time.Millisecond) // a round for itself
	}
	child.kill()
	var err error
	if b.db, err = once.Open(t.Context(), once.Options{URL: b.set.DatabaseURL}); err != nil {
		t.Fatal(err)
	}
	if n := len(b.ledger()); n >= b.labels {
		t.Errorf("all %d are handled: nobody died in the middle", n)
	}
	b.run(func(o *dispatch.Options) { o.Session = b.session() })
	b.once()
}

// dies makes the process die where a record is handled behind others of its batch.
func (b *batches) dies(file string) func(*dispatch.Options) {
	b.script.set(func(_ context.Context, label string, _ int) error {
		if strings.HasPrefix(label, "pdie") && b.shared(label) {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				return err
			}
			os.Exit(3)
		}
		return nil
	})
	return func(o *dispatch.Options) {
		o.Concurrency, o.Session = 1, b.session()
		o.Group.On = []consumer.Handler{consumer.On(b.handler)}
	}
}
