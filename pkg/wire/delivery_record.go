package wire

import (
	"net/http"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/event"
)

// EncodeDelivery makes the record of a delivery for raw.<system>: the value is the
// body as it came, all else is in key and headers. Times are exact in microseconds.
func EncodeDelivery(d Delivery) *kgo.Record {
	system, _, _ := strings.Cut(d.Source, "/")
	e := event.Event{
		ID: d.ID, Type: DeliveryType, Source: d.Source, Entity: d.ID, Key: d.Key, Origin: d.Origin, OccurredAt: d.ReceivedAt,
	}
	media := d.Header.Get("Content-Type")
	if media == "" {
		media = "application/octet-stream"
	}
	rec := &kgo.Record{Topic: "raw." + system, Key: []byte(d.Key), Value: d.Body, Headers: headersOf(e, "delivery", media)}
	addHeader(rec, HeaderKind, d.Kind)
	names := make([]string, 0, len(d.Header))
	for name := range d.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range d.Header[name] {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: headerHTTP + strings.ToLower(name), Value: []byte(value)})
		}
	}
	Trace{Request: d.Request, Traceparent: d.Traceparent}.AddTo(rec)
	return rec
}

// DecodeDelivery reads a record of raw.<system>. One whose headers are not those of a
// delivery is a BadRecordError; the body is never looked at.
func DecodeDelivery(rec *kgo.Record) (Delivery, error) {
	e, err := Head(rec)
	if err != nil {
		return Delivery{}, err
	}
	if e.Type != DeliveryType {
		return Delivery{}, bad(BadType, "%s is %s: want %s", HeaderType, e.Type, DeliveryType)
	}
	trace := TraceOf(rec)
	d := Delivery{
		ID: e.ID, Source: e.Source, Kind: string(header(rec, HeaderKind)), Key: e.Key, Origin: e.Origin, Header: http.Header{},
		Body: rec.Value, ReceivedAt: e.OccurredAt, Request: trace.Request, Traceparent: trace.Traceparent, Offset: rec.Offset,
	}
	for _, h := range rec.Headers {
		if name, found := strings.CutPrefix(h.Key, headerHTTP); found {
			d.Header.Add(name, string(h.Value))
		}
	}
	return d, nil
}
