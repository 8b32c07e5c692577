package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/app/filter"
	"github.com/eventspine/spine/pkg/app/show"
	"github.com/eventspine/spine/pkg/app/tap"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/topic"
)

// tailing is one tail at work.
type tailing struct {
	decoder show.Decoder
	w       io.Writer
	format  string // pretty, json or raw
	facts   []string
	key     string
	shown   int
	broken  int // records that could not be decoded
	where   *filter.Filter
	fail    context.CancelCauseFunc // ends the reading
}

func (a commands) newTailCmd() *cobra.Command {
	var follow, unmask, strict bool
	var n int
	var offset, key, format, where string
	cmd := &cobra.Command{
		Use:   "tail TOPIC|FACT...",
		Short: "Show decoded events; personal data is masked",
		Long: `Show decoded events of topics, or facts by name. Without --offset: the last 10 (-n) of all partitions.

--offset as in rpk: start, end, 17, +5 (after the first), -5 (before the end), ranges such as :end or 10:20,
times such as @-2h:@-1h, @2026-03-14, @2026-03-14T11:20:00Z.`,
		Example: `  spine tail order.placed.v2
  spine tail commerce.order.events -f --key shopify/uk:5001
  spine tail order.placed.v2 --offset @-2h:@-1h -o json
  spine tail order.placed.v2 --where 'data.currency == "GBP" && double(data.totals.grand_total) > 100'`,
		Args: cli.AtLeast(1, "the name of a topic or of a fact"),
		RunE: func(cmd *cobra.Command, words []string) error {
			t := &tailing{w: a.Stdout, format: format, key: key, decoder: show.Decoder{Unmask: unmask}}
			if !slices.Contains([]string{"pretty", "json", "raw"}, format) {
				return cli.Usage("--output %s: want pretty, json or raw", format)
			}
			o, err := a.tailOptions(t, words)
			if err != nil {
				return err
			}
			o.Follow = follow
			if where != "" {
				if t.where, err = filter.Compile(where, filter.Options{Unmask: unmask, Facts: filter.FactsOf(a.Fleet)}); err != nil {
					return err
				}
				o.Match = func(r *kgo.Record) bool { return t.match(r) && t.holds(cmd.Context(), r) }
			}
			err = t.run(cmd.Context(), o, n, offset)
			fmt.Fprint(a.Stderr, t.where.Report())
			if t.broken > 0 {
				records := "records"
				if t.broken == 1 {
					records = "record"
				}
				fmt.Fprintf(a.Stderr, "spine: %d %s could not be decoded\n", t.broken, records)
				if strict && err == nil {
					return &cli.ExitError{Code: cli.ExitFailure}
				}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	f.IntVarP(&n, "num", "n", 0, "that many events: the last ones, or the first ones from --offset (default 10; with -f none, with --offset all)")
	f.StringVar(&offset, "offset", "", "where to begin and end")
	f.StringVar(&key, "key", "", "events of this record key only")
	f.StringVar(&where, "where", "", filter.Usage)
	f.StringVarP(&format, "output", "o", "pretty", "output: pretty, json or raw (value bytes)")
	f.BoolVar(&unmask, "unmask", false, "show personal data")
	f.BoolVar(&strict, "strict", false, "exit 1 if a record could not be decoded")
	return cmd
}

// tailOptions finds the topics and the filter that the words mean.
func (a commands) tailOptions(t *tailing, words []string) (tap.Options, error) {
	l, err := a.Load(nil)
	if err != nil {
		return tap.Options{}, err
	}
	opts, err := cli.Client(l)
	if err != nil {
		return tap.Options{}, err
	}
	if t.decoder.Codec, err = cli.Codec(l); err != nil {
		return tap.Options{}, err
	}
	_, topics, err := a.Fleet.Contracts()
	if err != nil {
		return tap.Options{}, err
	}
	o := tap.Options{Client: opts, Match: t.match}
	whole := false
	for _, word := range words {
		name := word
		if _, err := event.ParseType(word); err == nil {
			target, ok := topics.Route(word)
			if !ok {
				return o, cli.Usage("fact %s lives in no topic; see spine schema list", word)
			}
			t.facts, name = append(t.facts, word), target.Topic
		} else {
			whole = true
			if !slices.ContainsFunc(topics.All(a.Fleet.Systems(), a.Fleet.GroupNames()), func(s topic.Spec) bool { return s.Name == word }) {
				fmt.Fprintf(a.Stderr, "spine: %s is no declared topic; trying all the same\n", word)
			}
		}
		if !slices.Contains(o.Topics, name) {
			o.Topics = append(o.Topics, name)
		}
	}
	if whole && len(t.facts) > 0 {
		return o, cli.Usage("name topics or facts, not both")
	}
	return o, nil
}

func (t *tailing) match(r *kgo.Record) bool {
	if t.key != "" && string(r.Key) != t.key {
		return false
	}
	if len(t.facts) == 0 {
		return true
	}
	i := slices.IndexFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == "ce_type" })
	return i >= 0 && slices.Contains(t.facts, string(r.Headers[i].Value))
}

// holds says whether --where holds for a record. A registry that is away ends the
// reading.
func (t *tailing) holds(ctx context.Context, r *kgo.Record) bool {
	s, err := show.Head(r)
	if t.where.Payload() && err == nil {
		if s, err = t.decoder.Decode(ctx, r); err != nil {
			t.fail(err)
			return false
		}
	}
	return t.where.Match(ctx, s, nil)
}

// run reads, until the end or until --where cannot go on.
func (t *tailing) run(ctx context.Context, o tap.Options, n int, offset string) error {
	ctx, t.fail = context.WithCancelCause(ctx)
	defer t.fail(nil)
	err := t.read(ctx, o, n, offset)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

func (t *tailing) read(ctx context.Context, o tap.Options, n int, offset string) error {
	each := func(r *kgo.Record) error { return t.show(ctx, r) }
	switch {
	case offset != "":
		window, err := tap.ParseWindow(offset, time.Now())
		if err != nil {
			return cli.Usage("%w", err)
		}
		if o.Window = window; o.Follow && window.Bounded() {
			return cli.Usage("--offset %s ends, and --follow does not: leave one of them out", offset)
		}
		return tap.Read(ctx, o, func(r *kgo.Record) error {
			if err := each(r); err != nil {
				return err
			}
			if t.shown == n {
				return tap.ErrEnough
			}
			return nil
		})
	case o.Follow:
		return tap.Follow(ctx, o, max(n, 0), each)
	default:
		if n <= 0 {
			n = 10
		}
		return tap.Tail(ctx, o, n, each)
	}
}

func (t *tailing) show(ctx context.Context, r *kgo.Record) error {
	t.shown++
	if t.format == "raw" {
		_, err := t.w.Write(append(slices.Clone(r.Value), '\n'))
		return err
	}
	s, err := t.decoder.Decode(ctx, r)
	if err != nil {
		return err
	}
	if s.Error != nil {
		t.broken++
	}
	if t.format == "json" {
		return cli.WriteJSON(t.w, s)
	}
	return s.Pretty(t.w)
}
