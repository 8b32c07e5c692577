package partition

import (
	"strconv"
	"time"

	"github.com/eventspine/spine/pkg/once"
)

const headerDead = "spine_dlq_" // prefix of the headers of a dead letter

// deadCopy is what dlq.<group> gets of a dead head: key, value and headers as they
// came, and behind them a bounded account of what happened.
func deadCopy(group string, row once.Row) once.Outgoing {
	from := row.Record
	c := once.Record{Topic: "dlq." + group, Partition: -1, Key: from.Key, Value: from.Value}
	c.Headers = append(c.Headers, from.Headers...)
	for _, h := range [][2]string{
		{"topic", from.Topic},
		{"partition", itoa(int64(from.Partition))},
		{"offset", itoa(from.Offset)},
		{"timestamp", stamp(from.Timestamp)},
		{"group", group},
		{"attempts", itoa(int64(row.Attempts))},
		{"first_failed", stamp(row.FirstFailed)},
		{"last_failed", stamp(row.LastFailed)},
		{"class", row.Class},
		{"reason", row.Reason},
	} {
		c.Headers = append(c.Headers, once.Header{Key: headerDead + h[0], Value: []byte(h[1])})
	}
	return once.Outgoing{Kind: once.OutDeadLetter, Record: c}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
