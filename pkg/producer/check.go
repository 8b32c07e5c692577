package producer

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/eventspine/spine/pkg/event"
)

var systemLaw = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Check finds mistakes that would show only when a delivery comes: all of them, one
// error each. The engine calls it at start.
func (a Adapter) Check() error {
	c := checking{adapter: a.System, kinds: map[string]bool{}, names: map[string]bool{}, facts: map[string]bool{}}
	if !systemLaw.MatchString(a.System) {
		c.wrong("System: want the name of its folder, lower case")
	}
	if a.IDTime < 0 {
		c.wrong("IDTime: want a precision of zero or more")
	}
	if len(a.Webhooks) > 1 {
		c.wrong("Webhooks: want at most one")
	}
	for _, w := range a.Webhooks {
		c.webhook(w)
	}
	for _, o := range a.Objects {
		c.object(o)
	}
	return errors.Join(c.found...)
}

type checking struct {
	adapter             string
	kinds, names, facts map[string]bool
	found               []error
}

func (c *checking) wrong(format string, args ...any) {
	c.found = append(c.found, fmt.Errorf("adapter %s: "+format, append([]any{c.adapter}, args...)...))
}

// once records a name and says if it is new.
func once(seen map[string]bool, name string) bool {
	if seen[name] {
		return false
	}
	seen[name] = true
	return true
}

func (c *checking) webhook(w Webhook) {
	if w.Verify == nil {
		c.wrong("Verify: want a check of the signature; nothing is accepted unsigned")
	}
	if w.Kind == nil {
		c.wrong("Kind: want a look for the kind of a delivery, such as Header(\"X-Topic\")")
	}
	for _, name := range w.Keep {
		if Credential(name) {
			c.wrong("Keep: %s may carry a credential and is never kept", name)
		}
	}
	if w.Answer.Status != 0 && (w.Answer.Status < 200 || w.Answer.Status > 299) {
		c.wrong("Answer: status %d: want a 2xx, only it says that a delivery is accepted", w.Answer.Status)
	}
}

func (c *checking) object(o Object) {
	if len(o.Kinds) == 0 || o.Decode == nil || o.DecodeStored == nil || o.Facts == nil {
		c.wrong("object %q: want kinds and facts; make it with Snapshot or Report", o.Name)
		return
	}
	c.kindsOf(o)
	c.emitsOf(o)
	// An empty document shows whether the type can be decoded into at all.
	var unreadable *DecodeError
	if _, err := o.Decode([]byte("{}")); err != nil && !errors.As(err, &unreadable) {
		c.wrong("object of %s: %w", o.Kinds, err)
	}
}

func (c *checking) kindsOf(o Object) {
	for _, kind := range o.Kinds {
		if !once(c.kinds, kind) {
			c.wrong("kind %s: belongs to two objects", kind)
		}
	}
	if o.Snapshot && (o.Name == "" || o.ID == nil || o.Version == nil || !once(c.names, o.Name)) {
		c.wrong("object %q of %s: want a name of its own, an id and a version", o.Name, o.Kinds)
	}
	if !o.Snapshot && len(o.Emits) > 0 && len(o.Kinds) > 1 {
		c.wrong("report of %s: want one kind; two kinds would derive one fact twice", o.Kinds)
	}
}

func (c *checking) emitsOf(o Object) {
	for _, fact := range o.Emits {
		if _, err := event.ParseType(fact); err != nil {
			c.wrong("emits of %s: %w", o.Kinds, err)
		} else if !once(c.facts, event.NameOf(fact)) {
			// promise: once. Two ways to one fact would give it two ids.
			c.wrong("fact %s: emitted twice; one kind of delivery emits each fact", fact)
		}
	}
}
