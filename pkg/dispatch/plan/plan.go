// Package plan says what a group reads and how: which fact types it handles, what the
// head of a record says, and the payload in the form that the handler takes.
package plan

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

// Kind is how a group handles one fact type.
type Kind struct {
	consumer.Handler
	upcast *event.Upcast // the type is an older major of what the handler takes
}

// Plan is what a group handles.
type Plan struct {
	kinds     map[string]*Kind // by fact type, upcasts among them
	codec     *wire.Codec
	instances map[string]event.Instance // by "<system>/<name>"
}

// New maps each fact type that a group handles.
func New(g consumer.Group, codec *wire.Codec, instances map[string]event.Instance) (*Plan, error) {
	kinds := map[string]*Kind{}
	for _, h := range g.On {
		if _, taken := kinds[h.Type]; taken && kinds[h.Type].upcast == nil {
			return nil, fmt.Errorf("group %s: two handlers take %s", g.Name, h.Type)
		}
		kinds[h.Type] = &Kind{Handler: h} // a handler of its own goes before an upcast
		for i := range h.Upcasts {
			if _, taken := kinds[h.Upcasts[i].From]; !taken {
				kinds[h.Upcasts[i].From] = &Kind{Handler: h, upcast: &h.Upcasts[i]}
			}
		}
	}
	return &Plan{kinds: kinds, codec: codec, instances: instances}, nil
}

// Kind is how the group handles a fact type; false = it doesn't.
func (p *Plan) Kind(factType string) (*Kind, bool) {
	k, ok := p.kinds[factType]
	return k, ok
}

// Decode reads the payload of a record in the form that the handler takes, and
// completes the envelope, which it does not copy, with what only the payload says.
func (p *Plan) Decode(ctx context.Context, k *Kind, rec *kgo.Record, e *event.Event) (any, error) {
	if k.Type == wire.DeliveryType {
		d, err := wire.DecodeDelivery(rec)
		e.RecordedAt = d.ReceivedAt
		return &d, err
	}
	into := k.New
	if k.upcast != nil {
		into = k.upcast.New
	}
	fact := into()
	if err := p.codec.Decode(ctx, rec, fact); err != nil {
		return nil, err
	}
	if m, ok := fact.(interface{ GetMeta() event.Meta }); ok {
		wire.Complete(e, m.GetMeta())
	}
	if k.upcast == nil {
		return fact, nil
	}
	newer, err := k.upcast.Convert(fact, e.Instance)
	if err != nil {
		return nil, &fault.UndecodableError{Err: fmt.Errorf("upcasting %s to %s: %w", e.Type, k.Type, err)}
	}
	return newer, nil
}

// instance is the installation that an event began in, with its configuration: by
// its source, or, for a group's fact, by its key or the root that it follows from.
func (p *Plan) instance(e *event.Event) event.Instance {
	name := e.Source
	if strings.HasPrefix(name, "spine/") {
		name = event.InstanceOfKey(e.Key)
		if name == "" {
			_, root, _ := strings.Cut(e.CorrelationID, ":")
			name = event.InstanceOfKey(root)
		}
	}
	if in, ok := p.instances[name]; ok {
		return in
	}
	in, err := event.ParseInstance(name)
	if err != nil {
		in = event.Instance{}
	}
	in.UnknownConfig = true
	return in
}

// Head reads the envelope of a record. With an error, it has a type if ce_type is
// usable.
func (p *Plan) Head(rec *kgo.Record) (event.Event, error) {
	e, err := wire.Head(rec)
	if err == nil {
		e.Instance = p.instance(&e)
	}
	return e, err
}
