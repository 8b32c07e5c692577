package main

import (
	"strings"
	"testing"
)

// A verdict is told only where the control agrees with itself.
func TestVerdict(t *testing.T) {
	t.Parallel()
	quiet := []float64{0.99, 1, 1.01}
	for _, c := range []struct {
		name       string
		f          figure
		r, control []float64
		want       string
	}{
		{"reached", figure{most: 1.10}, []float64{1.04, 1.05, 1.06}, quiet, "yes"},
		{"missed", figure{most: 1.10}, []float64{1.24, 1.25, 1.26}, quiet, "no"},
		{"reached from above", figure{least: 0.7}, []float64{0.84, 0.85, 0.86}, quiet, "yes"},
		{"missed from below", figure{least: 0.7}, []float64{0.54, 0.55, 0.56}, quiet, "no"},
		{"the control is off", figure{most: 1.10}, []float64{1.04, 1.05, 1.06}, []float64{1.03, 1.04, 1.05}, "not told: the control is off"},
		{"the control is off below", figure{most: 1.10}, []float64{1.04, 1.05, 1.06}, []float64{0.95, 0.96, 0.97}, "not told: the control is off"},
		{"nearer than the control", figure{most: 1.10}, []float64{1.04, 1.05, 1.06}, []float64{0.9, 1, 1.1}, "not told: too near"},
		{"missed, nearer than the control", figure{least: 0.7}, []float64{0.64, 0.65, 0.66}, []float64{0.9, 1, 1.1}, "not told: too near"},
		{"too few rounds", figure{most: 1.10}, []float64{1, 1}, []float64{1, 1}, "not told: too few"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.f.verdict(c.r, c.control); !strings.HasPrefix(got, c.want) {
				t.Errorf("verdict is %q, want %q", got, c.want)
			}
		})
	}
}

// What is missing at the sink, comes twice or was never sent is noticed.
func TestSink(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		numbers []int64
		fails   bool
	}{
		{"all", []int64{2, 0, 1}, false},
		{"again", []int64{0, 1, 1, 2}, true},
		{"missing", []int64{0, 2}, true},
		{"again instead of another", []int64{0, 1, 1}, true},
		{"strange", []int64{0, 1, 2, 3}, true},
		{"unreadable", []int64{0, 1, 2, -1}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSink(3)
			for _, n := range c.numbers {
				s.begin()
				s.take(n)
			}
			if _, err := s.end(); (err != nil) != c.fails {
				t.Errorf("the end is %v, want an error: %v", err, c.fails)
			}
		})
	}
}

// Each partition has as many keys as the others, where that is asked for.
func TestLoad_even(t *testing.T) {
	t.Parallel()
	key := load{keys: 1000, partitions: 6, even: true}.key()
	keys := map[int]bool{}
	for i := range 1000 {
		keys[key(i)] = true
	}
	if len(keys) != 1000 || key(0) != key(1000) {
		t.Errorf("%d keys, the 1,000th record has key %d, want 1,000 in turn", len(keys), key(1000))
	}
}
