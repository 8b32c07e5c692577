package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// side is one run of a subject or of a reference.
type side func(context.Context, *parts) (spent, error)

// prepare sets up what the runs of a figure share, and answers what ends it.
type prepare func(context.Context, *parts) (func() error, error)

// figure is one row of the table.
type figure struct {
	name        string
	most, least float64 // to be reached; one of the two
	unit        string  // of what is compared
	of          func(spent) float64
	prepare     prepare
	subject     side
	reference   side
}

func (f figure) target() (text string, value float64) {
	if f.most > 0 {
		return fmt.Sprintf("≤ %.2f", f.most), f.most
	}
	return fmt.Sprintf("≥ %.2f", f.least), f.least
}

func (f figure) reached(ratio float64) bool {
	if f.most > 0 {
		return ratio <= f.most
	}
	return ratio >= f.least
}

// report measures and prints the figures, one row as soon as it is known. One that
// fails keeps no other from being measured.
func report(ctx context.Context, o options, p *parts, all []figure) error {
	fmt.Printf("%s, %d processors, %s %s/%s, load %s at the beginning, %s: %d events, %d rounds%s\n\n", cpuModel(), runtime.NumCPU(),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, loadAverage(), time.Now().UTC().Format("2006-01-02 15:04 MST"), o.events, o.pairs, o.kind())
	fmt.Println("| figure | to reach | median | from – to | control | subject, reference | reached |")
	fmt.Println("|---|---|---|---|---|---|---|")
	var failed []error
	for _, f := range all {
		if ctx.Err() != nil || !o.only.MatchString(f.name) {
			continue
		}
		if err := f.row(ctx, o, p); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", f.name, err))
			fmt.Printf("| %s | | | | | | not measured |\n", f.name)
		}
	}
	return errors.Join(append(failed, ctx.Err())...)
}

// row measures subject, reference and the reference once more, which is the control:
// what those two differ by is noise.
func (f figure) row(ctx context.Context, o options, p *parts) error {
	if f.prepare != nil {
		end, err := f.prepare(ctx, p)
		if err != nil {
			return err
		}
		defer func() { _ = end() }() // the process ends soon anyway
	}
	var values [3][]float64
	for round := range o.pairs + 1 {
		var of [3]float64
		for i := range 3 {
			which := (round + i) % 3 // none has always the same one before it
			run := f.reference
			if which == 0 {
				run = f.subject
			}
			runtime.GC()
			var took spent
			var err error
			pprof.Do(ctx, pprof.Labels("side", [3]string{"subject", "reference", "control"}[which]), func(ctx context.Context) { took, err = run(ctx, p) })
			if err != nil {
				return fmt.Errorf("%s: %w", [3]string{"subject", "reference", "control"}[which], err)
			}
			of[which] = f.of(took)
		}
		if round == 0 {
			continue // caches, files and pools are cold
		}
		for i, v := range of {
			values[i] = append(values[i], v)
		}
	}
	r, control := ratios(values[0], values[1]), ratios(values[2], values[1])
	target, _ := f.target()
	fmt.Printf("| %s | %s | %.2f | %.2f – %.2f | %.2f ± %.2f | %s, %s %s | %s |\n", f.name, target, median(r), slices.Min(r), slices.Max(r),
		median(control), spread(control), short(median(values[0])), short(median(values[1])), f.unit, f.verdict(r, control))
	return nil
}

// most that the median of a control may be away from 1.
const trusted = 0.03

// verdict says whether the target is reached. It is refused where the control says
// that the measurement can't tell.
func (f figure) verdict(r, control []float64) string {
	ratio := median(r)
	_, target := f.target()
	switch {
	case len(r) < 3:
		return "not told: too few rounds"
	case math.Abs(median(control)-1) > trusted:
		return "not told: the control is off by more than 3 %"
	case math.Abs(ratio/target-1) < spread(control):
		return "not told: too near, by the control"
	case f.reached(ratio):
		return "yes"
	}
	return "no"
}

func ratios(a, b []float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = a[i] / b[i]
	}
	return all
}

// spread is half of what lies between the least and the greatest.
func spread(values []float64) float64 { return (slices.Max(values) - slices.Min(values)) / 2 }

func short(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	_, rest, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	_, model, _ := strings.Cut(line, ":")
	return strings.TrimSpace(model)
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
