package translate

import (
	"bytes"
	"strconv"

	"github.com/google/uuid"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/wire"
)

// made says that a delivery was made here, from another one. It is never split or
// re-keyed again, so that no delivery goes in circles.
func made(d wire.Delivery) bool {
	id, err := uuid.Parse(d.ID)
	return err == nil && id.Version() == 8 // the receivers draw version 7
}

// part is the n-th delivery that is made from d. Its id depends on nothing else, so
// that making it again makes the same one (promise: once).
func part(d wire.Delivery, n int) wire.Delivery {
	d.ID = event.NewID(d.ReceivedAt, d.Source, "delivery.received", d.ID, strconv.Itoa(n))
	return d
}

// forwardParts sends each object of a batch on its way, under its own key, and says
// how many there are; 0 is a delivery of one object.
func (a adapter) forwardParts(out wire.Publisher, d wire.Delivery, seen producer.Delivery) (int, error) {
	if len(a.Webhooks) == 0 || a.Webhooks[0].Split == nil || made(d) {
		return 0, nil
	}
	var objects []producer.Delivery
	if err := guarded(d.Kind, func() (err error) {
		objects, err = a.Webhooks[0].Split(seen)
		return err
	}); err != nil {
		return 0, err
	}
	if len(objects) == 1 && bytes.Equal(objects[0].Body, d.Body) {
		return 0, nil
	}
	for n, object := range objects {
		p := part(d, n)
		p.Body = object.Body
		if object.Kind != "" {
			p.Kind = object.Kind
		}
		if object.Header != nil {
			p.Header = object.Header
		}
		p.Key = a.keyOf(p, seen.Instance)
		if err := out.Forward(p); err != nil {
			return n, err
		}
	}
	return len(objects), nil
}

// keyOf is the key under which a delivery belongs: that of its object. One that
// cannot be read goes under its source, and fails there by itself.
func (a adapter) keyOf(d wire.Delivery, in event.Instance) string {
	key := d.Source
	object, known := a.objects[d.Kind]
	_ = guarded(d.Kind, func() error {
		if known && object.Snapshot {
			native, err := object.Decode(d.Body)
			if err == nil {
				key = objectKey(d, object.ID(native))
			}
			return err
		}
		if look := a.Webhooks[0].Key; look != nil {
			key = objectKey(d, look(d.Kind, given(d, in).Header, d.Body))
		}
		return nil
	})
	return key
}

// objectKey is the record key of an object, or the source where it has no id.
func objectKey(d wire.Delivery, id string) string {
	if id == "" {
		return d.Source
	}
	return event.Key(d.Source, id)
}

// rekey sends a delivery on its way under the key of its object.
func rekey(out wire.Publisher, d wire.Delivery, key string) (outcome, []string, error) {
	if made(d) {
		return "", nil, consumer.Reject(d.Kind + ": the adapter gives one delivery two keys")
	}
	p := part(d, 0)
	p.Key = key
	return rekeyed, nil, out.Forward(p)
}
