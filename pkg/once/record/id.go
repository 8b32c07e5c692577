package record

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// maxID is the longest id kept as it is: a btree entry of PostgreSQL ends near
// 2,700 bytes.
const maxID = 512

// ID makes any text from outside one that both databases can hold as a key. What is
// too long, not UTF-8, or has a NUL is replaced by its hash.
func ID(s string) string {
	if len(s) <= maxID && utf8.ValidString(s) && !strings.ContainsRune(s, 0) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}
