package cli

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/pkg/schema"
	"github.com/eventspine/spine/pkg/topic"
)

// Fleet is what a company brings: its systems, its reactions, its contracts.
type Fleet struct {
	Adapters []producer.Adapter
	Groups   []consumer.Group
	Schemas  []fs.FS // roots of <noun>/<verb>.v<N>.avsc; a later root may use shared records of an earlier one
	Topics   []fs.FS // roots of <name>.yaml
}

// Contracts loads the declared facts and topics of the fleet.
func (f Fleet) Contracts() (*schema.Set, *topic.Set, error) {
	facts, err := schema.Load(f.Schemas...)
	if err != nil {
		return nil, nil, fmt.Errorf("loading the schemas: %w", err)
	}
	topics, err := topic.Load(f.Topics...)
	if err != nil {
		return nil, nil, fmt.Errorf("loading the topics: %w", err)
	}
	return facts, topics, nil
}

// Roots are the schema roots with the last one read from dir: what is being worked
// on stands on disk, not in the binary.
func (f Fleet) Roots(dir string) []fs.FS {
	last := max(len(f.Schemas)-1, 0)
	return append(append([]fs.FS{}, f.Schemas[:last]...), os.DirFS(dir))
}

// Systems are the names of the adapters.
func (f Fleet) Systems() []string {
	names := make([]string, len(f.Adapters))
	for i, a := range f.Adapters {
		names[i] = a.System
	}
	return names
}

// GroupNames are the names of the groups; translate is one of them to Kafka.
func (f Fleet) GroupNames() []string {
	names := []string{Translate}
	for _, g := range f.Groups {
		names = append(names, g.Name)
	}
	return names
}

// Group finds a group of the fleet; translate is one, though nobody wrote it.
func (f Fleet) Group(name string) (consumer.Group, error) {
	for _, g := range f.Groups {
		if g.Name == name {
			return g, nil
		}
	}
	if name == Translate {
		return consumer.Group{Name: name, Owner: "platform"}, nil
	}
	return consumer.Group{}, Usage("no group %s in this binary; see spine groups list", name)
}

// Translate is the group that turns deliveries into facts.
const Translate = "translate"
