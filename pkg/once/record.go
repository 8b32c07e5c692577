package once

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// text makes any text one that both databases can hold.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
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
