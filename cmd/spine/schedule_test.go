package main_test

import (
	"bufio"
	"cmp"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

// fault is one blow: what, to whom, when and for how long. Its text can be read back.
type fault struct {
	At   time.Duration // since the first
	Kind string
	On   string // process, "process/part" or part; "" = all processes
	For  time.Duration
}

// String is one line of a schedule.
func (f fault) String() string {
	return fmt.Sprintf("%s %s %s %s", f.At.Round(time.Millisecond), f.Kind, f.On, f.For.Round(time.Millisecond))
}

func parseFault(line string) (f fault, err error) {
	var at, long string
	if _, err = fmt.Sscan(line, &at, &f.Kind, &f.On, &long); err != nil {
		return f, fmt.Errorf("%q is no fault, such as \"1.5s kill translate-1 800ms\": %w", line, err)
	}
	if f.At, err = time.ParseDuration(at); err == nil {
		f.For, err = time.ParseDuration(long)
	}
	return f, err
}

// kindOfFault says how a kind of fault is drawn.
type kindOfFault struct {
	name     string
	weight   int
	on       []string
	from, to time.Duration
}

// kindsOfFault are all kinds. To rewind is to set a group back, so that all comes
// again; to roll is a deploy.
func kindsOfFault(members []string) []kindOfFault {
	var links, databases, brokers []string
	for _, m := range members {
		brokers = append(brokers, m+"/kafka1", m+"/kafka2", m+"/kafka3")
		links = append(links, m+"/registry")
		if !strings.HasPrefix(m, "intake") {
			databases = append(databases, m+"/postgres")
		}
	}
	links = append(append(links, brokers...), databases...)
	talks := append(slices.Clone(brokers), databases...)
	const s, ms = time.Second, time.Millisecond
	return []kindOfFault{
		{"kill", 26, members, 0, 2 * s},                                // SIGKILL, and started again after it
		{"freeze", 10, members, 300 * ms, 4 * s},                       // SIGSTOP, SIGCONT
		{"coma", 6, members, 11 * s, 15 * s},                           // frozen until membership is lost
		{"cut", 12, links, 300 * ms, 12 * s},                           // connections break, new ones are refused
		{"stall", 10, talks, 500 * ms, 12 * s},                         // connections stay, and nothing comes back
		{"deafen", 6, talks, 500 * ms, 6 * s},                          // connections stay, and nothing gets through
		{"delay", 10, links, 2 * s, 10 * s},                            // each answer comes 100 to 400 ms late
		{"tear", 6, talks, s, 4 * s},                                   // answers break off after some bytes
		{"pause", 5, []string{"kafka1", "kafka2", "kafka3"}, s, 9 * s}, // a broker is frozen
		{"pause", 3, []string{"postgres"}, 500 * ms, 5 * s},
		{"crash", 3, []string{"kafka1", "kafka2", "kafka3"}, 500 * ms, 5 * s}, // SIGKILL of a part
		{"crash", 2, []string{"postgres"}, 200 * ms, 3 * s},
		{"pause", 2, []string{"registry"}, 500 * ms, 5 * s},
		{"crash", 1, []string{"registry"}, 200 * ms, 5 * s},
		{"rewind", 3, []string{"translate", "inventory", "invoicing", "notifications", "analytics", "probe"}, 0, 0},
		{"roll", 1, []string{"all"}, 0, 0},
	}
}

// schedule draws faults without end: first each kind once, then by weight, every so
// often on average.
func schedule(seed uint64, members []string, every time.Duration) iter.Seq[fault] {
	return func(yield func(fault) bool) {
		r := rand.New(rand.NewPCG(seed, 4))
		kinds := kindsOfFault(members)
		first, sum := r.Perm(len(kinds)), 0
		// Nobody who has just started can do without the registry, and it is slow to come
		// back: it goes last.
		slices.SortStableFunc(first, func(a, b int) int { return cmp.Compare(registryCrash(kinds[a]), registryCrash(kinds[b])) })
		for _, k := range kinds {
			sum += k.weight
		}
		var at time.Duration
		for n := 0; ; n++ {
			var k kindOfFault
			if n < len(first) {
				k = kinds[first[n]]
			} else {
				for left := r.IntN(sum); left >= 0; {
					for _, k = range kinds {
						if left -= k.weight; left < 0 {
							break
						}
					}
				}
			}
			f := fault{At: at, Kind: k.name, On: k.on[r.IntN(len(k.on))], For: k.from}
			if k.to > k.from {
				f.For += time.Duration(r.Int64N(int64(k.to - k.from)))
			}
			if !yield(f) {
				return
			}
			at += every/4 + time.Duration(r.Int64N(int64(every)*3/2)) // on average: every
		}
	}
}

func registryCrash(k kindOfFault) int {
	if k.name == "crash" && k.on[0] == "registry" {
		return 1
	}
	return 0
}

// readSchedule reads a schedule that was printed, to run it again.
func readSchedule(name string) ([]fault, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []fault
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		f, err := parseFault(lines.Text())
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}
