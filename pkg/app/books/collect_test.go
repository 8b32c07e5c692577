package books_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/eventspine/spine/pkg/app/books"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/wire"
)

// One id may stand in the stream more than once, with another meta each time: that
// is one content. Another payload under the same id is not.
func TestStream_contentIsThePayloadWithoutMeta(t *testing.T) {
	t.Parallel()
	parts := devtest.Parts(t)
	topic, raw := devtest.Unique(t, "books.events"), devtest.Unique(t, "raw.books")
	parts.CreateTopics(t, 2, topic, raw)
	registry, err := sr.NewClient(sr.URLs(parts.RegistryURL))
	if err != nil {
		t.Fatal(err)
	}
	name := "B" + devtest.Unique(t, "")[1:]
	schema, err := registry.CreateSchema(t.Context(), "spine.books."+name, sr.Schema{Schema: `{"type": "record", "name": "` + name + `", "namespace": "spine.books",
		"fields": [{"name": "meta", "type": {"type": "record", "name": "Meta", "fields": [{"name": "recorded_at", "type": "long"}]}}, {"name": "n", "type": "long"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	value := func(recorded, n byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(schema.ID)), 2*recorded, 2*n)
	}
	record := func(topic, id string, value []byte) *kgo.Record {
		return &kgo.Record{Topic: topic, Key: []byte("k"), Value: value, Headers: []kgo.RecordHeader{
			{Key: "ce_id", Value: []byte(id)},
			{Key: "ce_type", Value: []byte("thing.done.v1")},
			{Key: "ce_source", Value: []byte("shop/uk")},
			{Key: "ce_specversion", Value: []byte("1.0")},
			{Key: "ce_time", Value: []byte("2026-03-14T11:20:00Z")},
			{Key: "ce_subject", Value: []byte("thing/1")},
		}}
	}
	retold := func(r *kgo.Record) *kgo.Record {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: wire.HeaderRetold, Value: []byte("2026-03-14T11:20:00Z")})
		return r
	}
	opts := []kgo.Opt{kgo.SeedBrokers(parts.Brokers...)}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	noID := record(topic, "", value(1, 1))
	noID.Headers = nil
	unreadable := record(topic, "unreadable", value(1, 1)) // but of a type: groups know it by its place
	unreadable.Headers[3].Value = []byte("0.3")
	for _, r := range []*kgo.Record{
		record(raw, "d1", []byte("{}")), record(raw, "d1", []byte("{}")),
		record(topic, "once", value(1, 1)),
		record(topic, "identical", value(1, 1)), record(topic, "identical", value(1, 1)),
		record(topic, "reported twice", value(1, 1)), record(topic, "reported twice", value(2, 1)),
		record(topic, "changed", value(1, 1)), record(topic, "changed", value(1, 2)), record(topic, "changed", value(1, 1)),
		record(topic, "named", value(1, 1)), retold(record(topic, "named", value(1, 2))),
		record(topic, "broken", value(1, 1)), record(topic, "broken", []byte("nothing of ours")),
		noID, unreadable,
	} {
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := books.Options{
		Client: opts, Raw: []string{raw}, Topics: []string{topic}, Codec: wire.NewCodec(wire.NewRegistry(registry)),
	}.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := books.Place{Topic: topic, Partition: unreadable.Partition, Offset: unreadable.Offset}.String()
	if e := s.Events[at]; e == nil || e.Type != "thing.done.v1" {
		t.Errorf("a record with unusable headers stands as %+v", e)
	}
	delete(s.Events, at)
	changed, copies := map[string]bool{}, map[string]int{}
	for id, e := range s.Events {
		copies[id] = e.Copies
		if e.Changed {
			changed[id] = true
		}
	}
	if d := cmp.Diff(map[string]bool{"changed": true, "broken": true}, changed); d != "" {
		t.Errorf("changed (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]int{"once": 1, "identical": 2, "reported twice": 2, "changed": 3, "named": 2, "broken": 2}, copies); d != "" {
		t.Errorf("copies (-want +got):\n%s", d)
	}
	if d := s.Deliveries["d1"]; len(s.Deliveries) != 1 || d.Copies != 2 || d.System != "shop" || d.Instance != "uk" {
		t.Errorf("deliveries %+v", s.Deliveries)
	}
	if len(s.Window) != 4 {
		t.Errorf("windows of %d partitions, want 4", len(s.Window))
	}
}
