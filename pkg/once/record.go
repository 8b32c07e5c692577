package once

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
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
