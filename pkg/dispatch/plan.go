package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
)

// kind is how a group handles one fact type.
type kind struct {
	handler consumer.Handler
	upcast  *event.Upcast // the type is an older major of what the handler takes
}

// planOf maps each fact type that a group handles, upcasts among them.
func planOf(g consumer.Group) (map[string]kind, error) {
	plan := map[string]kind{}
	for _, h := range g.On {
		if _, taken := plan[h.Type]; taken && plan[h.Type].upcast == nil {
			return nil, fmt.Errorf("group %s: two handlers take %s", g.Name, h.Type)
		}
		plan[h.Type] = kind{handler: h} // a handler of its own goes before an upcast
		for i := range h.Upcasts {
			if _, taken := plan[h.Upcasts[i].From]; !taken {
				plan[h.Upcasts[i].From] = kind{handler: h, upcast: &h.Upcasts[i]}
			}
		}
	}
	return plan, nil
}

// Types lists the fact types that a group reads, older majors that are upcast among
// them: the topics of these are its input.
func Types(g consumer.Group) []string {
	var types []string
	for _, h := range g.On {
		types = append(types, h.Type)
		for _, up := range h.Upcasts {
			types = append(types, up.From)
		}
	}
	return types
}

// decode reads the payload of a record in the form that the handler takes, and
// completes the envelope with what only the payload says.
func (r *Runner) decode(ctx context.Context, k kind, rec *kgo.Record, e event.Event) (any, event.Event, error) {
	if k.handler.Type == wire.DeliveryType {
		d, err := wire.DecodeDelivery(rec)
		e.RecordedAt = d.ReceivedAt
		return &d, e, err
	}
	into := k.handler.New
	if k.upcast != nil {
		into = k.upcast.New
	}
	fact := into()
	if err := r.o.Codec.Decode(ctx, rec, fact); err != nil {
		return nil, e, err
	}
	if m, ok := fact.(interface{ GetMeta() event.Meta }); ok {
		e = wire.Complete(e, m.GetMeta())
	}
	if k.upcast == nil {
		return fact, e, nil
	}
	newer, err := k.upcast.Convert(fact, e.Instance)
	if err != nil {
		return nil, e, &undecodableError{fmt.Errorf("upcasting %s to %s: %w", e.Type, k.handler.Type, err)}
	}
	return newer, e, nil
}

// resolve asks for the registry id of a fact that the group publishes, so that later
// a handler's transaction waits for no network.
func (r *Runner) resolve(ctx context.Context, fact event.Fact) error {
	e, stamped, err := wire.Stamp(event.New{Fact: fact, Entity: "0", At: time.Unix(0, 0)}, wire.Cause{
		Source: "spine/" + r.o.Group.Name, Origin: event.OriginProcess, RecordedAt: time.Unix(0, 0),
	})
	if err != nil {
		return nil //nolint:nilerr // no generated fact: Publish will say so
	}
	// A zero fact may be invalid, which is found out after the id was.
	if _, err = r.o.Codec.Encode(ctx, "", e, stamped); errors.Is(err, wire.ErrRegistryUnavailable) {
		return err
	}
	return nil
}

// undecodableError is a record that no retry makes readable.
type undecodableError struct{ err error }

// Error says what couldn't be read.
func (e *undecodableError) Error() string { return e.err.Error() }

// Unwrap is the cause.
func (e *undecodableError) Unwrap() error { return e.err }

// instance is the installation that an event began in, with its configuration: by
// its source, or, for a group's fact, by its key or the root that it follows from.
func (r *Runner) instance(e event.Event) event.Instance {
	name := e.Source
	if strings.HasPrefix(name, "spine/") {
		name = event.InstanceOfKey(e.Key)
		if name == "" {
			_, root, _ := strings.Cut(e.CorrelationID, ":")
			name = event.InstanceOfKey(root)
		}
	}
	if in, ok := r.o.Instances[name]; ok {
		return in
	}
	in, err := event.ParseInstance(name)
	if err != nil {
		in = event.Instance{}
	}
	in.UnknownConfig = true
	return in
}
