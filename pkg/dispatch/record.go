package dispatch

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/once"
)

const (
	headerDead = "spine_dlq_" // prefix of the headers of a dead letter
	maxReason  = 2 << 10      // bytes
)

// kept is the form in which the store keeps a record: byte-identical.
func kept(r *kgo.Record) once.Record {
	k := once.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp,
		Key: r.Key, Value: r.Value, Headers: make([]once.Header, len(r.Headers)),
	}
	for i, h := range r.Headers {
		k.Headers[i] = once.Header{Key: h.Key, Value: h.Value}
	}
	return k
}

// kafka is the way back.
func kafka(k once.Record) *kgo.Record {
	r := &kgo.Record{
		Topic: k.Topic, Partition: k.Partition, Offset: k.Offset, Timestamp: k.Timestamp,
		Key: k.Key, Value: k.Value, Headers: make([]kgo.RecordHeader, len(k.Headers)),
	}
	for i, h := range k.Headers {
		r.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
	}
	return r
}

func sizeOf(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

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

// bounded cuts a reason to its limit, at a rune.
func bounded(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= maxReason {
		return reason
	}
	cut := maxReason
	for cut > 0 && !utf8.RuneStart(reason[cut]) {
		cut--
	}
	return reason[:cut]
}
