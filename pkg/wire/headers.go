package wire

import (
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The headers of a record: CloudEvents 1.0 in binary mode, the W3C trace context, and
// Spine's own.
const (
	HeaderSpecVersion = "ce_specversion"
	HeaderID          = "ce_id"
	HeaderSource      = "ce_source"
	HeaderType        = "ce_type"
	HeaderTime        = "ce_time"    // RFC 3339, UTC, microseconds
	HeaderSubject     = "ce_subject" // <noun>/<entity>
	HeaderCorrelation = "ce_correlationid"
	HeaderCausation   = "ce_causationid"
	HeaderSequence    = "ce_sequence"
	HeaderContentType = "content-type"
	HeaderTraceparent = "traceparent"
	HeaderRequest     = "spine_request" // request id of the caller that began it
	HeaderOrigin      = "spine_origin"
	HeaderRetold      = "spine_retold" // facts found when deliveries were translated again: the time; they come out of order
	HeaderKind        = "spine_kind"   // deliveries: the vendor's word
	headerHTTP        = "spine_http_"  // deliveries: a kept header of the request
)

const (
	specVersion = "1.0"
	contentType = "application/avro"
	timeForm    = "2006-01-02T15:04:05.000000Z"
	maxHeader   = 4096 // bytes of one attribute
)

// EncodeAttribute writes the value of a CloudEvents attribute as a header: printable
// ASCII stands for itself; space, double quote, percent and all else are
// percent-encoded as UTF-8 (CloudEvents HTTP binding 1.0.2, §3.1.3.2). Most values,
// ids and times among them, look the same either way.
func EncodeAttribute(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && !escaped(s[i])
	}
	if plain {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; escaped(c) {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func escaped(c byte) bool { return c <= ' ' || c == '"' || c == '%' || c >= 0x7f }

// DecodeAttribute reads what EncodeAttribute writes. Plain UTF-8, as other producers
// write it, is read as it stands. What is not UTF-8 after decoding is an error.
func DecodeAttribute(header []byte) (string, error) {
	if len(header) > maxHeader {
		return "", bad(BadHeaders, "value of %d bytes, want at most %d", len(header), maxHeader)
	}
	value := string(header)
	if strings.IndexByte(value, '%') >= 0 {
		decoded := make([]byte, 0, len(header))
		for i := 0; i < len(header); i++ {
			c := header[i]
			if c == '%' {
				if i+2 >= len(header) || nibble(header[i+1]) < 0 || nibble(header[i+2]) < 0 {
					return "", bad(BadHeaders, "value %.80q: want two hex digits after %%", header)
				}
				c = byte(nibble(header[i+1])<<4 | nibble(header[i+2]))
				i += 2
			}
			decoded = append(decoded, c)
		}
		value = string(decoded)
	}
	if !utf8.ValidString(value) {
		return "", bad(BadHeaders, "value %.80q is not UTF-8", header)
	}
	return value, nil
}

func nibble(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// header is the value of a header, nil where it is missing.
func header(rec *kgo.Record, key string) []byte {
	for i := range rec.Headers {
		if rec.Headers[i].Key == key {
			return rec.Headers[i].Value
		}
	}
	return nil
}

func addHeader(rec *kgo.Record, key, value string) {
	if value != "" {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
}

// Trace is what travels with a record beside its event: the request that began it and
// the trace context.
type Trace struct {
	Request     string // caller's request id
	Traceparent string // W3C trace context
}

// TraceOf reads a record's trace. What is missing is empty.
func TraceOf(rec *kgo.Record) Trace {
	return Trace{Request: string(header(rec, HeaderRequest)), Traceparent: string(header(rec, HeaderTraceparent))}
}

// AddTo writes the trace into a record that has none.
func (t Trace) AddTo(rec *kgo.Record) {
	addHeader(rec, HeaderTraceparent, t.Traceparent)
	addHeader(rec, HeaderRequest, t.Request)
}
