package partition

import (
	"context"
	"database/sql"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/dispatch/measure"
	"github.com/eventspine/spine/pkg/dispatch/plan"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
)

// What the transaction takes beside the handlers does not count against sharing it: a
// store that is slow would be asked for a transaction for each record.
func TestHandle_slowStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, err := once.Open(t.Context(), once.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "s.db")})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		owner, err := db.Store("g").Own(t.Context(), "t", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		meters, err := measure.New(nil, "g", nil)
		if err != nil {
			t.Fatal(err)
		}
		s := &Session{owner: owner, phase: over, quiet: make(chan struct{}), g: &Engine{
			Deadline: time.Minute, Meters: meters, Outages: fault.NewOutages(time.Minute), Gate: &leaving.Gate{Group: "g"},
		}}
		const slow, each = time.Second, 3 * time.Millisecond
		var works []*work
		for i := range 4 {
			rec := &kgo.Record{Topic: "t", Offset: int64(i), Key: []byte{byte(i)}}
			w := &work{of: &share{}, l: &lane{s: s}, t: &task{rec: rec, kind: &plan.Kind{}, event: event.Event{ID: strconv.Itoa(i)}}}
			w.t.kind.Call = func(ctx context.Context, _ consumer.Tx, _ event.Event, _ any) error {
				fault.Sleep(ctx, each)
				return nil
			}
			works = append(works, w)
		}
		entered := make(chan struct{})
		go func() {
			_ = db.Write(t.Context(), func(ctx context.Context, _ *sql.Tx) error {
				close(entered)
				fault.Sleep(ctx, slow) // the others wait for the writer
				return nil
			})
		}()
		<-entered
		began := time.Now()
		beside := s.handle(t.Context(), works)
		if took := time.Since(began); took != slow+4*each || beside != slow {
			t.Errorf("%s of %s counted as the transaction's, want %s", beside, took, slow)
		}
		for _, w := range works {
			if w.o.done != 1 {
				t.Errorf("offset %d: %+v", w.t.rec.Offset, w.o)
			}
		}
	})
}
