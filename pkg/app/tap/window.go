// Package tap reads topics without joining a group and without committing anything:
// what spine tail and the audit look at the stream with.
package tap

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// kind says how a position is given.
type kind int

const (
	atStart  kind = iota // the first record there is
	atEnd                // behind the last record
	exact                // an offset
	fromHead             // n after the first
	fromTail             // n before the end
	atTime               // the first record at or after a time
)

type position struct {
	kind kind
	n    int64
	time time.Time
}

// Window is the part of each partition that is read.
type Window struct {
	from, to position
	bounded  bool // to was given
}

// Bounded says that the window has an end.
func (w Window) Bounded() bool { return w.bounded }

// All is the window from the first record to the end as it is now.
func All() Window {
	return Window{from: position{kind: atStart}, to: position{kind: atEnd}, bounded: true}
}

// Last is the window of the last n records of each partition.
func Last(n int64) Window {
	return Window{from: position{kind: fromTail, n: n}, to: position{kind: atEnd}, bounded: true}
}

// New is the window of what comes from now on.
func New() Window { return Window{from: position{kind: atEnd}} }

// ParseWindow reads the --offset syntax of rpk:
//
//	start, end, 17      from there on
//	+5, -5              5 after the first, 5 before the end
//	:end, 10:20, -5:end a range, its end not included
//	@-2h:@-1h, @2026-03-14, @2026-03-14T11:20:00Z, @1773487200000
//	                    from a time on: relative, a day (UTC), RFC 3339, unix seconds or milliseconds
func ParseWindow(s string, now time.Time) (Window, error) {
	if p, err := parsePosition(s, now); err == nil {
		return Window{from: p}, nil
	}
	// A time holds colons of its own: the first colon that leaves two positions counts.
	for i, r := range s {
		if r != ':' {
			continue
		}
		left, right := s[:i], s[i+1:]
		if strings.HasPrefix(left, "@") && right != "end" && !strings.HasPrefix(right, "@") {
			right = "@" + right // rpk allows @t1:t2
		}
		from, err := parsePosition(left, now)
		if left == "" {
			from, err = position{kind: atStart}, nil
		}
		to, errTo := parsePosition(right, now)
		if err == nil && errTo == nil {
			return Window{from: from, to: to, bounded: true}, nil
		}
	}
	return Window{}, fmt.Errorf("offset %q: want start, end, N, +N, -N, a range such as :end or 10:20, or times such as @-2h:@-1h", s)
}

func parsePosition(s string, now time.Time) (position, error) {
	switch {
	case s == "start" || s == "oldest":
		return position{kind: atStart}, nil
	case s == "end" || s == "newest":
		return position{kind: atEnd}, nil
	case strings.HasPrefix(s, "@"):
		t, err := parseTime(s[1:], now)
		return position{kind: atTime, time: t}, err
	case strings.HasPrefix(s, "+"):
		n, err := strconv.ParseUint(s[1:], 10, 62)
		return position{kind: fromHead, n: int64(n)}, err
	case strings.HasPrefix(s, "-"):
		n, err := strconv.ParseUint(s[1:], 10, 62)
		return position{kind: fromTail, n: int64(n)}, err
	default:
		n, err := strconv.ParseUint(s, 10, 62)
		return position{kind: exact, n: int64(n)}, err
	}
}

func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && (strings.HasPrefix(s, "-") || d == 0) {
		return now.Add(d), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if len(s) >= 13 {
			return time.UnixMilli(n), nil
		}
		return time.Unix(n, 0), nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339Nano, s)
}

// Since is the window from a time to the end as it is now.
func Since(t time.Time) Window {
	return Window{from: position{kind: atTime, time: t}, to: position{kind: atEnd}, bounded: true}
}

// ParseRange reads the bounds of a range as people give them: what ParseWindow knows
// without its @, and durations such as 2h, which are before now. An empty from is the
// first record, an empty to the end as it is now.
func ParseRange(from, to string, now time.Time) (Window, error) {
	w := All()
	var err error
	if from != "" {
		if w.from, err = parseBound(from, now); err != nil {
			return Window{}, err
		}
	}
	if to != "" {
		w.to, err = parseBound(to, now)
	}
	return w, err
}

func parseBound(s string, now time.Time) (position, error) {
	if t, err := ParseTime(s, now); err == nil {
		return position{kind: atTime, time: t}, nil
	}
	p, err := parsePosition(s, now)
	if err != nil {
		err = fmt.Errorf("%s: want a time (2h, 2026-03-14, 2026-03-14T11:20:00Z), start, end, or an offset (17, +5, -5)", s)
	}
	return p, err
}

// ParseTime reads a duration before now, a day (UTC), or RFC 3339.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && s != "0" && strings.Trim(s, "+-0123456789") != "" {
		return now.Add(-d.Abs()), nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339Nano, strings.TrimPrefix(s, "@"))
}
