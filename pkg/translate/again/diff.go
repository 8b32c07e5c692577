package again

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/wire"
)

// Difference is one field that differs. Values are JSON, and personal data is masked;
// nothing = the field is not there.
type Difference struct {
	Field     string          `json:"field"`
	Published json.RawMessage `json:"published,omitempty"`
	Now       json.RawMessage `json:"now,omitempty"`
}

// difference compares the content of two records: their payloads without meta. Who
// reported a fact, and when, differs where two deliveries tell the same.
func (f *Fold) difference(ctx context.Context, published, now *kgo.Record) ([]Difference, error) {
	if bytes.Equal(published.Value, now.Value) {
		return nil, nil
	}
	a, err := f.content(ctx, published)
	if err != nil {
		return nil, err
	}
	b, err := f.content(ctx, now)
	if err != nil {
		return nil, err
	}
	var list []Difference
	for _, field := range slices.Sorted(maps.Keys(merged(a.plain, b.plain))) {
		if !bytes.Equal(a.plain[field], b.plain[field]) {
			list = append(list, Difference{field, a.show(field), b.show(field)})
		}
	}
	return list, nil
}

func merged(a, b map[string]json.RawMessage) map[string]json.RawMessage {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// content is what a record says, field by field: to be compared and to be shown.
type content struct{ plain, shown map[string]json.RawMessage }

// show is a field as people may see it. What holds personal data as a whole has no
// parts there.
func (c content) show(field string) json.RawMessage {
	if _, there := c.plain[field]; !there {
		return nil
	}
	if shown, whole := c.shown[field]; whole {
		return shown
	}
	return json.RawMessage(`"***"`)
}

// content of a record that cannot be read says why.
func (f *Fold) content(ctx context.Context, rec *kgo.Record) (content, error) {
	var bad *wire.BadRecordError
	plain, err := f.o.Codec.Generic(ctx, rec, true)
	if errors.As(err, &bad) {
		unread := map[string]json.RawMessage{"": json.RawMessage(fmt.Sprintf("%q", bad.Error()))}
		return content{unread, unread}, nil
	}
	if err != nil {
		return content{}, err
	}
	shown, err := f.o.Codec.Generic(ctx, rec, false)
	if err != nil {
		return content{}, err
	}
	c := content{map[string]json.RawMessage{}, map[string]json.RawMessage{}}
	return c, errors.Join(fields(plain.Data, "", c.plain), fields(shown.Data, "", c.shown))
}

// fields takes a document apart into its leaves: lines[0].sku.
func fields(data json.RawMessage, path string, into map[string]json.RawMessage) error {
	switch {
	case len(data) > 0 && data[0] == '{':
		var parts map[string]json.RawMessage
		if err := json.Unmarshal(data, &parts); err != nil {
			return err
		}
		if path == "" {
			delete(parts, "meta")
		}
		for name, part := range parts {
			if err := fields(part, join(path, name), into); err != nil {
				return err
			}
		}
	case len(data) > 0 && data[0] == '[':
		var parts []json.RawMessage
		if err := json.Unmarshal(data, &parts); err != nil {
			return err
		}
		for i, part := range parts {
			if err := fields(part, fmt.Sprintf("%s[%d]", path, i), into); err != nil {
				return err
			}
		}
	default:
		into[path] = data
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
