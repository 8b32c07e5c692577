package leaving

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
)

const headerDead = "spine_dlq_" // prefix of the headers of a dead letter

// DeadCopy is what dlq.<group> gets of a dead head: key, value and headers as they
// came, and behind them a bounded account of what happened.
func (g *Gate) DeadCopy(row once.Row) once.Outgoing {
	from := row.Record
	c := once.Record{Topic: "dlq." + g.Group, Partition: -1, Key: from.Key, Value: from.Value}
	c.Headers = append(c.Headers, from.Headers...)
	for _, h := range [][2]string{
		{"topic", from.Topic},
		{"partition", itoa(int64(from.Partition))},
		{"offset", itoa(from.Offset)},
		{"timestamp", stamp(from.Timestamp)},
		{"group", g.Group},
		{"version", g.Version},
		{"attempts", itoa(int64(row.Attempts))},
		{"first_failed", stamp(row.FirstFailed)},
		{"last_failed", stamp(row.LastFailed)},
		{"class", row.Class},
		{"fingerprint", fault.Fingerprint(row.Class, row.Reason)},
		{"reason", row.Reason},
		{"trace", wire.TraceOf(Kafka(from)).Traceparent},
	} {
		if h[1] != "" { // a record need not be part of a trace
			c.Headers = append(c.Headers, once.Header{Key: headerDead + h[0], Value: []byte(h[1])})
		}
	}
	return once.Outgoing{Kind: once.OutDeadLetter, Record: c}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Redacted is a reason without personal data, as far as the record's schema names it:
// it goes into headers, logs and alarms. What can't be decoded names none.
func (g *Gate) Redacted(ctx context.Context, rec *kgo.Record, reason string) string {
	var personal []string
	err := fault.Recovered(func() (err error) {
		personal, err = g.Codec.Personal(ctx, rec)
		return err
	})
	if err != nil {
		personal = nil
	}
	return fault.Redacted(reason, personal)
}
