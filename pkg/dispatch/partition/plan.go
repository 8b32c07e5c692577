package partition

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/dispatch/fault"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/wire"
)

// kind is how a group handles one fact type.
type kind struct {
	handler consumer.Handler
	upcast  *event.Upcast // the type is an older major of what the handler takes
}

// Plan says what a group handles, by fact type, upcasts among them.
type Plan map[string]kind

// NewPlan maps each fact type that a group handles.
func NewPlan(g consumer.Group) (Plan, error) {
	plan := Plan{}
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

// decode reads the payload of a record in the form that the handler takes, and
// completes the envelope with what only the payload says.
func (g *Engine) decode(ctx context.Context, k kind, rec *kgo.Record, e event.Event) (any, event.Event, error) {
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
	if err := g.Codec.Decode(ctx, rec, fact); err != nil {
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
		return nil, e, &fault.UndecodableError{Err: fmt.Errorf("upcasting %s to %s: %w", e.Type, k.handler.Type, err)}
	}
	return newer, e, nil
}

// instance is the installation that an event began in, with its configuration: by
// its source, or, for a group's fact, by its key or the root that it follows from.
func (g *Engine) instance(e event.Event) event.Instance {
	name := e.Source
	if strings.HasPrefix(name, "spine/") {
		name = event.InstanceOfKey(e.Key)
		if name == "" {
			_, root, _ := strings.Cut(e.CorrelationID, ":")
			name = event.InstanceOfKey(root)
		}
	}
	if in, ok := g.Instances[name]; ok {
		return in
	}
	in, err := event.ParseInstance(name)
	if err != nil {
		in = event.Instance{}
	}
	in.UnknownConfig = true
	return in
}

// head reads the envelope of a record. With an error, it has a type if ce_type is
// usable.
func (g *Engine) head(rec *kgo.Record) (event.Event, error) {
	e, err := wire.Head(rec)
	if err == nil {
		e.Instance = g.instance(e)
	}
	return e, err
}
