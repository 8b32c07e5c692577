// Package stage holds the commands that run Spine: the roles against the configured
// parts, everything on one machine, and the demo.
package stage

import (
	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
)

// commands are those of this package, on one command line.
type commands struct{ *cli.CLI }

// Commands are the commands of this package.
func Commands(c *cli.CLI) []*cobra.Command {
	a := commands{c}
	return []*cobra.Command{a.newDemoCmd(), a.newDevCmd(), a.newRunCmd()}
}
