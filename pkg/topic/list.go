package topic

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Info is a topic as it stands in the cluster, beside its declaration. Its JSON is
// a contract.
type Info struct {
	Name              string            `json:"name"`
	Class             Class             `json:"class"` // "" = not declared
	Owner             string            `json:"owner"`
	Declared          bool              `json:"declared"`
	Exists            bool              `json:"exists"`
	Partitions        int               `json:"partitions"`
	ReplicationFactor int               `json:"replication_factor"`
	Records           int64             `json:"records"` // end minus start offsets
	Facts             []string          `json:"facts"`
	Doc               string            `json:"doc"`
	Key               Key               `json:"key"`
	Config            map[string]string `json:"config"` // effective values of what is declared
	Placement         []Partition       `json:"placement"`
}

// Partition is where a partition stands and what it holds.
type Partition struct {
	ID       int32   `json:"partition"`
	Leader   int32   `json:"leader"` // -1 = none
	Replicas []int32 `json:"replicas"`
	InSync   []int32 `json:"in_sync"`
	Start    int64   `json:"start"` // first offset
	End      int64   `json:"end"`   // next offset
}

// List returns the declared topics and those of our form that nobody declares, by
// name, as they stand in the cluster.
func List(ctx context.Context, admin *kadm.Client, want []Spec) ([]Info, error) {
	return steady(ctx, func(ctx context.Context) ([]Info, error) { return list(ctx, admin, want) })
}

func list(ctx context.Context, admin *kadm.Client, want []Spec) ([]Info, error) {
	meta, err := admin.Metadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the topics of the cluster: %w", err)
	}
	byName := map[string]Info{}
	for _, s := range want {
		byName[s.Name] = Info{
			Name: s.Name, Class: s.Class, Owner: s.Owner, Declared: true, Facts: append([]string{}, s.Facts...),
			Doc: s.Doc, Key: s.Key, Config: s.Settings(), Placement: []Partition{},
		}
	}
	var existing []string
	for _, name := range meta.Topics.Names() {
		if _, declared := byName[name]; !declared && !ours(name) {
			continue
		}
		existing = append(existing, name)
		info, declared := byName[name]
		if !declared {
			info = Info{Name: name, Facts: []string{}, Config: map[string]string{}, Placement: []Partition{}}
		}
		info.Exists = true
		info.place(meta.Topics[name])
		byName[name] = info
	}
	if err := measure(ctx, admin, byName, existing); err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(byName))
	for _, info := range byName {
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

func (i *Info) place(d kadm.TopicDetail) {
	i.Partitions, i.ReplicationFactor = len(d.Partitions), d.Partitions.NumReplicas()
	for _, p := range d.Partitions.Sorted() {
		i.Placement = append(i.Placement, Partition{
			ID: p.Partition, Leader: p.Leader, Replicas: append([]int32{}, p.Replicas...), InSync: append([]int32{}, p.ISR...),
		})
	}
}

// measure adds offsets and effective settings of the topics that exist.
func measure(ctx context.Context, admin *kadm.Client, byName map[string]Info, existing []string) error {
	if len(existing) == 0 {
		return nil
	}
	starts, err := admin.ListStartOffsets(ctx, existing...)
	if err != nil {
		return fmt.Errorf("reading the first offsets: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, existing...)
	if err != nil {
		return fmt.Errorf("reading the last offsets: %w", err)
	}
	configs, err := describe(ctx, admin, existing)
	if err != nil {
		return err
	}
	for _, name := range existing {
		info := byName[name]
		for i := range info.Placement {
			p := &info.Placement[i]
			start, okStart := starts.Lookup(name, p.ID)
			end, okEnd := ends.Lookup(name, p.ID)
			if !okStart || !okEnd || start.Err != nil || end.Err != nil {
				continue // a partition without a leader: its offsets are not known now
			}
			p.Start, p.End = start.Offset, end.Offset
			info.Records += end.Offset - start.Offset
		}
		for k := range info.Config {
			c := configs[name][k]
			info.Config[k] = c.MaybeValue()
		}
		byName[name] = info
	}
	return nil
}
