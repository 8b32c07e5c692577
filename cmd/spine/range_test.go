package main_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/eventspine/spine/pkg/app/play"
	"github.com/eventspine/spine/pkg/bus"
)

// gap is what is deleted of a partition before a group has read it: [From, To).
type gap struct {
	topic     string
	partition int32
	from, to  int64
}

// outOfRange deletes records that a group has not read. Its partition stands still and
// says exactly what is gone, until it is set to what is left; the others go on. It
// comes after the ledger, which wants to see all records.
func (p *program) outOfRange() error {
	ctx := p.t.Context()
	for _, name := range []string{"analytics-1", "analytics-2"} {
		m, err := p.fleet.member(name)
		if err == nil {
			err = m.ask(40 * time.Second)
		}
		if err != nil {
			return err
		}
	}
	var more []string
	for _, c := range []uint64{1, 2} { // two days more, which analytics does not see
		b := &backbone{t: p.t, place: p.fleet.place}
		report, err := play.Send(ctx, slices.Values(b.day(p.Seed+c, 40)), play.Options{URL: p.fleet.intakes()[0], Retry: true})
		if err != nil {
			return err
		}
		more = append(more, report.Unexpected...)
	}
	if len(more) > 0 {
		return fmt.Errorf("unexpected answers: %v", more)
	}
	if err := p.othersDone(ctx); err != nil {
		return err
	}
	admin, err := bus.NewAdmin(bus.Config{Brokers: strings.Split(p.fleet.brokers, ",")})
	if err != nil {
		return err
	}
	defer admin.Close()
	db, err := sql.Open("pgx", p.fleet.database)
	if err != nil {
		return err
	}
	defer db.Close()
	g, err := dig(ctx, admin, db)
	if err != nil {
		return err
	}
	if err := p.fleet.start(); err != nil {
		return err
	}
	return p.wayOn(ctx, db, g)
}

// othersDone waits until all but the groups of analytics have nothing left.
func (p *program) othersDone(ctx context.Context) error {
	return waitFor(ctx, 2*time.Minute, func(ctx context.Context) error {
		all, err := p.fleet.positions(ctx)
		for _, name := range []string{"translate", "inventory", "invoicing", "notifications"} {
			if g := all[name]; err == nil && g.Lag+int64(g.Outgoing) > 0 {
				err = fmt.Errorf("%s: %+v", name, g)
			}
		}
		return err
	})
}

// dig deletes the first half of what analytics has not read of a partition.
func dig(ctx context.Context, admin *kadm.Client, db *sql.DB) (g gap, err error) {
	g.topic = "commerce.order.events"
	ends, err := admin.ListEndOffsets(ctx, g.topic)
	if err != nil {
		return g, err
	}
	var widest int64
	for _, o := range ends[g.topic] {
		var next int64
		err := db.QueryRowContext(ctx, `SELECT next_offset FROM spine_ownership WHERE group_name = 'analytics' AND topic = $1 AND kafka_partition = $2`,
			g.topic, o.Partition).Scan(&next)
		if err != nil {
			return g, err
		}
		if left := o.Offset - next; left > widest {
			widest, g.partition, g.from, g.to = left, o.Partition, next, next+(left+1)/2
		}
	}
	if widest < 2 {
		return g, errors.New("nothing came for analytics: there is nothing to delete")
	}
	to := kadm.Offsets{}
	to.Add(kadm.Offset{Topic: g.topic, Partition: g.partition, At: g.to})
	done, err := admin.DeleteRecords(ctx, to)
	if err != nil {
		return g, err
	}
	return g, done.Error()
}

// wayOn sees the group stand still, sets it to what is left, and sees it go on.
func (p *program) wayOn(ctx context.Context, db *sql.DB, g gap) error {
	says := fmt.Sprintf("%s/%d: offsets %d to %d are no longer there", g.topic, g.partition, g.from, g.to-1)
	p.tell("deleted before analytics has read it: %s", says)
	err := waitFor(ctx, 2*time.Minute, func(ctx context.Context) error {
		var all strings.Builder
		for _, name := range []string{"analytics-1", "analytics-2"} {
			m, err := p.fleet.member(name)
			if err != nil {
				return err
			}
			r, err := readyz(ctx, m.ops)
			if err != nil {
				return err
			}
			all.WriteString(r.Parts["group analytics"].Reason + "\n")
		}
		if !strings.Contains(all.String(), says) {
			return fmt.Errorf("nobody says %q: %s", says, all.String())
		}
		var behind int
		if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM spine_ownership WHERE group_name = 'analytics' AND topic = $1
			AND kafka_partition = $2 AND next_offset <> $3`, g.topic, g.partition, g.from).Scan(&behind); err != nil || behind > 0 {
			return fmt.Errorf("the partition does not stand at %d (%w)", g.from, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("standing still: %w", err)
	}
	for _, group := range []string{"analytics", "probe"} {
		if _, said, code := p.fleet.command(ctx, "groups", "reset", group, "--topic", g.topic, "--partition", fmt.Sprint(g.partition), "--to", "earliest", "--execute"); code != 0 {
			return fmt.Errorf("spine groups reset %s: exit code %d: %s", group, code, said)
		}
	}
	if err := p.fleet.quiet(ctx, 2*time.Minute); err != nil {
		return fmt.Errorf("going on: %w", err)
	}
	var early, late int
	if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FILTER (WHERE i.kafka_offset < $3), COUNT(*) FILTER (WHERE i.kafka_offset >= $3) FROM spine_inbox i
		JOIN spine_ownership o ON o.id = i.ownership WHERE i.group_name = 'probe' AND o.topic = $1 AND o.kafka_partition = $2
		AND i.kafka_offset >= $4`, g.topic, g.partition, g.to, g.from).Scan(&early, &late); err != nil {
		return err
	}
	if early != 0 || late == 0 {
		return fmt.Errorf("of what is gone %d are handled, of what is left %d", early, late)
	}
	return waitFor(ctx, time.Minute, p.fleet.ready)
}
