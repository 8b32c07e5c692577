// Package topic declares where facts live and compares it with a Kafka cluster.
//
// # Files
//
// A topic is a file <name>.yaml; unknown fields are errors:
//
//	name        <domain>.<aggregate>.events, lower case: commerce.order.events
//	class       transactional, business, personal or control: what it is for
//	aggregate   what the record key identifies: order. Names the root of correlation ids
//	owner       the team that answers for it
//	doc         what is in it
//	key         form and doc of the record key
//	partitions  how many; a contract that never changes in place, because keys would move
//	retention   how long records stay: 28d, 36h, or forever
//	facts       the fact types that live here, with their major version
//	config      other topic settings of Kafka, as strings
//
// The topics raw.<system> (deliveries, bytes unchanged) and dlq.<group> (dead
// letters) follow from the fleet: see Raw and DeadLetters.
package topic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/eventspine/spine/pkg/event"
)

// Class says what a topic is for.
type Class string

// The classes.
const (
	Transactional Class = "transactional" // orders, stock: high volume, short retention
	Business      Class = "business"      // invoices, deals
	Personal      Class = "personal"      // customers, employees: restricted
	Control       Class = "control"       // notifications, operations
	RawClass      Class = "raw"           // deliveries of one system
	DeadClass     Class = "dead-letter"   // dead letters of one group
)

// Forever is the retention of a topic that keeps everything (retention.ms = -1).
const Forever Retention = -1

// Retention is how long records stay: whole hours or days, or Forever.
type Retention time.Duration

// ParseRetention reads "28d", "36h" or "forever".
func ParseRetention(s string) (Retention, error) {
	if s == "forever" {
		return Forever, nil
	}
	unit := time.Hour
	if strings.HasSuffix(s, "d") {
		unit = 24 * time.Hour
	}
	digits := strings.TrimRight(s, "dh")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > 36500 || len(s) != len(digits)+1 || digits[0] == '+' {
		return 0, fmt.Errorf("retention %q: want days, hours or forever, such as 28d, 36h", s)
	}
	return Retention(time.Duration(n) * unit), nil
}

// String is the form that ParseRetention reads.
func (r Retention) String() string {
	if r < 0 {
		return "forever"
	}
	if d := time.Duration(r); d%(24*time.Hour) != 0 {
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(time.Duration(r)/(24*time.Hour))) + "d"
}

// MarshalText implements encoding.TextMarshaler.
func (r Retention) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Retention) UnmarshalText(text []byte) error {
	parsed, err := ParseRetention(string(text))
	*r = parsed
	return err
}

// millis is the value of retention.ms.
func (r Retention) millis() string {
	if r < 0 {
		return "-1"
	}
	return strconv.FormatInt(time.Duration(r).Milliseconds(), 10)
}

// Key says what the record key of a topic is.
type Key struct {
	Form string `yaml:"form" json:"form"`
	Doc  string `yaml:"doc" json:"doc"`
}

// Spec is a declared topic.
type Spec struct {
	Name       string            `yaml:"name" json:"name"`
	Class      Class             `yaml:"class" json:"class"`
	Aggregate  string            `yaml:"aggregate" json:"aggregate"`
	Owner      string            `yaml:"owner" json:"owner"`
	Doc        string            `yaml:"doc" json:"doc"`
	Key        Key               `yaml:"key" json:"key"`
	Partitions int               `yaml:"partitions" json:"partitions"`
	Retention  Retention         `yaml:"retention" json:"retention"`
	Facts      []string          `yaml:"facts" json:"facts"`
	Config     map[string]string `yaml:"config" json:"config"`
}

var (
	nameLaw      = regexp.MustCompile(`^[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*\.events$`)
	aggregateLaw = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	settingLaw   = regexp.MustCompile(`^[a-z][a-z.]*[a-z]$`)
)

// parse reads one file strictly. The error has file:line:column.
func parse(file string, text []byte) (Spec, error) {
	var s Spec
	dec := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := dec.Decode(&s); err != nil {
		return s, yamlError(file, err)
	}
	if err := dec.Decode(&Spec{}); !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("%s: more than one document: a file declares one topic", file)
	}
	if file != s.Name+".yaml" {
		return s, fmt.Errorf("%s: name is %q: a file is named after its topic", file, s.Name)
	}
	if err := s.validate(); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

func yamlError(file string, err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		p := y.GetToken().Position
		return fmt.Errorf("%s:%d:%d: %s", file, p.Line, p.Column, y.GetMessage())
	}
	return fmt.Errorf("%s: %w", file, err)
}

// validate returns all that is wrong with a declared topic.
func (s Spec) validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(!nameLaw.MatchString(s.Name), "name %q: want <domain>.<aggregate>.events in lower case", s.Name)
	fault(!slices.Contains([]Class{Transactional, Business, Personal, Control}, s.Class),
		"class %q: want transactional, business, personal or control", s.Class)
	fault(!aggregateLaw.MatchString(s.Aggregate), "aggregate %q: want one word in lower case, such as order", s.Aggregate)
	fault(s.Owner == "", "owner is missing: the team that answers for the topic")
	fault(s.Doc == "", "doc is missing: what is in the topic")
	fault(s.Key.Form == "" || s.Key.Doc == "", "key needs form and doc")
	fault(s.Partitions < 1 || s.Partitions > 1000, "partitions %d: want 1 to 1000", s.Partitions)
	fault(s.Retention == 0, "retention is missing")
	fault(len(s.Facts) == 0, "facts is empty: a topic without facts has no use")
	for i, f := range s.Facts {
		_, err := event.ParseType(f)
		fault(err != nil, "facts: %w", err)
		fault(slices.Contains(s.Facts[:i], f), "facts: %s stands twice", f)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Config)) {
		fault(!settingLaw.MatchString(k), "config: %q is not a topic setting of Kafka", k)
		fault(k == "retention.ms", "config: retention.ms is the field retention")
		fault(k == "cleanup.policy" && s.Config[k] != "delete", "config: topics of facts are not compacted: each record is a fact of its own")
	}
	return errors.Join(errs...)
}

// segment is segment.ms of every topic: a record leaves at the latest one segment
// after its retention, which bounds how long the handled-once inbox has to remember.
const segment = 24 * time.Hour

// Settings are the topic settings of Kafka that the declaration stands for.
func (s Spec) Settings() map[string]string {
	m := map[string]string{
		"cleanup.policy": "delete",
		"retention.ms":   s.Retention.millis(),
		"segment.ms":     strconv.FormatInt(segment.Milliseconds(), 10),
	}
	maps.Copy(m, s.Config)
	return m
}

// Window is how long a record can be redelivered at the most: retention plus one
// segment. The inbox of a group that reads the topic remembers at least as long
// (promise: once). 0 = without end.
func (s Spec) Window() time.Duration {
	if s.Retention < 0 {
		return 0
	}
	d := segment
	if ms, err := strconv.ParseInt(s.Config["segment.ms"], 10, 64); err == nil {
		d = time.Duration(ms) * time.Millisecond
	}
	return time.Duration(s.Retention) + d
}
