// Package schemas holds the contracts of the harbour.
package schemas

import "embed"

// Files are the contracts; shared records are Spine's.
//
//go:embed */*.avsc
var Files embed.FS
