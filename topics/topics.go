// Package topics declares where the facts live: one file per topic, named after
// it. What the fields mean is in the documentation of pkg/topic. The topics
// raw.<system> and dlq.<group> have no file: they follow from the fleet.
package topics

import "embed"

// Files are the declared topics, <name>.yaml.
//
//go:embed *.yaml
var Files embed.FS
