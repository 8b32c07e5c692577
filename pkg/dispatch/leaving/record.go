package leaving

import (
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/once"
)

const maxReason = 2 << 10 // bytes

// Kept is the form in which the store keeps a record: byte-identical.
func Kept(r *kgo.Record) once.Record {
	k := once.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp,
		Key: r.Key, Value: r.Value, Headers: make([]once.Header, len(r.Headers)),
	}
	for i, h := range r.Headers {
		k.Headers[i] = once.Header{Key: h.Key, Value: h.Value}
	}
	return k
}

// Kafka is the way back.
func Kafka(k once.Record) *kgo.Record {
	r := &kgo.Record{
		Topic: k.Topic, Partition: k.Partition, Offset: k.Offset, Timestamp: k.Timestamp,
		Key: k.Key, Value: k.Value, Headers: make([]kgo.RecordHeader, len(k.Headers)),
	}
	for i, h := range k.Headers {
		r.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
	}
	return r
}

// Size is how many bytes a record has.
func Size(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// Bounded cuts a reason to its limit, at a rune.
func Bounded(reason string) string {
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
