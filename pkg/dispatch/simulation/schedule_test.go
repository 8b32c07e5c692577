//go:build synctests

package simulation_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// schedule is all that a seed decides.
type schedule struct {
	seed       uint64
	partitions int
	steps      []step
}

// step is what happens at a moment of virtual time.
type step struct {
	at   time.Duration
	verb string
	args []string
}

// String is a line of the schedule.
func (s step) String() string {
	return fmt.Sprintf("%9.3fs %s", s.at.Seconds(), strings.Join(append([]string{s.verb}, s.args...), " "))
}

// String is the schedule as parse reads it.
func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\npartitions %d\n", s.seed, s.partitions)
	for _, st := range s.steps {
		b.WriteString(st.String() + "\n")
	}
	return b.String()
}

func parse(text string) (s schedule, err error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "seed" && len(words) == 2:
			s.seed, err = strconv.ParseUint(words[1], 10, 64)
		case words[0] == "partitions" && len(words) == 2:
			s.partitions, err = strconv.Atoi(words[1])
		case len(words) > 1:
			var at time.Duration
			at, err = time.ParseDuration(words[0])
			s.steps = append(s.steps, step{at: at, verb: words[1], args: words[2:]})
		default:
			err = fmt.Errorf("what is %q?", lines.Text())
		}
		if err != nil {
			return s, err
		}
	}
	return s, lines.Err()
}

// span is how long a schedule lasts before the faults end.
const span = 20 * time.Second

// draw makes the schedule of a seed.
func draw(seed uint64) schedule {
	d := &drawer{Rand: rand.New(rand.NewPCG(seed, 1)), s: schedule{seed: seed}}
	d.s.partitions = 2 + d.IntN(3)
	members := []string{"a", "b", "c"}[:2+d.IntN(2)]
	for i, m := range members {
		d.add(time.Duration(i)*time.Duration(d.IntN(2))*time.Second, "start", m)
	}
	keys := 3 + d.IntN(5)
	for n := range 30 + d.IntN(40) {
		at := d.moment(span)
		key := fmt.Sprintf("k%d", d.IntN(keys))
		label := fmt.Sprintf("%d.%s", n, d.behaviour())
		d.add(at, "send", key, label)
		if d.IntN(8) == 0 {
			d.add(at+d.moment(5*time.Second), "again", key, label)
		}
	}
	for n := range d.IntN(3) {
		d.add(d.moment(span), d.one("poison", "headless"), fmt.Sprintf("k%d", d.IntN(keys)), fmt.Sprintf("bad%d", n))
	}
	for range 3 + d.IntN(8) {
		d.fault(d.moment(span), members)
	}
	slices.SortStableFunc(d.s.steps, func(a, b step) int { return int(a.at - b.at) })
	return d.s
}

type drawer struct {
	*rand.Rand
	s schedule
}

func (d *drawer) add(at time.Duration, verb string, args ...string) {
	d.s.steps = append(d.s.steps, step{at.Round(time.Millisecond), verb, args})
}

func (d *drawer) moment(below time.Duration) time.Duration {
	return time.Duration(d.Int64N(int64(below))).Round(time.Millisecond)
}

func (d *drawer) one(of ...string) string { return of[d.IntN(len(of))] }

// behaviour is what a handler does with an event, by letters; see handle.
func (d *drawer) behaviour() string {
	var b string
	for _, letter := range []string{"p", "e", "s"} {
		if d.IntN(3) == 0 {
			b += letter
		}
	}
	if d.IntN(4) == 0 {
		b += d.one("t", "d", "f", "l", "u", "x", "g", "k", "w")
	}
	return b
}

func (d *drawer) fault(at time.Duration, members []string) {
	m := members[d.IntN(len(members))]
	away := fmt.Sprint((300*time.Millisecond + d.moment(4*time.Second)).Round(time.Millisecond))
	switch d.IntN(14) {
	case 0, 1:
		d.add(at, "crash", m)
		d.add(at+d.moment(3*time.Second), "start", m)
	case 2:
		d.add(at, "leave", m)
		d.add(at+d.moment(3*time.Second), "start", m)
	case 3, 4:
		d.add(at, "zombie", m, away)
	case 5:
		d.add(at, "cut", m, away)
	case 6:
		d.add(at, "database-away", away)
	case 7:
		d.add(at, "dependency-away", away)
	case 8:
		d.add(at, "refuse", d.one("commit-illegal-generation", "commit-rebalance", "heartbeat-rebalance", "heartbeat-unknown",
			"heartbeat-not-coordinator", "fetch-not-leader", "produce-not-leader", "produce-timed-out", "produce-after-append", "commit-loading"),
			strconv.Itoa(1+d.IntN(4)))
	case 9:
		d.add(at, "late-answers", away, strconv.Itoa(1+d.IntN(4)))
	case 10:
		d.add(at, d.one("move-leaders", "move-coordinators"))
	case 11:
		d.add(at, "break-transaction")
	case 12:
		d.add(at, d.one("redrive", "retry"))
	case 13:
		d.add(at, "backup")
		d.add(at+d.moment(5*time.Second), "restore")
	}
}
