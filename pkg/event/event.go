package event

import "time"

// Origin says by which way a fact reached Spine.
type Origin string

// The origins. They are the symbols of the enum in the Avro record EventMeta.
const (
	OriginUnknown  Origin = "UNKNOWN"
	OriginWebhook  Origin = "WEBHOOK"
	OriginPoll     Origin = "POLL"
	OriginCDC      Origin = "CDC"
	OriginOutbox   Origin = "OUTBOX"
	OriginBackfill Origin = "BACKFILL"
	OriginProcess  Origin = "PROCESS" // made by a group
	OriginManual   Origin = "MANUAL"
)

// Meta is the identity inside the payload (Avro record spine.common.EventMeta).
// The headers of a record say the same; sinks and mirrors lose headers. Both are
// checked equal when an event is published and when it is read.
type Meta struct {
	EventID          string    // equals header ce_id
	OccurredAt       time.Time // when it happened in the source; equals ce_time
	RecordedAt       time.Time // when the delivery was received; a group's fact: its cause's
	SourceSystem     string    // "shopify"; "spine" for a group's fact
	SourceInstance   string    // "uk"; the group's name for a group's fact
	SourceObject     string    // noun of the fact: "order"
	SourceID         string    // native id of the entity
	SourceVersion    *int64    // monotonic per entity, micros of the source's version; nil where there is none
	SourceAPIVersion *string   // version of the vendor's interface, where it says so
	CorrelationID    string    // the root aggregate: "order:shopify/uk:5001"
	CausationID      *string   // id of the event that caused this one
	Origin           Origin
	CorrectsEventID  *string
	UpcastFrom       *string // the older fact type that this one was made from
	Test             bool    // a test order, a canary: business results leave it out
}

// New is what an author says of a fact that happened. The engine stamps the rest:
// id, source, key and meta.
type New struct {
	Fact          Fact
	Entity        string    // native id of the thing it happened to: the order id
	Discriminator string    // "" for what happens at most once; else the vendor's id of the occurrence
	Key           string    // record key; "" = the default: <source>:<Entity>
	At            time.Time // when it happened
	Born          time.Time // id time of facts without an immutable time of their own: when the object was made; zero = At
	Test          bool
}

// Event is the envelope as a handler sees it.
type Event struct {
	ID            string
	Type          string   // the fact type as it stands in the stream, before any upcast
	Source        string   // "shopify/uk", "spine/inventory"
	Instance      Instance // the installation it began in, with its configuration
	Entity        string   // native id of the thing it happened to
	Key           string   // record key
	Origin        Origin
	OccurredAt    time.Time
	RecordedAt    time.Time
	Sequence      string // orders the snapshot facts of one object; "" = none
	CorrelationID string
	CausationID   string
	Replay        bool // handled again from history: nothing outside is touched
	Test          bool
}

// Of is an event with its typed payload.
type Of[T Fact] struct {
	Event
	Data T
}

// Upcast turns an older major of a fact into the type that declares it. Convert
// is pure: it sees the old payload and the configuration of the instance, and
// keeps the event's identity.
type Upcast struct {
	From    string     // "order.placed.v1"
	New     func() any // pointer to a zero value of the old type
	Convert func(old any, in Instance) (Fact, error)
}

// Upcasting is implemented by fact types that can be made from older majors.
type Upcasting interface {
	Fact
	Upcasts() []Upcast
}
