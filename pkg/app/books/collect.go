package books

import (
	"context"
	"database/sql"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/journal"
	"github.com/eventspine/spine/pkg/once/room"
	"github.com/eventspine/spine/pkg/wire"
)

// Source is one group and the database that holds its books.
type Source struct {
	Group consumer.Group
	DB    *once.DB

	AtLeastOnce bool // it runs without an inbox
}

// Options say where to collect from.
type Options struct {
	Client    []kgo.Opt
	Raw       []string // raw.<system>
	Topics    []string // fact topics
	Codec     *wire.Codec
	Translate Source
	Groups    []Source
	Since     time.Time // by Kafka's time; zero = all that is there
}

// Collect reads what stands in Kafka and in the databases. Databases are read after
// Kafka, so that what is handled meanwhile is no finding; what translate has published
// is read before, so that it has to be there.
func Collect(ctx context.Context, o Options) (Stock, error) {
	early := map[string]Outcome{}
	if err := outcomes(ctx, o.Translate.DB, early); err != nil {
		return Stock{}, err
	}
	counts, err := o.Translate.DB.Store(o.Translate.Group.Name).Counts(ctx)
	if err != nil {
		return Stock{}, err
	}
	s, err := o.stream(ctx)
	if err != nil {
		return Stock{}, fmt.Errorf("reading the stream: %w", err)
	}
	s.Outgoing, s.Now, s.Settled = counts.Outgoing, time.Now(), make(map[string]bool, len(early))
	for id := range early {
		s.Settled[id] = true
	}
	if s.Translate, err = o.group(ctx, o.Translate); err != nil {
		return Stock{}, err
	}
	if err := outcomes(ctx, o.Translate.DB, s.Outcomes); err != nil {
		return Stock{}, err
	}
	for _, src := range o.Groups {
		g, err := o.group(ctx, src)
		if err != nil {
			return Stock{}, err
		}
		if g.Effects, err = src.effects(ctx); err != nil {
			return Stock{}, err
		}
		s.Groups = append(s.Groups, g)
	}
	return s, nil
}

// stream reads what stands in Kafka, and nothing else.
func (o Options) stream(ctx context.Context) (Stock, error) {
	s := Stock{
		Window: map[string]Range{}, Deliveries: map[string]*Delivery{}, Events: map[string]*Event{}, Outcomes: map[string]Outcome{},
	}
	window := tap.All()
	if !o.Since.IsZero() {
		window = tap.Since(o.Since)
	}
	raw := map[string]bool{}
	for _, topic := range o.Raw {
		raw[topic] = true
	}
	seed, contents, suspects := maphash.MakeSeed(), map[string]uint64{}, map[string]bool{}
	err := tap.Read(ctx, tap.Options{
		Client: o.Client, Topics: append(append([]string{}, o.Raw...), o.Topics...), Window: window,
		Resolved: func(topic string, partition int32, from, to int64) {
			s.Window[Place{Topic: topic, Partition: partition}.partition()] = Range{from, to}
		},
	}, func(r *kgo.Record) error {
		h := headers(r)
		id := h["ce_id"]
		place := Place{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
		if raw[r.Topic] {
			if id != "" {
				s.delivery(id, h, place)
			}
			return nil
		}
		if e, err := wire.Head(r); e.Type == "" {
			return nil // not an event of ours: a dead letter of each group that reads the topic
		} else if err != nil {
			id = place.String() // the groups that handle the type know it by its place
		}
		sum := maphash.Bytes(seed, r.Value)
		if e := s.Events[id]; e != nil {
			e.Copies++
			suspects[id] = suspects[id] || contents[id] != sum && h[wire.HeaderRetold] == ""
			return nil
		}
		s.Events[id] = &Event{
			Type: h["ce_type"], Source: h["ce_source"], Key: string(r.Key), Cause: h["ce_causationid"],
			Sequence: h["ce_sequence"], Request: h["spine_request"], First: place, Copies: 1,
			Retold: h[wire.HeaderRetold] != "",
		}
		contents[id] = sum
		return nil
	})
	if err != nil {
		return Stock{}, err
	}
	return s, o.compare(ctx, s, suspects)
}

func (s *Stock) delivery(id string, h map[string]string, place Place) {
	if d := s.Deliveries[id]; d != nil {
		d.Copies++
		return
	}
	system, instance, _ := strings.Cut(h["ce_source"], "/")
	received, _ := time.Parse(time.RFC3339Nano, h["ce_time"]) // a wrong time is a dead letter, and has no latency
	s.Deliveries[id] = &Delivery{System: system, Instance: instance, Received: received, Request: h["spine_request"], First: place, Copies: 1}
}

func headers(r *kgo.Record) map[string]string {
	h := make(map[string]string, len(r.Headers))
	for _, header := range r.Headers {
		if strings.HasPrefix(header.Key, "ce_") || header.Key == "spine_request" || header.Key == wire.HeaderRetold {
			h[header.Key] = string(header.Value)
		}
	}
	return h
}

func (o Options) group(ctx context.Context, src Source) (Group, error) {
	g := Group{
		Name: src.Group.Name, Reads: map[string]bool{}, Owned: map[string]Range{}, Handled: map[string]Handled{},
		Waiting: map[string]bool{}, Dead: map[string]bool{}, Dropped: map[string]bool{}, Ledger: map[string]map[string]int{}, Ordered: len(src.Group.Effects) == 0,
		AtLeastOnce: src.AtLeastOnce,
	}
	for _, fact := range dispatch.Types(src.Group) {
		g.Reads[fact] = true
	}
	store := src.DB.Store(g.Name)
	owned, err := store.Ownerships(ctx)
	if err != nil {
		return Group{}, err
	}
	for _, own := range owned {
		g.Owned[Place{Topic: own.Topic, Partition: own.Partition}.partition()] = Range{own.StartOffset, own.NextOffset}
	}
	for h, err := range store.Handled(ctx) {
		if err != nil {
			return Group{}, err
		}
		g.Handled[h.EventID] = Handled{Place{h.Topic, h.Partition, h.Offset}, h.HandledAt}
	}
	rows, err := store.Rows(ctx, once.RowFilter{})
	if err != nil {
		return Group{}, err
	}
	for _, row := range rows {
		if row.State == once.Dead {
			g.Dead[row.EventID] = true
		} else {
			g.Waiting[row.EventID] = true
		}
	}
	given, err := room.Dropped(ctx, src.DB.DB, g.Name)
	if err != nil {
		return Group{}, err
	}
	for _, id := range given {
		g.Dropped[id] = true
	}
	if g.Replays, err = src.replays(ctx); err != nil {
		return Group{}, err
	}
	if g.Resets, err = src.resets(ctx); err != nil {
		return Group{}, err
	}
	for fact, query := range src.Group.Ledger {
		if g.Ledger[fact], err = counts(ctx, src.DB.SQL(), query); err != nil {
			return Group{}, fmt.Errorf("ledger of %s for %s: %w", g.Name, fact, err)
		}
	}
	return g, nil
}

// effects counts the calls to the outside of a group that has some, or had.
func (s Source) effects(ctx context.Context) (*EffectRow, error) {
	n, err := journal.Count(ctx, s.DB.DB, s.Group.Name)
	if err != nil || len(n) == 0 && len(s.Group.Effects) == 0 {
		return nil, err
	}
	return &EffectRow{
		Group: s.Group.Name, Done: n[journal.Done], Open: n[journal.Pending] + n[journal.Intent], Unknown: n[journal.Unknown], Dropped: n[journal.Dropped],
	}, nil
}

// counts runs a query of one column and counts its values.
func counts(ctx context.Context, db *sql.DB, query string) (map[string]int, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	n := map[string]int{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		n[id]++
	}
	return n, rows.Err()
}

// outcomes reads what translate made of each delivery.
func outcomes(ctx context.Context, db *once.DB, into map[string]Outcome) error {
	rows, err := db.SQL().QueryContext(ctx, `SELECT delivery_id, outcome, event_ids FROM translate_outcomes`)
	if err != nil {
		return fmt.Errorf("reading the outcomes of translate: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, events string
		var o Outcome
		if err := rows.Scan(&id, &o.Kind, &events); err != nil {
			return err
		}
		o.Events = strings.Fields(events)
		into[id] = o
	}
	return rows.Err()
}
