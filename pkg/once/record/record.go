// Package record is the form in which the store keeps Kafka records: byte-identical.
package record

import (
	"encoding/binary"
	"errors"
	"time"
)

// Header is a Kafka record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is a Kafka record as the store keeps it: byte-identical.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	Key       []byte // nil = null key
	Value     []byte // nil = tombstone
	Headers   []Header
}

// Blob tells nil (null key, tombstone) from empty.
func Blob(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// Column scans a nullable blob: NULL is nil, an empty one is not.
type Column struct{ Bytes *[]byte }

// Scan implements sql.Scanner.
func (c Column) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*c.Bytes = nil
	case []byte:
		*c.Bytes = append([]byte{}, v...)
	case string:
		*c.Bytes = []byte(v)
	default:
		return errors.New("expected bytes")
	}
	return nil
}

// EncodeHeaders puts headers into one column: per header the key and the value, each after its length as a
// uvarint; a value's length is counted from 1, 0 = null.
func EncodeHeaders(headers []Header) []byte {
	b := []byte{}
	for _, h := range headers {
		b = binary.AppendUvarint(b, uint64(len(h.Key)))
		b = append(b, h.Key...)
		if h.Value == nil {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(h.Value))+1)
		b = append(b, h.Value...)
	}
	return b
}

var errHeaders = errors.New("reading stored headers: they are damaged")

// DecodeHeaders is the way back.
func DecodeHeaders(b []byte) ([]Header, error) {
	var headers []Header
	for len(b) > 0 {
		key, rest, ok := chunk(b, 0)
		if !ok {
			return nil, errHeaders
		}
		value, rest, ok := chunk(rest, 1)
		if !ok {
			return nil, errHeaders
		}
		headers = append(headers, Header{Key: string(key), Value: value})
		b = rest
	}
	return headers, nil
}

// chunk reads a length and as many bytes less base; nil if the length is below base.
func chunk(b []byte, base uint64) (data, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 {
		return nil, nil, false
	}
	b = b[used:]
	if n < base {
		return nil, b, true
	}
	n -= base
	if n > uint64(len(b)) {
		return nil, nil, false
	}
	return append([]byte{}, b[:n]...), b[n:], true
}

// Micros is how a time stands in a column, 0 = no time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the way back, but for a record's own time, which may be 1970 and is kept as
// time.UnixMicro has it.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
