// Package again holds the command by which people have done again what Kafka still
// holds: facts by a group, or deliveries by an adapter that was fixed.
package again

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/retell"
)

// commands are those of this package, on one command line.
type commands struct{ *cli.CLI }

// Commands are the commands of this package.
func Commands(c *cli.CLI) []*cobra.Command {
	a := commands{c}
	return []*cobra.Command{a.newReplayCmd()}
}

func (a commands) newReplayCmd() *cobra.Command {
	var since, until string
	var system retell.Options
	cmd := &cobra.Command{
		Use: "replay", Short: "Translate kept deliveries again after an adapter was fixed; previews unless --execute", Args: cobra.NoArgs,
		Long: `With --system, translate the kept deliveries of a source system again, after its adapter was fixed and deployed.
The window is translated by this binary on a scratch store and compared, by event id, with what was published: new,
the same, changed. With --execute, the owners of the deliveries' partitions publish what is new, in order. Changed
content under an old id is shown field by field and refused (exit 4) unless --accept-changed names it.`,
		Example: `  spine replay --system shopify --since 48h
  spine replay --system shopify --since 2026-03-14 --facts refund.issued.v1 --execute --rate 200`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			now := time.Now()
			if system.Since, err = cli.Time("since", since, now); err != nil {
				return err
			}
			if system.Until, err = cli.Time("until", until, now); err != nil {
				return err
			}
			return retell.Run(cmd.Context(), a.CLI, system)
		},
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "from then on: 2h, 2026-03-14 or RFC 3339")
	f.StringVar(&until, "until", "", "up to then (default now)")
	f.StringSliceVar(&system.Facts, "facts", nil, "these fact types only")
	f.BoolVar(&system.Execute, "execute", false, "do it")
	f.Float64Var(&system.Rate, "rate", 0, "that many a second (default as fast as it goes)")
	system.Flags(cmd)
	return cmd
}
