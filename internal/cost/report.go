package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// figure is one row of the table.
type figure struct {
	name   string
	target string // what is to be reached, as it is shown
	most   float64
	least  float64 // one of the two
	unit   string  // of what is compared
	of     func(spent) float64
	// prepare sets up what subject and reference share, and answers what ends it.
	prepare            func(context.Context, *parts) (func() error, error)
	subject, reference func(context.Context, *parts) (spent, error)
}

func (f figure) reached(ratio float64) bool {
	if f.most > 0 {
		return ratio <= f.most
	}
	return ratio >= f.least
}

// report measures and prints the figures, one row as soon as it is known.
func report(ctx context.Context, o options, p *parts, all []figure) error {
	fmt.Printf("%s, %s %s/%s, GOMAXPROCS %d, load %s, %s\n\n", cpuModel(), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), loadAverage(), time.Now().UTC().Format("2006-01-02 15:04 MST"))
	fmt.Println("| figure | to reach | median | from – to | pairs | subject, reference | reached |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, f := range all {
		if !o.only.MatchString(f.name) {
			continue
		}
		if err := f.row(ctx, o, p); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

func (f figure) row(ctx context.Context, o options, p *parts) error {
	if f.prepare != nil {
		end, err := f.prepare(ctx, p)
		if err != nil {
			return err
		}
		defer func() { _ = end() }() // the process ends soon anyway
	}
	var ratios, subjects, references []float64
	for i := range o.pairs + 1 {
		runtime.GC()
		a, err := f.subject(ctx, p)
		if err != nil {
			return fmt.Errorf("subject: %w", err)
		}
		runtime.GC()
		b, err := f.reference(ctx, p)
		if err != nil {
			return fmt.Errorf("reference: %w", err)
		}
		if i == 0 {
			continue // caches, files and pools are cold
		}
		subjects, references = append(subjects, f.of(a)), append(references, f.of(b))
		ratios = append(ratios, f.of(a)/f.of(b))
	}
	ratio := median(ratios)
	verdict := "yes"
	switch {
	case f.most == 0 && f.least == 0:
		verdict = ""
	case !f.reached(ratio):
		verdict = "no"
	}
	fmt.Printf("| %s | %s | %.2f | %.2f – %.2f | %d | %s, %s %s | %s |\n", f.name, f.target, ratio, slices.Min(ratios), slices.Max(ratios),
		len(ratios), short(median(subjects)), short(median(references)), f.unit, verdict)
	return nil
}

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
