package event

import (
	"fmt"
	"time"
)

// Date is a business date: a day in a calendar, in no time zone (Avro date).
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf is the date on which t falls in loc.
func DateOf(t time.Time, loc *time.Location) Date {
	y, m, d := t.In(loc).Date()
	return Date{y, m, d}
}

// ParseDate parses ISO 8601, "2026-03-14".
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, fmt.Errorf("date %q: want YYYY-MM-DD", s)
	}
	return DateOf(t, time.UTC), nil
}

// DateFromDays is the date that lies n days after 1970-01-01, the form of Avro.
func DateFromDays(n int) Date { return DateOf(time.Unix(0, 0).UTC().AddDate(0, 0, n), time.UTC) }

// Days counts the days since 1970-01-01, the form of Avro.
func (d Date) Days() int { return int(d.In(time.UTC).Unix() / 86400) }

// In is the first instant of the date in loc.
func (d Date) In(loc *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, loc)
}

// AddDays is the date n calendar days later.
func (d Date) AddDays(n int) Date { return DateOf(d.In(time.UTC).AddDate(0, 0, n), time.UTC) }

// String is ISO 8601, "2026-03-14".
func (d Date) String() string { return d.In(time.UTC).Format(time.DateOnly) }

// MarshalText is String, so that JSON shows ISO 8601.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDate.
func (d *Date) UnmarshalText(b []byte) error {
	parsed, err := ParseDate(string(b))
	if err == nil {
		*d = parsed
	}
	return err
}
