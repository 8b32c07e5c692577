// Package watch holds the commands that look at what runs, beside it and without
// disturbing it: the stream and the books.
package watch

import (
	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
)

// commands are those of this package, on one command line.
type commands struct{ *cli.CLI }

// Commands are the commands of this package.
func Commands(c *cli.CLI) []*cobra.Command {
	a := commands{c}
	return []*cobra.Command{a.newTailCmd(), a.newAuditCmd()}
}
