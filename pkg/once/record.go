package once

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// maxID is the longest id kept as it is: a btree entry of PostgreSQL ends near
// 2,700 bytes.
const maxID = 512

// id makes any text from outside one that both databases can hold as a key. What is
// too long, not UTF-8, or has a NUL is replaced by its hash.
func id(s string) string {
	if len(s) <= maxID && utf8.ValidString(s) && !strings.ContainsRune(s, 0) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// text makes any text one that both databases can hold.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// blob tells nil (null key, tombstone) from empty.
func blob(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// bytesColumn scans a nullable blob: NULL is nil, an empty one is not.
type bytesColumn struct{ b *[]byte }

// Scan implements sql.Scanner.
func (c bytesColumn) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*c.b = nil
	case []byte:
		*c.b = append([]byte{}, v...)
	case string:
		*c.b = []byte(v)
	default:
		return errors.New("expected bytes")
	}
	return nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros is the inverse of micros, but for a record's own time, which may be
// 1970 and is kept as time.UnixMicro has it.
func fromMicros(n int64) time.Time {
	if n == 0 || n == behind {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// keyHash finds a key in an index: Kafka's keys may be longer than an index entry.
func keyHash(key []byte) int64 {
	sum := sha256.Sum256(key)
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// size is what a record takes of the waiting room.
func size(r Record) int64 {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// encodeHeaders: per header the key and the value, each after its length as a
// uvarint; a value's length is counted from 1, 0 = null.
func encodeHeaders(headers []Header) []byte {
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

func decodeHeaders(b []byte) ([]Header, error) {
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
