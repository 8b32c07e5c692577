package invoicing

import (
	"time"

	"github.com/rickar/cal/v2"
	"github.com/rickar/cal/v2/gb"
	"github.com/rickar/cal/v2/us"

	"github.com/eventspine/spine/pkg/event"
)

// cutOff is the hour of the day from which on a document belongs to the next business
// day. 17:00:00 itself is late.
const cutOff = 17

// workdays is a calendar of business days. It is only read.
type workdays struct{ *cal.BusinessCalendar }

// calendars are the known ones, by the names of the configuration. The holidays are those
// of rickar/cal: bank holidays of England and Wales, federal holidays of the United States,
// both with their substitute days.
func calendars() map[string]workdays {
	with := func(holidays ...*cal.Holiday) workdays {
		c := cal.NewBusinessCalendar() // Monday to Friday
		c.AddHoliday(holidays...)
		return workdays{c}
	}
	return map[string]workdays{"": with(), "gb-eng": with(gb.Holidays...), "us-federal": with(us.Holidays...)}
}

func (w workdays) open(d event.Date) bool { return w.IsWorkday(d.In(time.UTC)) }

// issue is the business day on which a document of time t is issued.
func (w workdays) issue(t time.Time, loc *time.Location) event.Date {
	d := event.DateOf(t, loc)
	if w.open(d) && t.In(loc).Hour() < cutOff {
		return d
	}
	return w.following(d.AddDays(1))
}

// due is the day on which payment is due: n calendar days after the issue, moved to the
// following business day.
func (w workdays) due(issued event.Date, n int) event.Date { return w.following(issued.AddDays(n)) }

// following is d if it is a business day, else the next one.
func (w workdays) following(d event.Date) event.Date {
	for !w.open(d) {
		d = d.AddDays(1)
	}
	return d
}
