package cli

import "time"

// MicroTime is the form of times in JSON: RFC 3339 UTC with microseconds.
const MicroTime = "2006-01-02T15:04:05.000000Z"

// Time reads a flag that is a time, or a duration before now; "" is the zero time.
func Time(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-max(d, -d)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, Usage("--%s %s: want a duration such as 2h, a day such as 2026-03-14, or RFC 3339", flag, s)
}
