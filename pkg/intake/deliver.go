package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/wire"
)

// The outcomes of accepted deliveries; those of refused ones are the codes of
// their answers.
const (
	outcomeAccepted = "accepted" // in Kafka
	outcomeSpooled  = "spooled"  // in the spool
)

// deliver makes a delivery durable (promise: accepted): in Kafka, or, when Kafka is
// away, slower than the budget, or still owed earlier deliveries of the key, in the
// spool. Both copies of a publish that succeeds too late carry the same id.
func (i *Intake) deliver(ctx context.Context, d wire.Delivery) (string, *refusal) {
	record := wire.EncodeDelivery(d)
	behind, away := i.spool.state(laneOf(record))
	if !behind && !away {
		err := i.publish(ctx, record)
		if err == nil {
			return outcomeAccepted, nil
		}
		i.spool.setAway(true)
		i.o.Log.WarnContext(ctx, "publishing is slow or fails, deliveries go to the spool", slog.Any("error", err))
	}
	err := i.spool.add(ctx, record, i.o.Budget)
	if err == nil {
		return outcomeSpooled, nil
	}
	// A spool that is full or broken must not keep out what Kafka takes again.
	if !behind && away && i.publish(ctx, record) == nil {
		return outcomeAccepted, nil
	}
	return "", refuse(http.StatusServiceUnavailable, "unavailable", "not accepted, try again", err)
}

// publish waits for Kafka, but not longer than the budget: a produce request that
// is under way can outlive its context.
func (i *Intake) publish(ctx context.Context, record *kgo.Record) error {
	select {
	case i.publishing <- struct{}{}:
	default:
		return errHanging
	}
	// A sender that hangs up has no say in what becomes of its delivery.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.o.Budget)
	return i.await(ctx, func() { cancel(); <-i.publishing }, record)
}

// errHanging keeps an outage from piling up calls that nobody waits for any more.
var errHanging = errors.New("publishing: too many calls have not returned")

// await publishes and waits until ctx ends; returned is called when the call returns.
func (i *Intake) await(ctx context.Context, returned func(), records ...*kgo.Record) error {
	done := make(chan error, 1)
	go func() {
		defer returned()
		done <- i.o.Publish(ctx, records...)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // the end of the call ended ctx
		return err
	default:
		return fmt.Errorf("publishing: outcome unknown: %w", ctx.Err())
	}
}

// The pace at which a spool that Kafka does not take is tried again.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// giveUp is how many keys in a row may fail before a pass over the spool ends:
// Kafka is away, rather than at odds with one record.
const giveUp = 3

// Run hands what is in the spool over to Kafka until ctx ends. It answers nil.
func (i *Intake) Run(ctx context.Context) error {
	pause, p := firstPause, newPass(i)
	for ctx.Err() == nil {
		moved := p.moved
		err := p.drain(ctx)
		if p.moved > moved {
			pause = firstPause
		}
		if err == nil {
			p = newPass(i)
			select {
			case <-ctx.Done():
			case <-i.spool.wake:
			}
			continue
		}
		if p.over {
			p = newPass(i)
		}
		if ctx.Err() == nil {
			i.o.Log.WarnContext(ctx, "the spool does not drain", slog.Any("error", err), slog.Duration("pause", pause))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		pause = min(2*pause, lastPause)
	}
	return nil
}

// pass is one way through the spool, in order of arrival. A key whose record fails is
// left for the next pass, so that its records keep their order (promise: in order)
// while others go on.
type pass struct {
	*Intake
	after  int64           // id of the last row that this pass has dealt with
	failed map[string]bool // lanes that wait for the next pass
	misses int             // failures in a row
	moved  int             // records handed over
	over   bool            // the end of the spool is reached
}

func newPass(i *Intake) *pass { return &pass{Intake: i, failed: map[string]bool{}} }

// drain goes on with the pass. It answers nil if nothing is left, else what failed
// last.
func (p *pass) drain(ctx context.Context) error {
	p.misses = 0
	var failure error
	for p.misses < giveUp {
		rows, err := p.spool.next(ctx, p.after)
		if err != nil {
			return err
		}
		if p.over = len(rows) == 0; p.over {
			break
		}
		if err := p.move(ctx, rows); err != nil {
			failure = err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if failure == nil && len(p.failed) > 0 {
		failure = errLeft
	}
	return failure
}

var errLeft = errors.New("draining the spool: keys that failed before are left")

// move publishes rows in waves of one record per lane: of a call that fails, some
// records may have been taken, and they must not overtake others of their key
// (promise: in order). Its error is the last failure.
func (p *pass) move(ctx context.Context, rows []row) error {
	last := rows[len(rows)-1].id
	var failure error
	for {
		if ctx.Err() != nil || p.misses >= giveUp {
			return failure // the next drain looks at these rows again
		}
		wave, rest := p.wave(rows)
		if len(wave) == 0 {
			p.after = last
			return failure
		}
		if err := p.sendWave(ctx, wave); err != nil {
			failure = err
		}
		rows = rest
	}
}

// wave takes the first row of each lane that has not failed.
func (p *pass) wave(rows []row) (wave, rest []row) {
	taken := map[string]bool{}
	for _, r := range rows {
		switch lane := r.lane(); {
		case p.failed[lane]:
		case taken[lane]:
			rest = append(rest, r)
		default:
			taken[lane] = true
			wave = append(wave, r)
		}
	}
	return wave, rest
}

// sendWave publishes rows together; if that fails, one by one.
func (p *pass) sendWave(ctx context.Context, wave []row) error {
	if len(wave) > 1 && p.send(ctx, wave) == nil {
		return p.done(ctx, wave)
	}
	var failure error
	for n, r := range wave {
		if ctx.Err() != nil || p.misses >= giveUp {
			return failure
		}
		err := p.send(ctx, wave[n:n+1])
		if err == nil {
			err = p.done(ctx, wave[n:n+1])
		}
		if err != nil {
			failure = fmt.Errorf("draining the spool: key %s: %w", r.record.Key, err)
			p.failed[r.lane()] = true
			p.miss(err)
		}
	}
	return failure
}

// miss counts failures that may mean that Kafka is away. What Kafka refuses for good,
// such as a record that is too large, is a matter of its key alone.
func (p *pass) miss(err error) {
	var answer *kerr.Error
	if !errors.As(err, &answer) || answer.Retriable {
		p.misses++
	}
}

// send publishes; unlike a sender, the spool has time. It does not start again
// before the outcome is known, or the process ends.
func (p *pass) send(ctx context.Context, rows []row) error {
	records := make([]*kgo.Record, len(rows))
	for n, r := range rows {
		record := *r.record // a client writes into the record that it is given
		records[n] = &record
	}
	ctx, cancel := context.WithCancel(ctx)
	return p.await(ctx, cancel, records...)
}

// done removes what is acknowledged, and nothing else (promise: accepted).
func (p *pass) done(ctx context.Context, rows []row) error {
	p.misses = 0
	p.moved += len(rows)
	p.spool.setAway(false)
	return p.spool.remove(ctx, rows)
}
