//go:build synctests

package simulation_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/schemas/stock"
)

// stand is what the store shows at one moment.
type stand struct {
	next    map[int32]int64
	rows    map[place]bool // waiting or dead
	handled []string       // labels, in the order of the ledger
	called  []string       // effects that are written down as done
	known   map[string]bool
}

func (w *world) stand() (s stand, err error) {
	s = stand{next: map[int32]int64{}, rows: map[place]bool{}, known: map[string]bool{}}
	err = w.reading(func(query func(string, ...any) [][]any) {
		for _, r := range query(`SELECT kafka_partition, next_offset FROM spine_ownership`) {
			s.next[int32(number(r[0]))] = number(r[1])
		}
		for _, r := range query(`SELECT o.kafka_partition, w.kafka_offset FROM spine_waiting w JOIN spine_ownership o ON o.id = w.ownership`) {
			s.rows[place{int32(number(r[0])), number(r[1])}] = true
		}
		for _, r := range query(`SELECT label FROM ledger ORDER BY seq`) {
			s.handled = append(s.handled, fmt.Sprint(r[0]))
			s.known[fmt.Sprint(r[0])] = true
		}
		for _, r := range query(`SELECT effect_key FROM called`) {
			s.called = append(s.called, fmt.Sprint(r[0]))
		}
	})
	return s, err
}

func number(v any) int64 {
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// watch checks what must be true at every moment.
func (w *world) watch() {
	s, err := w.stand()
	if err != nil { // the database is away
		return
	}
	w.check(s)
}

// check is once, not lost, in order and no phantom, so far.
func (w *world) check(s stand) {
	w.mu.Lock()
	at, dropped := map[place]string{}, map[string]bool{}
	for p, label := range w.at {
		at[p] = label
	}
	for label := range w.dropped {
		dropped[label] = true
	}
	w.mu.Unlock()
	for p, label := range at { // promise: not lost
		if p.offset < s.next[p.partition] && !s.known[label] && !s.rows[p] && !dropped[label] {
			w.find("lost: next_offset of partition %d is %d, and %s at %d is neither handled nor waiting nor dead", p.partition, s.next[p.partition], label, p.offset)
		}
	}
	seen := map[string]bool{}
	for _, label := range s.handled {
		if seen[label] {
			w.find("once: %s is handled twice", label)
		}
		if seen[label] = true; bad(label) {
			w.find("phantom: %s can't be read, and is handled", label)
		}
	}
	w.ordered("handled", s.handled)
	for p, label := range at {
		if s.rows[p] && s.known[label] && w.first(label) == p {
			w.find("books: %s is handled, and waits or is dead", label)
		}
	}
}

func (w *world) first(label string) place {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.sent[label]; r != nil {
		return place{r.Partition, r.Offset}
	}
	return place{-1, -1}
}

// ordered checks that labels stand in the order in which their events first came, for
// each key.
func (w *world) ordered(what string, labels []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := map[string]*kgo.Record{}
	for _, label := range labels {
		r := w.sent[label]
		if r == nil {
			continue
		}
		before := last[string(r.Key)]
		if before != nil && before.Offset > r.Offset {
			text := fmt.Sprintf("order: of key %s, %s at %d is %s after offset %d", r.Key, label, r.Offset, what, before.Offset)
			w.trace, w.findings = append(w.trace, "BROKEN: "+text), append(w.findings, text)
		}
		last[string(r.Key)] = r
	}
}

// judge checks what must be true at the end.
func (w *world) judge() {
	s, err := w.stand()
	w.must(err)
	w.check(s)
	for label := range w.sent {
		if !s.known[label] && !bad(label) {
			w.find("lost: %s is not handled at the end", label)
		}
	}
	w.judgeFacts(s)
	w.judgeEffects(s)
	w.judgeDead()
	w.judgeCommits(s)
}

// judgeFacts: each fact is out at least once, always the same, in order, and none is
// made up.
func (w *world) judgeFacts(s stand) {
	first, order := map[string]*kgo.Record{}, []string{}
	for _, r := range w.read(output, 2) {
		var fact stock.ShortageDetectedV1
		if err := w.codec.Decode(w.t.Context(), r, &fact); err != nil {
			w.find("facts: one can't be read: %v", err)
			continue
		}
		label := fact.Lines[0].SKU
		if !s.known[label] || !does(label, "p") {
			w.find("phantom: the fact of %s is out", label)
		}
		known := first[label]
		if known == nil {
			first[label] = r
			order = append(order, label)
			continue
		}
		if !bytes.Equal(known.Value, r.Value) || !bytes.Equal(known.Key, r.Key) || !slices.EqualFunc(known.Headers, r.Headers, sameHeader) {
			w.find("immutable: the fact of %s is out with two contents", label)
		}
	}
	for _, label := range s.handled {
		if does(label, "p") && first[label] == nil {
			w.find("lost: the fact of %s is not out", label)
		}
	}
	w.ordered("published", order)
}

func sameHeader(a, b kgo.RecordHeader) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }

// judgeEffects: each is called at least once, and written down as done once.
func (w *world) judgeEffects(s stand) {
	done := map[string]int{}
	for _, key := range s.called {
		done[key]++
	}
	w.mu.Lock()
	calls := map[string]int{}
	for key, n := range w.calls {
		calls[key] = n
	}
	w.mu.Unlock()
	for _, label := range s.handled {
		if does(label, "e") && (calls[label] == 0 || done[label] != 1) {
			w.find("effects: that of %s is called %d times and done %d times", label, calls[label], done[label])
		}
	}
	for key := range calls {
		if !s.known[key] || !does(key, "e") {
			w.find("phantom: the outside is called for %s", key)
		}
	}
}

// judgeDead: what can't be handled has a copy, bytes unchanged; nothing else has one.
func (w *world) judgeDead() {
	copies := map[string]bool{}
	for _, r := range w.read(dead, 1) {
		partition, offset := header(r, "spine_dlq_partition"), header(r, "spine_dlq_offset")
		label := w.at[place{int32(number(partition)), number(offset)}]
		copies[label] = true
		from := w.sent[label]
		switch {
		case from == nil:
			w.find("phantom: a dead letter of %s/%s", partition, offset)
		case !bytes.Equal(from.Key, r.Key) || !bytes.Equal(from.Value, r.Value):
			w.find("bad input: the dead letter of %s has other bytes", label)
		case !bad(label) && !does(label, "d") && !does(label, "f"):
			w.find("bad input: %s is a dead letter, though it only had bad luck", label)
		}
	}
	for label := range w.sent {
		if bad(label) && !copies[label] {
			w.find("bad input: %s left no dead letter", label)
		}
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// judgeCommits: what Kafka was told follows the store, and is never ahead of it.
func (w *world) judgeCommits(s stand) {
	for topic, partitions := range w.cluster.GroupInfo(group).Commits {
		for id, c := range partitions {
			if topic == input && c.Offset > s.next[id] {
				w.find("offsets: Kafka was told %d of partition %d, the store stands at %d", c.Offset, id, s.next[id])
			}
		}
	}
}

// read reads a topic from its beginning to its end, partition by partition.
func (w *world) read(topic string, partitions int32) []*kgo.Record {
	from, left := map[int32]kgo.Offset{}, int64(0)
	for id := range partitions {
		from[id] = kgo.NewOffset().AtStart()
		left += w.cluster.PartitionInfo(topic, id).HighWatermark
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.Dialer(w.network.DialContext),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	w.must(err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	var all []*kgo.Record
	for int64(len(all)) < left && ctx.Err() == nil {
		all = append(all, client.PollFetches(ctx).Records()...)
	}
	w.must(ctx.Err())
	return all
}
