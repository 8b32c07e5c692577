package once_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/database/databasetest"
	"github.com/eventspine/spine/pkg/once/oncetest"
)

// BenchmarkDo handles events in 64 lanes: inbox row, one row of the handler's own and
// one fact.
func BenchmarkDo(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": databasetest.SQLiteURL, "postgres": databasetest.PostgresURL} {
		b.Run(name, func(b *testing.B) {
			db := oncetest.Open(b, url(b))
			if _, err := db.SQL().ExecContext(b.Context(), `CREATE TABLE notes (note BIGINT NOT NULL)`); err != nil {
				b.Fatal(err)
			}
			o, err := db.Store("bench").Own(b.Context(), "orders", 0, 0)
			if err != nil {
				b.Fatal(err)
			}
			var next atomic.Int64
			start := time.Now().UnixMilli()
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					n := next.Add(1)
					it := item(n)
					it.EventID = fmt.Sprintf("%012x-8000-8000-000000000000", start+n) // ascending, as event ids are
					_, err := o.Do(b.Context(), it, func(ctx context.Context, tx once.Tx) error {
						if _, err := tx.ExecContext(ctx, `INSERT INTO notes (note) VALUES ($1)`, n); err != nil {
							return err
						}
						return tx.Send(ctx, once.Outgoing{Kind: once.OutFact, Record: it.Record})
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
