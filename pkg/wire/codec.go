package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire/avrobin"
)

// frame is the Confluent framing: magic byte 0 and the id of the schema, 4 bytes,
// before the Avro.
const frame = 5

// Codec turns events into records and back. It is safe for concurrent use.
type Codec struct {
	registry *Registry
	readers  sync.Pool
	writers  sync.Pool
	mu       sync.RWMutex
	planning sync.Mutex
	written  map[reflect.Type]int       // id of the schema that a Go type writes
	read     map[reading]planned        // how a schema is read into a Go type
	own      map[reflect.Type]ownSchema // what a Go type says of itself
}

type reading struct {
	id  int
	typ reflect.Type
}

// planned is a plan, or why there is none: both stand for ever.
type planned struct {
	plan *avrobin.Plan
	err  error
}

type ownSchema struct {
	schema avro.Schema
	name   string // full name and subject
}

// encodable is what generated fact types offer.
type encodable interface {
	event.Stamped
	AvroSchema() string
	EncodeAvro(w *avrobin.Writer)
}

// decodable is what pointers to generated fact types offer.
type decodable interface {
	event.Fact
	GetMeta() event.Meta
	AvroSchema() string
	DecodeAvro(r *avrobin.Reader)
}

// NewCodec makes a Codec on a registry.
func NewCodec(registry *Registry) *Codec {
	return &Codec{
		registry: registry,
		readers:  sync.Pool{New: func() any { return avrobin.NewReader() }},
		writers:  sync.Pool{New: func() any { return avrobin.NewWriter() }},
		written:  map[reflect.Type]int{}, read: map[reading]planned{}, own: map[reflect.Type]ownSchema{},
	}
}

// Encode makes the record of a stamped fact. Envelope and meta must agree, the fact
// must be exact in its schema, and the record no larger than MaxRecord. Nothing is
// published that Head and Decode would not read.
func (c *Codec) Encode(ctx context.Context, topic string, e event.Event, fact event.Stamped) (*kgo.Record, error) {
	rec, err := c.encode(ctx, topic, e, fact)
	if err != nil {
		return nil, fmt.Errorf("encoding %s %s: %w", e.Type, e.ID, err)
	}
	return rec, nil
}

func (c *Codec) encode(ctx context.Context, topic string, e event.Event, fact event.Stamped) (*kgo.Record, error) {
	x, ok := fact.(encodable)
	if !ok {
		return nil, fmt.Errorf("%T is not a generated fact type", fact)
	}
	if x.EventType() != e.Type {
		return nil, fmt.Errorf("the fact is %s", x.EventType())
	}
	noun, _, _ := strings.Cut(e.Type, ".")
	rec := &kgo.Record{Topic: topic, Key: []byte(e.Key), Headers: headersOf(e, noun, contentType)}
	if _, err := Head(rec); err != nil {
		return nil, fmt.Errorf("envelope: %w", errors.Unwrap(err)) // not a bad record: there is none yet
	}
	m := x.GetMeta()
	if err := agree(rec, m); err != nil {
		return nil, err
	}
	if !e.OccurredAt.Equal(m.OccurredAt) || !e.RecordedAt.Equal(m.RecordedAt) || e.Test != m.Test {
		return nil, fmt.Errorf("meta says %s, recorded %s, test %t; the envelope %s, %s, %t",
			m.OccurredAt, m.RecordedAt, m.Test, e.OccurredAt, e.RecordedAt, e.Test)
	}
	var err error
	rec.Value, err = c.value(ctx, x)
	return rec, err
}

// value is the framed payload.
func (c *Codec) value(ctx context.Context, x encodable) ([]byte, error) {
	id, err := c.id(ctx, x)
	if err != nil {
		return nil, err
	}
	w, _ := c.writers.Get().(*avrobin.Writer)
	defer c.writers.Put(w)
	w.Reset()
	x.EncodeAvro(w)
	payload, err := w.Finish()
	if err != nil {
		return nil, err
	}
	size := frame + len(payload)
	if size > MaxRecord {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxRecord)
	}
	value := make([]byte, frame, size)
	binary.BigEndian.PutUint32(value[1:], uint32(id))
	return append(value, payload...), nil
}

// id is the id of the schema that a type writes.
func (c *Codec) id(ctx context.Context, x encodable) (int, error) {
	typ := reflect.TypeOf(x)
	c.mu.RLock()
	id, found := c.written[typ]
	c.mu.RUnlock()
	if found {
		return id, nil
	}
	own, err := c.ownSchema(typ, x.AvroSchema())
	if err != nil {
		return 0, err
	}
	if id, err = c.registry.id(ctx, own.name, x.AvroSchema()); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written[typ] = id
	return id, nil
}

// ownSchema is the parsed schema of a Go type.
func (c *Codec) ownSchema(typ reflect.Type, text string) (ownSchema, error) {
	c.mu.RLock()
	own, found := c.own[typ]
	c.mu.RUnlock()
	if found {
		return own, nil
	}
	schema, err := avro.ParseWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		return ownSchema{}, fmt.Errorf("schema of %s: %w", typ, err)
	}
	record, ok := schema.(*avro.RecordSchema)
	if !ok {
		return ownSchema{}, fmt.Errorf("schema of %s is no record", typ)
	}
	own = ownSchema{schema: schema, name: record.FullName()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own[typ] = own
	return own, nil
}

// Decode reads the payload of a record. into is a pointer to a generated fact type, or
// a *Delivery. Headers and payload must say the same. A record that cannot be read is a
// BadRecordError, and what into then holds means nothing; a registry that is away is
// ErrRegistryUnavailable. The strings of the payload share one copy of it.
func (c *Codec) Decode(ctx context.Context, rec *kgo.Record, into any) error {
	if d, ok := into.(*Delivery); ok {
		var err error
		*d, err = DecodeDelivery(rec)
		return err
	}
	x, ok := into.(decodable)
	if !ok {
		return fmt.Errorf("decoding into %T: want a pointer to a generated fact type", into)
	}
	if err := c.decode(ctx, rec, x); err != nil {
		return fmt.Errorf("decoding %s: %w", x.EventType(), err)
	}
	return nil
}

func (c *Codec) decode(ctx context.Context, rec *kgo.Record, x decodable) error {
	if typ := header(rec, HeaderType); string(typ) != x.EventType() {
		return bad(BadType, "%s is %.80q", HeaderType, typ)
	}
	id, payload, err := unframe(rec.Value)
	if err != nil {
		return err
	}
	plan, err := c.plan(ctx, id, x)
	if err != nil {
		return err
	}
	r, _ := c.readers.Get().(*avrobin.Reader)
	defer c.readers.Put(r)
	if err := plan.Reset(r, payload); err != nil {
		return bad(BadPayload, "%w", err)
	}
	x.DecodeAvro(r)
	if err := r.Finish(); err != nil {
		return bad(BadPayload, "%w", err)
	}
	if err := agree(rec, x.GetMeta()); err != nil {
		return bad(BadIdentity, "%w", err)
	}
	return nil
}

// unframe splits a value into schema id and Avro.
func unframe(value []byte) (int, []byte, error) {
	if len(value) < frame || value[0] != 0 {
		return 0, nil, bad(BadFrame, "value of %d bytes: want magic byte 0 and a schema id", len(value))
	}
	if len(value) > MaxRecord {
		return 0, nil, bad(BadFrame, "value of %d bytes: want at most %d", len(value), MaxRecord)
	}
	id := binary.BigEndian.Uint32(value[1:])
	if id > 1<<31-1 {
		return 0, nil, bad(BadFrame, "schema id %d: want at most %d", id, 1<<31-1)
	}
	return int(id), value[frame:], nil
}

// plan says how records of a schema are read into a type.
func (c *Codec) plan(ctx context.Context, id int, x decodable) (*avrobin.Plan, error) {
	key := reading{id, reflect.TypeOf(x)}
	c.mu.RLock()
	known, found := c.read[key]
	c.mu.RUnlock()
	if found {
		return known.plan, known.err
	}
	writer, err := c.registry.revision(ctx, id)
	if err != nil {
		return nil, err
	}
	c.planning.Lock() // to plan is dear, and at the start all want the same
	defer c.planning.Unlock()
	c.mu.RLock()
	known, found = c.read[key]
	c.mu.RUnlock()
	if found {
		return known.plan, known.err
	}
	own, err := c.ownSchema(key.typ, x.AvroSchema())
	if err != nil {
		return nil, err
	}
	if writer.name != own.name {
		known.err = bad(BadType, "schema %d is %s, not %s", id, writer.name, own.name)
	} else if known.plan, err = avrobin.NewPlan(writer.schema, own.schema); err != nil {
		known.err = bad(BadType, "schema %d: %w", id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read[key] = known
	return known.plan, known.err
}

// agree compares the headers of a record with the identity in its payload.
func agree(rec *kgo.Record, m event.Meta) error {
	for _, f := range [...]struct{ name, meta string }{
		{HeaderID, m.EventID},
		{HeaderCorrelation, m.CorrelationID},
		{HeaderCausation, deref(m.CausationID)},
	} {
		if !says(header(rec, f.name), f.meta) {
			return fmt.Errorf("%s is %.80q, meta says %.80q", f.name, header(rec, f.name), f.meta)
		}
	}
	if b := header(rec, HeaderSource); !says(b, m.SourceSystem, "/", m.SourceInstance) {
		return fmt.Errorf("%s is %.80q, meta says %s/%s", HeaderSource, b, m.SourceSystem, m.SourceInstance)
	}
	if b := header(rec, HeaderSubject); !says(b, m.SourceObject, "/", m.SourceID) {
		return fmt.Errorf("%s is %.80q, meta says %s/%.80s", HeaderSubject, b, m.SourceObject, m.SourceID)
	}
	at, err := parseTime(header(rec, HeaderTime))
	if err != nil || !at.Equal(m.OccurredAt) {
		return fmt.Errorf("%s is %.40q, meta says %s", HeaderTime, header(rec, HeaderTime), m.OccurredAt.Format(timeForm))
	}
	if b := header(rec, HeaderOrigin); b != nil && originOf(b) != m.Origin {
		return fmt.Errorf("%s is %.20q, meta says %s", HeaderOrigin, b, m.Origin)
	}
	return nil
}

// says tells whether a header holds the parts, one after the other.
func says(b []byte, parts ...string) bool {
	if bytes.IndexByte(b, '%') >= 0 {
		decoded, err := DecodeAttribute(b)
		return err == nil && decoded == strings.Join(parts, "")
	}
	for _, p := range parts {
		if len(b) < len(p) || string(b[:len(p)]) != p {
			return false
		}
		b = b[len(p):]
	}
	return len(b) == 0
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
