package operate

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/filter"
	"github.com/eventspine/spine/pkg/app/show"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/once"
)

// where is a condition on rows that wait or are dead.
type where struct {
	condition string
	unmask    bool
}

func (w *where) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.condition, "where", "", filter.Usage+", and class, fingerprint, reason, attempts, redriven")
	cmd.Flags().BoolVar(&w.unmask, "unmask", false, "let --where see personal data")
}

// matching are the rows for which the condition holds. The registry is asked only where
// it looks at the payload.
func (r room) matching(ctx context.Context, rows []once.Row, w where) ([]once.Row, error) {
	if w.condition == "" {
		return rows, nil
	}
	f, err := filter.Compile(w.condition, filter.Options{Dead: true, Unmask: w.unmask, Facts: filter.FactsOf(r.Fleet)})
	if err != nil {
		return nil, err
	}
	l, err := r.Load(nil)
	if err != nil {
		return nil, err
	}
	codec, err := cli.Codec(l)
	if err != nil {
		return nil, err
	}
	decoder := show.Decoder{Codec: codec, Unmask: w.unmask}
	matching := []once.Row{}
	for _, row := range rows {
		rec := leaving.Kafka(row.Record)
		s, err := show.Head(rec)
		if f.Payload() && err == nil {
			if s, err = decoder.Decode(ctx, rec); err != nil {
				return nil, err
			}
		}
		dead := &filter.Dead{
			Class: row.Class, Fingerprint: fault.Fingerprint(row.Class, row.Reason), Reason: row.Reason, Attempts: row.Attempts, Redriven: row.Redriven,
		}
		if f.Match(ctx, s, dead) {
			matching = append(matching, row)
		}
	}
	fmt.Fprint(r.Stderr, f.Report())
	return matching, nil
}
