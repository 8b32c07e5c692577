// Package operate holds the commands by which people act on what waits and what is
// dead, beside a running process: they read the store, and leave a request for the
// owner of the partition.
package operate

import (
	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
)

// commands are those of this package, on one command line.
type commands struct{ *cli.CLI }

// Commands are the commands of this package.
func Commands(c *cli.CLI) []*cobra.Command {
	a := commands{c}
	return []*cobra.Command{a.newParkedCmd(), a.newDLQCmd()}
}
