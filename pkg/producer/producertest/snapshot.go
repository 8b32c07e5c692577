package producertest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
)

// shot is a snapshot with its version.
type shot struct {
	delivery
	producer.Version
	alone told // what it tells as the first of its object
}

// snapshots sees that what the engine folds deliveries into is told once and whole.
func snapshots(k *kit, r *report) {
	objects := map[string][]shot{}
	for _, d := range k.sound {
		if !d.object.Snapshot {
			continue
		}
		id, s, err := k.shot(d)
		if err != nil {
			r.add("%s: %v", d.name, err)
			continue
		}
		k.unchanged(r, s)
		objects[d.Instance.String()+" "+d.object.Name+" "+id] = append(objects[d.Instance.String()+" "+d.object.Name+" "+id], s)
	}
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		k.steps(r, objects[name])
		k.arrivals(r, objects[name])
		k.shown(r, objects[name])
	}
}

func (k *kit) shot(d delivery) (id string, s shot, err error) {
	err = calm(func() error {
		native, err := d.object.Decode(d.Body)
		if err != nil {
			return err
		}
		id, s = d.object.ID(native), shot{delivery: d, Version: d.object.Version(d.Delivery, native)}
		late := d.Delivery
		late.ID, late.ReceivedAt = "again", late.ReceivedAt.AddDate(0, 1, 0)
		switch again := d.object.Version(late, native); {
		case id == "":
			return fmt.Errorf("the %s has no id", d.object.Name)
		case s.Source.UnixMicro() <= 0:
			return fmt.Errorf("the %s %s has no version: want a time after 1970", d.object.Name, id)
		case again != s.Version:
			return fmt.Errorf("the version of the %s depends on when it arrives", d.object.Name)
		}
		s.alone, err = k.stamped(d, d.news)
		return err
	})
	return id, s, err
}

// unchanged sees that a snapshot tells nothing after itself.
func (k *kit) unchanged(r *report, s shot) {
	for what, decode := range map[string]func([]byte) (any, error){"": s.object.Decode, ", as it is stored": s.object.DecodeStored} {
		got, err := k.step(decode, &s, s)
		if err != nil || len(got) > 0 {
			r.add("%s: the identical snapshot%s is told again: %v %v", s.name, what, got.ids(), err)
		}
	}
}

// step is what one snapshot tells after another.
func (k *kit) step(decode func([]byte) (any, error), before *shot, after shot) (told, error) {
	var news []event.New
	err := calm(func() error {
		var old any
		var err error
		if before != nil {
			if old, err = decode(before.Body); err != nil {
				return err
			}
		}
		native, err := after.object.Decode(after.Body)
		if err != nil {
			return err
		}
		news, err = after.object.Facts(after.Delivery, old, native)
		return err
	})
	if err != nil {
		return nil, err
	}
	return k.stamped(after.delivery, news)
}

// pairs bounds how many steps of one object are tried.
const pairs = 64

// steps sees that facts(nil, s) yields every fact that a step to s yields: what is
// translated again from scratch lacks nothing.
func (k *kit) steps(r *report, list []shot) {
	n := 0
	for _, before := range list {
		for _, after := range list {
			if n++; n > pairs {
				return
			}
			got, err := k.step(after.object.DecodeStored, &before, after)
			if err != nil {
				r.add("%s after %s: refused: %v", after.name, before.name, err)
				continue
			}
			for _, id := range got.ids() {
				if content, found := after.alone[id]; !found {
					r.add("%s: tells %s after %s, and not as the first of its object: facts(nil, s) must yield every fact that s shows", after.name, id, before.name)
				} else if content != got[id] {
					r.add("%s: tells another %s after %s than as the first of its object", after.name, id, before.name)
				}
			}
		}
	}
}

// arrivals sees that snapshots which come out of order, and are skipped then, lead to
// the same facts: nothing that no order by version tells, and all that the last shows.
func (k *kit) arrivals(r *report, list []shot) {
	if len(list) < 2 {
		return
	}
	ordered := slices.Clone(list)
	slices.SortStableFunc(ordered, func(a, b shot) int { return compare(a.Version, b.Version) })
	want, last := k.fold(r, ordered)
	random := rand.New(rand.NewPCG(k.options.Seed, 1))
	for try := range 4 {
		arrived := slices.Clone(ordered)
		if try == 0 {
			slices.Reverse(arrived)
		} else {
			random.Shuffle(len(arrived), func(i, j int) { arrived[i], arrived[j] = arrived[j], arrived[i] })
		}
		got, _ := k.fold(r, arrived)
		for _, id := range got.ids() {
			if _, found := want[id]; !found {
				r.add("%s and its like: out of order they tell %s, in order %v: its id depends on which snapshot shows it first", last.name, id, want.ids())
			}
		}
		for _, id := range last.alone.ids() {
			if _, found := got[id]; !found {
				r.add("%s: the last snapshot shows %s, which is lost where they come out of order", last.name, id)
			}
		}
	}
}

// shown sees that what is translated again from the middle of an object's life lacks
// nothing that its snapshots still show. A fact without a discriminator happens once
// and is never taken back: all later snapshots show it. Another one may be taken back,
// and is not shown again under its id after that.
func (k *kit) shown(r *report, list []shot) {
	ordered := slices.Clone(list)
	slices.SortStableFunc(ordered, func(a, b shot) int { return compare(a.Version, b.Version) })
	lasting, last := map[string]bool{}, map[string]int{}
	for i, s := range ordered {
		for _, id := range s.alone.ids() {
			if at, seen := last[id]; seen && at < i-1 {
				r.add("%s: shows %s again, which %s doesn't: facts(nil, s) must yield it as long as s shows it", s.name, id, ordered[i-1].name)
			}
			last[id] = i
		}
		for _, id := range k.lasting(s) {
			lasting[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(lasting)) {
		if next := last[id] + 1; next < len(ordered) {
			r.add("%s: doesn't show %s, which happens once and was told before: facts(nil, s) must yield it", ordered[next].name, id)
		}
	}
}

// lasting are the facts of a snapshot that happen at most once.
func (k *kit) lasting(s shot) (ids []string) {
	for _, n := range s.news {
		if n.Discriminator != "" {
			continue
		}
		if one, err := k.stamped(s.delivery, []event.New{n}); err == nil {
			ids = append(ids, one.ids()...)
		}
	}
	return ids
}

// fold is what snapshots tell in their order of arrival, and the one that stands.
func (k *kit) fold(r *report, list []shot) (told, shot) {
	all, last := told{}, list[0]
	for i, s := range list {
		before := &last
		switch {
		case i == 0:
			before = nil
		case stale(s.Version, last.Version):
			continue
		}
		got, err := k.step(s.object.DecodeStored, before, s)
		if err != nil {
			r.add("%s: refused: %v", s.name, err)
			continue
		}
		maps.Copy(all, got)
		if s.Clock.IsZero() && s.Source.Equal(last.Source) {
			s.Clock = last.Clock
		}
		last = s
	}
	return all, last
}

// compare and stale order snapshots as translate does.
func compare(a, b producer.Version) int {
	if !a.Source.Equal(b.Source) {
		return a.Source.Compare(b.Source)
	}
	if a.Terminal != b.Terminal {
		return cmp.Compare(flag(a.Terminal), flag(b.Terminal))
	}
	if a.Clock.IsZero() || b.Clock.IsZero() {
		return 0
	}
	return a.Clock.Compare(b.Clock)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func stale(v, last producer.Version) bool {
	if v.Source.Equal(last.Source) && v.Terminal == last.Terminal {
		return !v.Clock.IsZero() && v.Clock.Before(last.Clock)
	}
	return compare(v, last) < 0
}
