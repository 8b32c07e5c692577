package fault

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
)

// What in a reason differs from record to record and does not tell faults apart.
var (
	quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'`)
	uuids  = regexp.MustCompile(`(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`)
	hexes  = regexp.MustCompile(`(?i)\b[0-9a-f]*[0-9][0-9a-f]*\b`)
	digits = regexp.MustCompile(`[0-9]+`)
)

// Normalised is a reason without what differs from record to record.
func Normalised(reason string) string {
	reason = quoted.ReplaceAllString(reason, `"…"`)
	reason = uuids.ReplaceAllString(reason, "#")
	reason = hexes.ReplaceAllString(reason, "#")
	return digits.ReplaceAllString(reason, "#")
}

// Fingerprint tells faults apart: the same for records that died of the same.
func Fingerprint(class, reason string) string {
	sum := sha256.Sum256([]byte(class + "\x00" + Normalised(reason)))
	return hex.EncodeToString(sum[:6])
}
