package wire

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/event"
)

// attributes are the headers of an event, in the order of their names below.
type attributes [len(attributeNames)][]byte

// attributeNames are never written.
var attributeNames = [...]string{
	HeaderSpecVersion, HeaderID, HeaderSource, HeaderType, HeaderTime, HeaderSubject,
	HeaderCorrelation, HeaderCausation, HeaderSequence, HeaderOrigin,
}

const (
	atSpecVersion = iota
	atID
	atSource
	atType
	atTime
	atSubject
	atCorrelation
	atCausation
	atSequence
	atOrigin
)

// Head reads the envelope from key and headers alone. RecordedAt and Test stand in the
// payload (see Complete). A record whose headers are not those of an event is a
// BadRecordError; the event then has Type only if ce_type is usable.
func Head(rec *kgo.Record) (event.Event, error) {
	var a attributes
	twice := ""
	for i := range rec.Headers {
		for n, name := range attributeNames {
			if rec.Headers[i].Key == name {
				if a[n] != nil {
					twice = name
				}
				a[n] = rec.Headers[i].Value
				if a[n] == nil {
					a[n] = []byte{}
				}
			}
		}
	}
	typ := string(a[atType])
	noun, ok := nounOf(typ)
	switch {
	case a[atType] == nil:
		return event.Event{}, bad(BadHeaders, "%s is missing", HeaderType)
	case !ok || twice == HeaderType:
		return event.Event{}, bad(BadHeaders, "%s %.80q: want one fact name such as order.placed.v2", HeaderType, typ)
	}
	e := event.Event{Type: typ}
	if twice != "" {
		return e, bad(BadHeaders, "%s comes twice", twice)
	}
	return a.event(e, noun, rec.Key)
}

// event reads the attributes other than the type.
func (a *attributes) event(e event.Event, noun string, key []byte) (event.Event, error) {
	only := event.Event{Type: e.Type}
	if string(a[atSpecVersion]) != specVersion {
		return only, bad(BadHeaders, "%s %.20q: want %s", HeaderSpecVersion, a[atSpecVersion], specVersion)
	}
	subject := ""
	for _, f := range [...]struct {
		at       int
		to       *string
		required bool
	}{
		{atID, &e.ID, true},
		{atSource, &e.Source, true},
		{atSubject, &subject, true},
		{atCorrelation, &e.CorrelationID, false},
		{atCausation, &e.CausationID, false},
		{atSequence, &e.Sequence, false},
	} {
		value, err := DecodeAttribute(a[f.at])
		if err != nil {
			return only, bad(BadHeaders, "%s: %w", attributeNames[f.at], err)
		}
		if value == "" && f.required {
			return only, bad(BadHeaders, "%s is missing", attributeNames[f.at])
		}
		*f.to = value
	}
	if !validSource(e.Source) {
		return only, bad(BadHeaders, "%s %.80q: want <system>/<name>", HeaderSource, e.Source)
	}
	var found bool
	if subject, e.Entity, found = strings.Cut(subject, "/"); !found || subject != noun || e.Entity == "" {
		return only, bad(BadHeaders, "%s %.80q: want %s/<entity>", HeaderSubject, a[atSubject], noun)
	}
	at, err := parseTime(a[atTime])
	if err != nil {
		return only, err
	}
	if len(key) == 0 || !utf8.Valid(key) {
		return only, bad(BadHeaders, "key %.80q: want UTF-8", key)
	}
	e.OccurredAt, e.Key, e.Origin = at, string(key), originOf(a[atOrigin])
	return e, nil
}

// parseTime reads RFC 3339, exact in microseconds.
func parseTime(b []byte) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil || at.Nanosecond()%1000 != 0 {
		return time.Time{}, bad(BadHeaders, "%s %.40q: want RFC 3339 in microseconds", HeaderTime, b)
	}
	return at.UTC(), nil
}

// originOf is UNKNOWN for what this version does not know: a newer one may.
func originOf(b []byte) event.Origin {
	switch o := event.Origin(b); o {
	case event.OriginWebhook, event.OriginPoll, event.OriginCDC, event.OriginOutbox,
		event.OriginBackfill, event.OriginProcess, event.OriginManual:
		return o
	}
	return event.OriginUnknown
}

// nounOf is the noun of a fact name, and whether the name keeps the law of names. It
// is event.ParseType without its cost: it runs for every record that is read.
func nounOf(typ string) (string, bool) {
	noun, rest, _ := strings.Cut(typ, ".")
	verb, version, _ := strings.Cut(rest, ".")
	if !validWord(noun, false) || !validWord(verb, false) || len(version) < 2 || len(version) > 5 || version[0] != 'v' || version[1] == '0' {
		return "", false
	}
	for _, c := range []byte(version[1:]) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return noun, true
}

// validSource tells whether s is <system>/<name>.
func validSource(s string) bool {
	system, name, _ := strings.Cut(s, "/")
	return validWord(system, false) && validWord(name, true)
}

// validWord tells whether s is of lower-case letters, digits and hyphens and begins
// with a letter, or a digit where that is allowed.
func validWord(s string, digit bool) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', i > 0 && c == '-', (i > 0 || digit) && c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return s != ""
}

// Complete adds to an envelope what only the payload says.
func Complete(e *event.Event, m event.Meta) { e.RecordedAt, e.Test = m.RecordedAt, m.Test }

// headersOf writes the envelope into a record.
func headersOf(e event.Event, noun, contentType string) []kgo.RecordHeader {
	rec := kgo.Record{Headers: make([]kgo.RecordHeader, 0, 13)}
	for _, h := range [...]struct{ key, value string }{
		{HeaderSpecVersion, specVersion},
		{HeaderID, EncodeAttribute(e.ID)},
		{HeaderSource, EncodeAttribute(e.Source)},
		{HeaderType, e.Type},
		{HeaderTime, e.OccurredAt.UTC().Format(timeForm)},
		{HeaderSubject, EncodeAttribute(noun + "/" + e.Entity)},
		{HeaderContentType, contentType},
		{HeaderCorrelation, EncodeAttribute(e.CorrelationID)},
		{HeaderCausation, EncodeAttribute(e.CausationID)},
		{HeaderSequence, EncodeAttribute(e.Sequence)},
		{HeaderOrigin, string(e.Origin)},
	} {
		addHeader(&rec, h.key, h.value)
	}
	return rec.Headers
}
