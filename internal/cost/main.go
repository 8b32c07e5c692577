// Command cost measures what the runtime costs, as ratios within one run: CPU time
// per event against a loop on the bare Kafka client that decodes the same bytes, or
// against the runtime itself without what is in question.
//
//	go run ./internal/cost            all figures, about half an hour on a quiet machine
//	go run ./internal/cost -quick     all figures with short runs, some minutes
//	go run ./internal/cost -quick -only runtime
//
// docs/performance.md defines each figure and the method. The program prints a table
// in Markdown and writes nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
)

// options are the sizes of a run.
type options struct {
	events   int // per measurement
	pairs    int // rounds of subject, reference and control, after one that is discarded
	seconds  int // of figures at a constant rate
	keys     int // at most
	quick    bool
	history  int // rows of the inbox that is not empty
	batch    int // records that may share a transaction; 0 = the engine's default
	only     *regexp.Regexp
	postgres string
	profile  string
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == partsCommand {
		exit(serveParts(context.Background()))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(measure(ctx))
}

// kind tells a short run from the real one.
func (o options) kind() string {
	if o.quick {
		return ", short runs"
	}
	return ""
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func measure(ctx context.Context) error {
	var o options
	var only string
	flag.IntVar(&o.events, "n", 500_000, "events per measurement")
	flag.IntVar(&o.pairs, "pairs", 8, "rounds of subject, reference and control that count")
	flag.IntVar(&o.history, "history", 3_000_000, "rows of inbox history")
	flag.IntVar(&o.batch, "batch", 0, "records that may share a transaction; 0 = the default")
	flag.StringVar(&only, "only", "", "figures whose name matches this pattern")
	flag.StringVar(&o.postgres, "postgres", os.Getenv("SPINE_TEST_POSTGRES"), "URL of a PostgreSQL to measure on; empty = left out")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of the measurements to this file")
	flag.BoolVar(&o.quick, "quick", false, "short runs: -n 40000 -pairs 3 -history 300000")
	flag.Parse()
	if o.quick {
		o.events, o.pairs, o.history = 40_000, 3, 300_000
	}
	o.seconds, o.keys = max(o.events/100_000, 1), 2*o.events
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return err
	}
	if o.events < 1000 || o.pairs < 1 {
		return errors.New("too little to measure: -n from 1000, -pairs from 1")
	}
	p, err := startParts(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return report(ctx, o, p, figures(o))
}
