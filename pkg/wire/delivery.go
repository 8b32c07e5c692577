package wire

import (
	"net/http"
	"time"

	"github.com/eventspine/spine/pkg/event"
)

// DeliveryType is the ce_type of the records of raw.<system>.
const DeliveryType = "delivery.received.v1"

// Delivery is what a source handed us, as it stands in raw.<system>: the value of
// the record is the body, byte for byte, and all else is in the headers, so that a
// dead letter of it is the vendor's own bytes.
type Delivery struct {
	ID          string // UUIDv7, ce_id
	Source      string // "shopify/uk", ce_source
	Kind        string // the vendor's word, header spine_kind
	Key         string // record key
	Origin      event.Origin
	Header      http.Header // the kept ones, headers spine_http_<name>
	Body        []byte
	ReceivedAt  time.Time // ce_time
	Request     string    // the caller's request id, header spine_request
	Traceparent string
	Offset      int64 // of the record in its partition of raw.<system>, when read
}

// EventType is DeliveryType: a delivery is read like any other event.
func (Delivery) EventType() string { return DeliveryType }
