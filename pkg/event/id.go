package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// NewID makes the deterministic id of a fact that happened: a UUIDv8 (RFC 9562)
// whose first 48 bits are the milliseconds of idTime and whose other bits are
// taken from SHA-256 over "source|name|entity|discriminator". The same fact
// reported by webhook, poll or backfill, in every version, has the same id
// (promise: once), and ids are ordered in time, which keeps an index of them
// cheap.
//
// source is "<system>/<instance>" or "spine/<group>"; name is noun.verb without
// version; discriminator is empty for facts that happen at most once. A "|" or "\"
// in entity is written with a "\" before it, so that the parts can't run into each
// other.
func NewID(idTime time.Time, source, name, entity, discriminator string) string {
	sum := sha256.Sum256([]byte(source + "|" + name + "|" + escaped(entity) + "|" + discriminator))
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(idTime.UnixMilli())<<16)
	copy(id[6:], sum[:10])
	id[6] = id[6]&0x0f | 0x80 // version 8
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return formatUUID(id)
}

func escaped(entity string) string {
	if !strings.ContainsAny(entity, `|\`) {
		return entity
	}
	return strings.NewReplacer(`\`, `\\`, `|`, `\|`).Replace(entity)
}

func formatUUID(id [16]byte) string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}
