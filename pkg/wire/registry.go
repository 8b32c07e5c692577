package wire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/sr"
	"golang.org/x/sync/singleflight"
)

const (
	registryTimeout = 10 * time.Second
	missingFor      = 10 * time.Second // how long "there is no such schema" is believed
	maxMissing      = 10_000
)

// Registry finds schemas in a registry that speaks Confluent's protocol. It never
// registers one. What it has found it keeps: an id never changes its schema.
type Registry struct {
	client  *sr.Client
	flights singleflight.Group
	mu      sync.Mutex
	schemas map[int]*revision
	missing map[string]time.Time // until when not to ask again
}

// revision is a schema of the registry.
type revision struct {
	text   string
	schema avro.Schema
	name   string // full name of the record
}

// NewRegistry makes a Registry.
func NewRegistry(client *sr.Client) *Registry {
	return &Registry{client: client, schemas: map[int]*revision{}, missing: map[string]time.Time{}}
}

// id finds the id of a registered schema.
func (r *Registry) id(ctx context.Context, subject, text string) (int, error) {
	key := "subject " + subject
	if r.isMissing(key) {
		return 0, notRegistered(subject)
	}
	found, err := r.once(ctx, key, func(ctx context.Context) (any, error) {
		return r.client.LookupSchema(ctx, subject, sr.Schema{Schema: text, Type: sr.TypeAvro})
	})
	if isUnknown(err) {
		r.setMissing(key)
		return 0, notRegistered(subject)
	}
	if err != nil {
		return 0, fmt.Errorf("looking up schema %s: %w: %w", subject, ErrRegistryUnavailable, err)
	}
	return found.(sr.SubjectSchema).ID, nil //nolint:forcetypeassert // what the flight answers
}

func notRegistered(subject string) error {
	return fmt.Errorf("%w: %w: this revision of %s; spine schema register does it", ErrRegistryUnavailable, ErrNotRegistered, subject)
}

// revision finds a schema by its id.
func (r *Registry) revision(ctx context.Context, id int) (*revision, error) {
	key := "id " + strconv.Itoa(id)
	r.mu.Lock()
	known := r.schemas[id]
	r.mu.Unlock()
	if known != nil {
		return known, nil
	}
	if r.isMissing(key) {
		return nil, bad(BadSchema, "the registry has no schema %d", id)
	}
	// Read within the flight: to parse costs more than to ask, and at the start all want the same.
	found, err := r.once(ctx, key, func(ctx context.Context) (any, error) { return r.read(ctx, id) })
	if isUnknown(err) {
		r.setMissing(key)
		return nil, bad(BadSchema, "the registry has no schema %d", id)
	}
	var unreadable *BadRecordError
	if errors.As(err, &unreadable) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("reading schema %d: %w: %w", id, ErrRegistryUnavailable, err)
	}
	return found.(*revision), nil //nolint:forcetypeassert // what the flight answers
}

// read asks for a schema and keeps it.
func (r *Registry) read(ctx context.Context, id int) (*revision, error) {
	s, err := r.client.SchemaByID(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.Type != sr.TypeAvro || len(s.References) > 0 {
		return nil, bad(BadSchema, "schema %d is %s with %d references: want Avro that stands alone", id, s.Type, len(s.References))
	}
	// A cache of its own: in hamba's global one, revisions of a name would replace each other.
	schema, err := avro.ParseWithCache(s.Schema, "", &avro.SchemaCache{})
	if err != nil {
		return nil, bad(BadSchema, "schema %d: %w", id, err)
	}
	named, ok := schema.(*avro.RecordSchema)
	if !ok {
		return nil, bad(BadSchema, "schema %d is %s: want a record", id, schema.Type())
	}
	known := &revision{text: s.Schema, schema: schema, name: named.FullName()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schemas[id] = known
	return known, nil
}

// once asks the registry once for all who want the same now. Who gives up does not
// take the answer from the others.
func (r *Registry) once(ctx context.Context, key string, ask func(context.Context) (any, error)) (any, error) {
	answers := r.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), registryTimeout)
		defer cancel()
		return ask(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-answers:
		return a.Val, a.Err
	}
}

// isUnknown tells the registry's own "there is none" from the answer of a proxy or of
// a wrong address, which must not make poison of good records.
func isUnknown(err error) bool {
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		return false
	}
	return answer.ErrorCode == sr.ErrSubjectNotFound.Code || answer.ErrorCode == sr.ErrVersionNotFound.Code ||
		answer.ErrorCode == sr.ErrSchemaNotFound.Code
}

func (r *Registry) isMissing(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, found := r.missing[key]
	return found && time.Now().Before(until)
}

func (r *Registry) setMissing(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.missing) >= maxMissing { // somebody makes ids up
		clear(r.missing)
	}
	r.missing[key] = time.Now().Add(missingFor)
}
