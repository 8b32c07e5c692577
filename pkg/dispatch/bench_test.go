package dispatch_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkRun is the time per event of a group whose handler writes one row: decode,
// lanes, inbox, commit, offsets.
func BenchmarkRun(b *testing.B) {
	for _, prefix := range []string{"a", "p"} { // one row; one row and one fact
		b.Run(map[string]string{"a": "handle", "p": "publish"}[prefix], func(b *testing.B) {
			w := newWorld(b, 6)
			var records []*kgo.Record
			for i := range b.N {
				records = append(records, w.record(fmt.Sprint(i%1000), fmt.Sprintf("%s%d", prefix, i)))
				if len(records) == 5000 || i == b.N-1 {
					w.publish(records...)
					records = nil
				}
			}
			b.ResetTimer()
			r := w.start()
			w.until("all are done", func() bool {
				c := w.counts()
				return c.Handled >= b.N && c.Outgoing == 0
			})
			b.StopTimer()
			r.stop()
		})
	}
}
