//go:build synctests

package simulation_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
)

// do carries out a step. What takes its time happens beside the schedule.
func (w *world) do(s step) {
	args := append(slices.Clone(s.args), "", "")
	switch s.verb {
	case "start":
		w.start(args[0])
	case "leave", "crash", "zombie", "cut":
		w.strike(s.verb, args[0], args[1])
	case "send", "again", "poison", "headless":
		w.send(s.verb, args[0], args[1])
	case "database-away":
		w.tasks.Go(func() { w.databaseAway() })
		w.later(args[0], w.databaseBack)
	case "dependency-away":
		w.dependency(true)
		w.later(args[0], func() { w.dependency(false) })
	case "refuse":
		w.must(refuse(w.cluster, args[0], args[1]))
	case "late-answers":
		d, err := time.ParseDuration(args[0])
		w.must(err)
		count, err := strconv.Atoi(args[1])
		w.must(err)
		w.faults.setLate(count, d)
	case "move-leaders":
		w.cluster.ShufflePartitionLeaders()
	case "move-coordinators":
		w.cluster.RehashCoordinators()
	case "break-transaction":
		w.tasks.Go(w.breakTransaction)
	case "redrive", "retry":
		w.tasks.Go(func() { w.ask(request.Kind(s.verb)) })
	case "backup":
		w.backup()
	case "restore":
		w.tasks.Go(w.restore)
	default:
		w.must(errors.New("unknown step " + s.verb))
	}
}

// strike does something to a member that runs.
func (w *world) strike(verb, name, lasting string) {
	w.mu.Lock()
	m := w.members[name]
	if verb == "leave" || verb == "crash" {
		delete(w.members, name)
	}
	w.mu.Unlock()
	if m == nil {
		return
	}
	switch verb {
	case "leave":
		m.cancel()
	case "crash":
		w.tasks.Go(func() { w.crash(m) })
	case "zombie":
		w.faults.setZombie(m.name, true)
		w.later(lasting, func() { w.faults.setZombie(m.name, false) })
	case "cut":
		m.wire.cut()
		w.later(lasting, func() {
			if !m.crashed() {
				m.wire.mend()
			}
		})
	}
}

func (w *world) dependency(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
}

// send publishes an event, the same one again, a copy that is cut in half, or one
// without its type.
func (w *world) send(verb, key, label string) {
	r, err := record(w.t.Context(), w.codec, key, label)
	w.must(err)
	switch verb {
	case "poison":
		r.Value = r.Value[:len(r.Value)/2]
	case "headless":
		r.Headers = slices.DeleteFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == "ce_type" })
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	w.must(w.source.Publish(ctx, r))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[place{r.Partition, r.Offset}] = label
	if w.sent[label] == nil {
		w.sent[label] = r
	}
}

// bad says that a label is of a record that no handler ever sees.
func bad(label string) bool { return len(label) > 3 && label[:3] == "bad" }

// ask leaves requests for all rows, as a person does beside the processes.
func (w *world) ask(kind request.Kind) {
	rows, err := w.db.Store(group).Rows(w.t.Context(), once.RowFilter{})
	if err != nil {
		return
	}
	for _, r := range rows {
		if kind == request.Redrive && r.State != once.Dead || kind == request.Retry && r.State != once.Wait {
			continue
		}
		_, _ = request.Ask(w.t.Context(), w.db.DB, group, kind, r.ID) // gone meanwhile, or the database is away: asked again later
	}
}

// settle ends all faults and lets the group finish.
func (w *world) settle() {
	w.note("> the faults end")
	sleep(w.t.Context(), 8*time.Second) // those that were begun
	w.databaseBack()
	w.faults.setLate(0, 0)
	w.mu.Lock()
	w.mended, w.away = true, false
	running := len(w.members)
	w.mu.Unlock()
	if running == 0 {
		w.start("z")
	}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); sleep(w.t.Context(), time.Second) {
		if w.quiet() {
			return
		}
		w.ask(request.Redrive)
		w.dropBad()
	}
	w.unfinished()
}

// dropBad drops the rows that will never be handled.
func (w *world) dropBad() {
	rows, err := w.db.Store(group).Rows(w.t.Context(), once.RowFilter{})
	w.must(err)
	for _, r := range rows {
		w.mu.Lock()
		label := w.at[place{r.Record.Partition, r.Record.Offset}]
		w.mu.Unlock()
		if !bad(label) || r.State != once.Dead {
			continue
		}
		if _, err := request.Ask(w.t.Context(), w.db.DB, group, request.Drop, r.ID); err == nil {
			w.mu.Lock()
			w.dropped[label] = true
			w.mu.Unlock()
		}
	}
}

// quiet says that nothing is left to do.
func (w *world) quiet() bool {
	c, err := w.db.Store(group).Counts(w.t.Context())
	if err != nil || c.Waiting+c.Dead+c.Outgoing+c.EffectsOpen > 0 {
		return false
	}
	for id := range int32(w.s.partitions) {
		next, found, err := w.db.Store(group).NextOffset(w.t.Context(), input, id)
		if err != nil || !found || next < w.cluster.PartitionInfo(input, id).HighWatermark {
			return false
		}
	}
	return true
}

func (w *world) unfinished() {
	c, err := w.db.Store(group).Counts(w.t.Context())
	w.find("stuck: minutes after the last fault %+v, %v", c, err)
	for id := range int32(w.s.partitions) {
		next, _, err := w.db.Store(group).NextOffset(w.t.Context(), input, id)
		w.find("stuck: partition %d stands at %d of %d, %v", id, next, w.cluster.PartitionInfo(input, id).HighWatermark, err)
	}
}
