// Package schemas holds the contracts of the facts: one Avro file per fact
// version, schemas/<noun>/<verb>.v<N>.avsc, its current revision. Records that
// more than one fact uses live once in schemas/common and are inlined when the
// set is loaded, so that every registered schema stands alone. Frozen revisions
// are in schemas/released. The Go types are generated beside the files.
//
// What the properties of a file mean, and the law of names, is in the
// documentation of pkg/schema.
package schemas

import "embed"

// Files are the current revisions, <noun>/<verb>.v<N>.avsc, the shared records,
// common/<record>.avsc, and the frozen revisions below released.
//
//go:embed */*.avsc released
var Files embed.FS
