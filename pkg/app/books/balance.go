// Package books audits the backbone by id: what was accepted, what stands in Kafka,
// and what stands in each group's own database. Nothing is derived from another
// count: an id is in a place or it is not.
package books

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Place is where a record stands in Kafka.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Range are offsets of one partition, To excluded.
type Range struct{ From, To int64 }

// Event is one id as it stands in the stream.
type Event struct {
	Type     string
	Source   string
	Key      string
	Cause    string // ce_causationid
	Sequence string
	Request  string // of the call over HTTP in which it began
	First    Place
	Copies   int  // records that carry the id
	Changed  bool // two of them differ in content, though nobody has asked for it
	Retold   bool // found when deliveries were translated again: it comes late
}

// Delivery is one id of a raw topic.
type Delivery struct {
	System, Instance string
	Received         time.Time
	Request          string
	First            Place
	Copies           int
}

// Outcome is what translate made of a delivery.
type Outcome struct {
	Kind   string   // in translate's words: facts, no_fact, stale, duplicate …
	Events []string // ids of the facts in it
}

// factsKept is for how long the facts of a delivery are surely still in Kafka: a day
// less than the retention of their topics, which ends by whole segments.
const factsKept = 27 * 24 * time.Hour

// DuplicateDelivery is the outcome of a delivery in which nothing was new.
const DuplicateDelivery = "duplicate"

// Handled is one id that a group has handled.
type Handled struct {
	Place
	At time.Time
}

// Group is what stands in a group's database.
type Group struct {
	Name    string
	Reads   map[string]bool           // the fact types it handles, older majors among them
	Owned   map[string]Range          // topic/partition → where the group began and where it goes on
	Handled map[string]Handled        // by event id
	Waiting map[string]bool           // parked
	Dead    map[string]bool           // dead letters
	Dropped map[string]bool           // given up by a person
	Ledger  map[string]map[string]int // fact type → event id → rows of the group's own tables that say so
	Resets  []Reset                   // what people set, the oldest first
	Replays []Reset                   // what people had handled again: from To to From
	Effects *EffectRow                // its calls to the outside; nil = it has none
	Ordered bool                      // its facts leave in the order of their causes: no fact comes from an effect

	AtLeastOnce bool // it keeps no inbox: it has handled what is below its offsets and nowhere else
}

// Stock is all that was collected.
type Stock struct {
	Window     map[string]Range     // topic/partition → the offsets that were read
	Accepted   map[string]string    // delivery id → instance, as answered over HTTP; nil = not known
	Spooled    map[string]bool      // deliveries that wait in the spool
	Deliveries map[string]*Delivery // raw topics
	Outcomes   map[string]Outcome   // by delivery id
	Settled    map[string]bool      // deliveries that had their outcome before the stream was read
	Outgoing   int                  // records of translate on their way out at that time
	Now        time.Time
	Events     map[string]*Event // fact topics
	Translate  Group
	Groups     []Group
}

// Row is one fact of one group.
type Row struct {
	Group    string `json:"group"`
	Fact     string `json:"fact"`
	InStream int    `json:"in_stream"`
	Handled  int    `json:"handled"`
	Parked   int    `json:"parked"`
	Dead     int    `json:"dead"`
	Dropped  int    `json:"dropped"` // a person gave it up
	Missing  int    `json:"missing"` // the group went past it and has nothing of it
	Doubled  int    `json:"doubled"`
	Skipped  int    `json:"skipped"` // a person set the group past it
	Pending  int    `json:"pending"` // the group has not come so far yet: its lag

	AtLeastOnce bool `json:"at_least_once,omitempty"` // without an inbox: what was handled again can't be seen, doubled is allowed
}

// DeliveryRow is one instance.
type DeliveryRow struct {
	System     string `json:"system"`
	Instance   string `json:"instance"`
	Accepted   int    `json:"accepted"`
	Translated int    `json:"translated"`
	NoFact     int    `json:"no_fact"`
	Dead       int    `json:"dead"`
	Dropped    int    `json:"dropped"` // a person gave it up
	Missing    int    `json:"missing"`
	Skipped    int    `json:"skipped"` // a person set translate past it
	Pending    int    `json:"pending"` // translate has not come so far yet
}

// EffectRow are the calls to the outside of one group, as they stand now, whatever the
// time of the records that are looked at. None unbalances the books: what is open is
// under way, and what is unknown waits for a person, who alone can say whether it
// happened. What was done or dropped is forgotten after its time.
type EffectRow struct {
	Group   string `json:"group"`
	Done    int    `json:"done"`
	Open    int    `json:"open"`    // to be called, or being called
	Unknown int    `json:"unknown"` // a person decides: spine parked
	Dropped int    `json:"dropped"` // a person gave it up
}

// Totals are the four ways in which books can fail to balance.
type Totals struct {
	Lost       int `json:"lost"`         // accepted, or in the stream and passed by, and nowhere further
	Doubled    int `json:"doubled"`      // more than one effect, or one id with two contents
	Phantom    int `json:"phantom"`      // an effect or a record without a cause
	OutOfOrder int `json:"out_of_order"` // events of one key handled or published in another order
}

// Result is the audit.
type Result struct {
	Balanced   bool          `json:"balanced"`
	Rows       []Row         `json:"rows"`
	Deliveries []DeliveryRow `json:"deliveries"`
	Effects    []EffectRow   `json:"effects"`
	Spooled    int           `json:"spooled"` // deliveries on their way from the spool to Kafka
	Totals     Totals        `json:"totals"`
	Findings   []string      `json:"findings"` // sorted, each with an id; at most 100
}

const maxFindings = 100

func (r *Result) find(text string) { r.Findings = append(r.Findings, text) }

// sort puts the result into an order that does not depend on chance.
func (r *Result) sort() {
	slices.SortFunc(r.Rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Fact, b.Fact)) })
	slices.SortFunc(r.Deliveries, func(a, b DeliveryRow) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Instance, b.Instance))
	})
	slices.SortFunc(r.Effects, func(a, b EffectRow) int { return cmp.Compare(a.Group, b.Group) })
	slices.Sort(r.Findings)
	if more := len(r.Findings) - maxFindings; more > 0 {
		r.Findings = append(r.Findings[:maxFindings:maxFindings], "and "+strconv.Itoa(more)+" more")
	}
}

// Balance compares.
func Balance(s Stock) Result {
	r := Result{Rows: []Row{}, Deliveries: []DeliveryRow{}, Effects: []EffectRow{}, Spooled: len(s.Spooled), Findings: []string{}}
	r.deliveries(s)
	for id, e := range s.Events {
		if e.Changed {
			r.Totals.Doubled++
			r.find(e.Type + " " + id + ": two records of one id differ in content")
		}
	}
	for _, g := range s.Groups {
		r.group(s, g)
		if g.Effects != nil {
			r.Effects = append(r.Effects, *g.Effects)
		}
	}
	for _, g := range append([]Group{s.Translate}, s.Groups...) {
		r.handledOrder(s, g)
	}
	r.publishedOrder(s)
	r.phantomFacts(s)
	r.sort()
	r.Balanced = r.Totals == Totals{}
	return r
}

// deliveries follows each delivery from the answer over HTTP to its facts.
func (r *Result) deliveries(s Stock) {
	rows := map[string]*DeliveryRow{}
	row := func(system, instance string) *DeliveryRow {
		key := system + "/" + instance
		if rows[key] == nil {
			rows[key] = &DeliveryRow{System: system, Instance: instance}
		}
		return rows[key]
	}
	for id, instance := range s.Accepted {
		if s.Deliveries[id] == nil && !s.Spooled[id] {
			system, short, _ := strings.Cut(instance, "/")
			row(system, short).Accepted++
			row(system, short).Missing++
			r.Totals.Lost++
			r.find("delivery " + id + " was answered 2xx and is neither in Kafka nor in the spool")
		}
	}
	for id, d := range s.Deliveries {
		at := row(d.System, d.Instance)
		at.Accepted++
		_, handled := s.Translate.Handled[id]
		switch {
		case s.Translate.Dead[id]:
			at.Dead++
		case handled && len(s.Outcomes[id].Events) > 0:
			r.facts(s, id, at)
		case handled:
			at.NoFact++
		case s.Translate.Dropped[id]:
			at.Dropped++
		case !s.Translate.passed(d.First):
			at.Pending++
		case s.Translate.skipped(d.First):
			at.Skipped++
		default:
			at.Missing++
			r.Totals.Lost++
			r.find("delivery " + id + " of " + d.System + "/" + d.Instance + " is not translated")
		}
	}
	r.phantomDeliveries(s)
	for _, at := range rows {
		r.Deliveries = append(r.Deliveries, *at)
	}
}

func (r *Result) phantomDeliveries(s Stock) {
	for id, h := range s.Translate.Handled {
		if s.Deliveries[id] == nil && s.read(h.Place) {
			r.Totals.Phantom++
			r.find("delivery " + id + " is translated and is not in Kafka")
		}
	}
}

// facts looks for the facts of a translated delivery in the stream.
func (r *Result) facts(s Stock, id string, at *DeliveryRow) {
	for _, fact := range s.Outcomes[id].Events {
		if s.Events[fact] != nil || !s.Settled[id] || s.Now.Sub(s.Deliveries[id].Received) > factsKept {
			continue
		}
		if s.Outgoing > 0 {
			at.Pending++ // on its way, as far as can be told
			return
		}
		at.Missing++
		r.Totals.Lost++
		r.find("delivery " + id + " was translated into " + fact + ", which is not in Kafka")
		return
	}
	at.Translated++
}

// group follows each event of the stream into one group.
func (r *Result) group(s Stock, g Group) {
	rows := map[string]*Row{}
	for fact := range g.Reads {
		rows[fact] = &Row{Group: g.Name, Fact: fact, AtLeastOnce: g.AtLeastOnce}
	}
	for id, e := range s.Events {
		row := rows[e.Type]
		if row == nil || e.First.Offset < g.Owned[e.First.partition()].From {
			continue // before the group began: not its
		}
		row.InStream++
		_, handled := g.Handled[id]
		switch {
		case handled:
			row.Handled++
		case g.kept(row, id):
		case !g.passed(e.First):
			row.Pending++
		case g.skipped(e.First):
			row.Skipped++
		case g.AtLeastOnce:
			row.Handled++
		default:
			row.Missing++
			r.Totals.Lost++
			r.find(e.Type + " " + id + " is in the stream, and " + g.Name + " has neither handled nor kept it")
		}
		r.doubled(g, row, id)
	}
	for id, h := range g.Handled {
		if s.Events[id] == nil && s.read(h.Place) {
			r.Totals.Phantom++
			r.find("event " + id + " is handled by " + g.Name + " and is not in the stream")
		}
	}
	r.ledger(s, g)
	for _, row := range rows {
		r.Rows = append(r.Rows, *row)
	}
}

// doubled looks whether an event has left more than one row in the group's tables.
func (r *Result) doubled(g Group, row *Row, id string) {
	if g.Ledger[row.Fact][id] <= 1 {
		return
	}
	row.Doubled++
	if !g.AtLeastOnce { // else it is as it was told
		r.Totals.Doubled++
		r.find(row.Fact + " " + id + " stands more than once in the tables of " + g.Name)
	}
}

// kept says that an event stands in the group's waiting room, or was given up there.
func (g Group) kept(row *Row, id string) bool {
	switch {
	case g.Dead[id]:
		row.Dead++
	case g.Waiting[id]:
		row.Parked++
	case g.Dropped[id]:
		row.Dropped++
	default:
		return false
	}
	return true
}

// ledger compares a group's own tables with what it has handled: an effect without
// its mark, or a mark without its effect, is a torn transaction.
func (r *Result) ledger(s Stock, g Group) {
	for fact, ids := range g.Ledger {
		for id := range ids {
			if !s.may(g, id) {
				r.Totals.Phantom++
				r.find(fact + " " + id + " stands in the tables of " + g.Name + ", which has not handled it")
			}
		}
	}
}

// may says that a group may have left something of an event: it has handled it, or,
// where it doesn't say what it has handled, it could.
func (s Stock) may(g Group, id string) bool {
	_, handled := g.Handled[id]
	return handled || g.AtLeastOnce && (s.Events[id] != nil || !s.whole())
}

// read says that what stands at p was looked at: it is neither before the window nor
// did it come later.
func (s Stock) read(p Place) bool {
	w := s.Window[p.partition()]
	return p.Offset >= w.From && p.Offset < w.To
}

// whole says that nothing is missing before the window.
func (s Stock) whole() bool {
	for _, w := range s.Window {
		if w.From > 0 {
			return false
		}
	}
	return true
}

// passed says that the group's stored offset is behind p: p is handled, kept, or lost.
func (g Group) passed(p Place) bool { return p.Offset < g.Owned[p.partition()].To }

// String is how a group names a record that has no id: topic/partition/offset.
func (p Place) String() string { return p.partition() + "/" + strconv.FormatInt(p.Offset, 10) }

func (p Place) partition() string { return p.Topic + "/" + itoa(p.Partition) }

// handledOrder: of one key, a later record must not be handled earlier.
func (r *Result) handledOrder(s Stock, g Group) {
	type entry struct {
		id string
		Handled
	}
	keys := map[string][]entry{}
	for id, h := range g.Handled {
		e := s.Events[id]
		if e == nil {
			continue // a delivery, or counted as phantom
		}
		at := h.partition() + "|" + e.Key
		keys[at] = append(keys[at], entry{id, h})
	}
	for _, all := range keys {
		slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.Offset, b.Offset) })
		for i := 1; i < len(all); i++ {
			if all[i].At.Before(all[i-1].At) && !g.late(all[i-1].Handled) {
				r.Totals.OutOfOrder++
				r.find("event " + all[i].id + " is handled by " + g.Name + " before " + all[i-1].id + " of the same key, which comes first in the topic")
			}
		}
	}
}

// publishedOrder: facts of a group stand in the order of their causes; snapshot
// facts of one object in the order of their sequence.
func (r *Result) publishedOrder(s Stock) {
	ordered, groups := map[string]bool{}, map[string]Group{}
	for _, g := range s.Groups {
		ordered["spine/"+g.Name], groups["spine/"+g.Name] = g.Ordered, g
	}
	type entry struct {
		id string
		e  *Event
	}
	lanes := map[string][]entry{}
	for id, e := range s.Events {
		cause := s.Events[e.Cause]
		switch {
		case e.Retold:
		case e.Sequence != "":
			lanes["s|"+e.First.partition()+"|"+e.Source+"|"+e.Key] = append(lanes["s|"+e.First.partition()+"|"+e.Source+"|"+e.Key], entry{id, e})
		case cause != nil && ordered[e.Source]:
			lane := "c|" + e.First.partition() + "|" + e.Source + "|" + cause.First.partition() + "|" + cause.Key
			lanes[lane] = append(lanes[lane], entry{id, e})
		}
	}
	for _, lane := range slices.Sorted(maps.Keys(lanes)) {
		all := lanes[lane]
		slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.e.First.Offset, b.e.First.Offset) })
		for i := 1; i < len(all); i++ {
			a, b := all[i-1].e, all[i].e
			wrong := b.Sequence < a.Sequence
			if lane[0] == 'c' {
				g := groups[b.Source]
				wrong = s.Events[b.Cause].First.Offset < s.Events[a.Cause].First.Offset && !g.late(g.Handled[b.Cause])
			}
			if wrong {
				r.Totals.OutOfOrder++
				r.find(b.Type + " " + all[i].id + " stands behind " + all[i-1].id + ", which follows from something later")
			}
		}
	}
}

// phantomFacts: what a group published follows from an event that is in the stream
// and that it has handled.
func (r *Result) phantomFacts(s Stock) {
	groups := map[string]Group{}
	for _, g := range s.Groups {
		groups["spine/"+g.Name] = g
	}
	for id, e := range s.Events {
		g, ours := groups[e.Source]
		if !ours {
			continue
		}
		if s.Events[e.Cause] == nil && !s.whole() {
			continue // its cause stands before the window
		}
		if !s.may(g, e.Cause) {
			r.Totals.Phantom++
			r.find(e.Type + " " + id + " follows from " + e.Cause + ", which " + g.Name + " has not handled")
		}
	}
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }
