// Package producer is what the author of an adapter writes against. An Adapter is
// a value: what a source system can tell us, how its deliveries are verified, and
// what they mean. It has no clock, no network, no configuration and no Kafka: the
// engine hands it bytes and gets facts back.
//
// # Writing an adapter
//
// An adapter is one folder and one line in the list of systems. See the example of the
// package.
//
//   - A Webhook says how a request is verified, over the bytes as they came; what
//     happened, by a Look at a header or a field; and which headers are kept. Its Key is
//     the object that the delivery is about, so that all of one object stay in order.
//   - An Object says what deliveries mean. A Snapshot carries the whole state of an
//     object: facts come from what changed since the one before, whatever the vendor
//     calls it. A Report is one thing that happened. One kind of delivery emits each
//     fact, so that none is told twice under two ids.
//   - The function that makes facts is pure. The same delivery gives the same facts
//     with the same ids, however often and however late it comes: times and entities
//     are the vendor's, and what can happen again has a Discriminator.
//   - What is required of a body is tagged spine:"required"; what can't be read is an
//     error that names the field, and the delivery waits as a dead letter, unchanged.
//
// producertest.Run tries all of that on an adapter.
package producer

import (
	"iter"
	"net/http"
	"time"

	"github.com/eventspine/spine/pkg/event"
)

// Adapter is all that one source system can tell us.
type Adapter struct {
	System   string        // folder name: "shopify"
	IDTime   time.Duration // precision of the coarsest time by which a fact is known: floors id times
	Webhooks []Webhook     // at most one for now: POST /webhooks/<system>/<instance>
	Objects  []Object      // what its deliveries are about
	// APIVersion looks for the version of the vendor's interface, in the kept headers
	// or the body; nil = the vendor does not say.
	APIVersion Look
	Day        Day // a believable day of deliveries for demo and tests; the zero value = none
}

// Webhook is one way in over HTTP.
type Webhook struct {
	Verify Verify
	Kind   Look     // what happened, in the vendor's words: orders/create
	Keep   []string // request headers that are kept with the delivery; credentials never are
	Answer Answer   // the zero value is 200 with the standard body
	// Key is the entity that the delivery is about, by a bounded look at a header or
	// a JSON field: the native id of the order, "" = none (a batch, an unreadable
	// body: the instance itself becomes the record key).
	Key func(kind string, h http.Header, body []byte) string
	// Split turns a batch into one delivery per object; nil = a delivery is one object.
	Split func(Delivery) ([]Delivery, error)
	// Media are the accepted media types; empty = application/json.
	Media []string
}

// Look reads one word from the request, such as a header.
type Look func(h http.Header, body []byte) string

// Answer is what a vendor wants to hear, where it is not 200 and the standard body.
type Answer struct {
	Status int
	Body   string // with Status 0 and an empty Body: the standard answer
}

// Request is what a Verify sees: the bytes as they came.
type Request struct {
	Instance event.Instance
	Secrets  [][]byte // the current one, then the previous one while a rotation lasts
	Header   http.Header
	Body     []byte
	Now      time.Time
}

// Verify checks that a request comes from the source. It returns ErrSignature or an
// error that wraps it; the message never says which byte or which secret.
type Verify func(Request) error

// Delivery is what a source handed us about one aggregate, bytes unchanged.
type Delivery struct {
	ID         string // UUIDv7, given at intake
	Kind       string
	Key        string // record key: <system>/<instance>:<native id>, or the instance
	Origin     event.Origin
	Instance   event.Instance
	Header     http.Header // the kept ones
	Body       []byte
	ReceivedAt time.Time
}

// Day is a believable day of a system, for demo and tests.
type Day struct {
	Instances []event.Instance // the installations that a demo sets up, with all settings
	SKUs      []string         // the articles whose stock their orders reserve
	// Calls yields what the source would send for about that many orders, over the
	// given shops, in the order of time, and the same for the same seed. It is made
	// while it is read: a day of many orders is never in memory at once.
	Calls func(seed uint64, orders int, shops []Shop) iter.Seq[Call]
	// HowToSign is a shell command that sends one signed delivery. {url}, {secret} and
	// {domain} stand for those of an instance, {file} for a file that holds the body of
	// the first call of Calls; "" = none is shown.
	HowToSign string
}

// Shop is an instance that a Day plays, with the secret to sign for it.
type Shop struct {
	Instance event.Instance
	Secret   []byte
}

// Call is one HTTP request of a Day.
type Call struct {
	After    time.Duration // offset from the start of the day; calls come in this order
	Instance string        // "shopify/uk"
	Header   http.Header
	Body     []byte
	Expect   int    // the HTTP status that a correct intake answers
	Note     string // why this call is special: "duplicate delivery", "bad signature"; "" = plain
}
