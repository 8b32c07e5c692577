package topic

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/eventspine/spine/pkg/wire"
)

// Prefixes of the derived topics.
const (
	rawPrefix  = "raw."
	deadPrefix = "dlq."
)

// Limits of a record in the derived topics, in bytes. A delivery is up to 2 MiB
// (intake.max_body) plus headers; its dead letter carries a reason on top. A
// producer to these topics needs a batch limit of as much.
const (
	MaxRaw        = 3 << 20
	MaxDeadLetter = 4 << 20
)

const derivedRetention = Retention(28 * 24 * time.Hour)

// Set is the declared topics of a fleet.
type Set struct {
	specs  []Spec
	byFact map[string]int
}

// Load reads the declared topics in the roots: *.yaml at the top of each. All
// errors are returned together, each with its file.
func Load(roots ...fs.FS) (*Set, error) {
	s := &Set{byFact: map[string]int{}}
	var errs []error
	for _, root := range roots {
		files, err := fs.Glob(root, "*.yaml")
		if err != nil {
			return nil, fmt.Errorf("reading topics: %w", err)
		}
		for _, file := range files {
			text, err := fs.ReadFile(root, file)
			if err != nil {
				return nil, fmt.Errorf("reading topics: %w", err)
			}
			spec, err := parse(path.Base(file), text)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			s.specs = append(s.specs, spec)
		}
	}
	slices.SortFunc(s.specs, func(a, b Spec) int { return strings.Compare(a.Name, b.Name) })
	for i, spec := range s.specs {
		if i > 0 && s.specs[i-1].Name == spec.Name {
			errs = append(errs, fmt.Errorf("%s is declared twice", spec.Name))
		}
		for _, f := range spec.Facts {
			if other, taken := s.byFact[f]; taken {
				errs = append(errs, fmt.Errorf("%s lives in %s and in %s: a fact has one topic", f, s.specs[other].Name, spec.Name))
			}
			s.byFact[f] = i
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("loading topics:\n%w", err)
	}
	return s, nil
}

// Specs are the declared topics, by name.
func (s *Set) Specs() []Spec { return slices.Clone(s.specs) }

// Spec finds a declared topic.
func (s *Set) Spec(name string) (Spec, bool) {
	for _, spec := range s.specs {
		if spec.Name == name {
			return spec, true
		}
	}
	return Spec{}, false
}

// Window is how long a record of a topic of Spine can be redelivered at the most: see
// Spec.Window. 0 = without end, or nobody knows the topic.
func (s *Set) Window(name string) time.Duration {
	if system, raw := strings.CutPrefix(name, rawPrefix); raw {
		return Raw(system).Window()
	}
	if spec, ok := s.Spec(name); ok {
		return spec.Window()
	}
	return 0
}

// Route finds where a fact type lives; it is a wire.Route.
func (s *Set) Route(factType string) (wire.Target, bool) {
	i, ok := s.byFact[factType]
	if !ok {
		return wire.Target{}, false
	}
	return wire.Target{Topic: s.specs[i].Name, Aggregate: s.specs[i].Aggregate}, true
}

// All are the declared topics and the derived ones of these systems and groups,
// each name once.
func (s *Set) All(systems, groups []string) []Spec {
	all := s.Specs()
	for _, system := range slices.Compact(slices.Sorted(slices.Values(systems))) {
		all = append(all, Raw(system))
	}
	for _, group := range slices.Compact(slices.Sorted(slices.Values(groups))) {
		all = append(all, DeadLetters(group))
	}
	return all
}

// RawName is the topic of a system's deliveries: raw.shopify.
func RawName(system string) string { return rawPrefix + system }

// DeadLettersName is the topic of a group's dead letters: dlq.invoicing.
func DeadLettersName(group string) string { return deadPrefix + group }

// Raw is the derived topic of a system's deliveries.
func Raw(system string) Spec {
	return Spec{
		Name: RawName(system), Class: RawClass, Aggregate: "delivery", Owner: "platform",
		Doc: "Deliveries of " + system + " as they came, bytes unchanged: what facts are made from, and can be made from again.",
		Key: Key{
			Form: "<system>/<instance>:<native id>",
			Doc:  "What the delivery is about, the key that its facts will carry; the instance where the delivery does not say.",
		},
		Partitions: 6, Retention: derivedRetention, Facts: []string{wire.DeliveryType},
		Config: map[string]string{"max.message.bytes": fmt.Sprint(MaxRaw)},
	}
}

// DeadLetters is the derived topic of a group's dead letters.
func DeadLetters(group string) Spec {
	return Spec{
		Name: DeadLettersName(group), Class: DeadClass, Aggregate: "dead-letter", Owner: "platform",
		Doc:        "Copies of the records that the group " + group + " gave up on, bytes unchanged, with the reason in the headers. The group's store holds the originals.",
		Key:        Key{Form: "as in the record's own topic", Doc: "The key of the record that failed."},
		Partitions: 3, Retention: derivedRetention, Facts: []string{},
		Config: map[string]string{"max.message.bytes": fmt.Sprint(MaxDeadLetter)},
	}
}

// ours says whether a name has the form of a topic that Spine declares or derives.
func ours(name string) bool {
	return nameLaw.MatchString(name) || strings.HasPrefix(name, rawPrefix) || strings.HasPrefix(name, deadPrefix)
}
