package retell

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/dispatch/leaving"
	"github.com/eventspine/spine/pkg/once/replay"
	"github.com/eventspine/spine/pkg/topic"
	"github.com/eventspine/spine/pkg/translate"
	"github.com/eventspine/spine/pkg/translate/again"
	"github.com/eventspine/spine/pkg/wire"
)

const (
	patience = 10 * time.Second // without a sign of an owner
	look     = 200 * time.Millisecond
)

// publish leaves what is new, and the changed content that was named, to the owners of
// the deliveries' partitions, in the order in which the deliveries tell it. Killed, it
// leaves what was asked to the owners; run again, it finds the rest.
func (w *work) publish(ctx context.Context, r *result) error {
	p := &publishing{work: w, total: int64(len(r.New))}
	for _, c := range r.Changed {
		if c.Accepted {
			p.total++
		}
	}
	if p.total == 0 {
		return nil
	}
	w.progress.Step(fmt.Sprintf("publishing %d facts through the owners of %s", p.total, topic.RawName(w.System)))
	err := w.fold.Facts(ctx, func(f again.Fact) error {
		if !w.asked(f) || f.State == again.Changed && !w.accepted(f) {
			return nil
		}
		return p.add(ctx, f)
	}, again.Missing, again.Changed)
	if err == nil {
		err = p.ask(ctx)
	}
	if err == nil {
		err = p.await(ctx)
	}
	if err != nil {
		return err
	}
	r.Published, r.Known, r.Open = p.published, p.known, p.total-p.published-p.known
	if r.Open > 0 {
		fmt.Fprintf(w.Stderr, "spine: %d of %d facts are not published yet: no process runs %s at the moment; they stay, and the next owners publish them\n",
			r.Open, p.total, cli.Translate)
	}
	return nil
}

// publishing is what was asked of the owners, and how far they are.
type publishing struct {
	*work
	total            int64
	outs             []replay.Out
	asked            []int64       // requests that are open
	over             replay.Counts // of the others
	pace             time.Time     // of the next request
	published, known int64
}

// add keeps a fact for the next request, and asks when that is large enough.
func (p *publishing) add(ctx context.Context, f again.Fact) error {
	note, err := translate.Retold{Event: f.ID, Delivery: f.Delivery, Anew: f.State == again.Changed, AsOf: p.asOf}.Text()
	if err != nil {
		return err
	}
	f.Record.Headers = append(f.Record.Headers, kgo.RecordHeader{Key: wire.HeaderRetold, Value: []byte(p.asOf.UTC().Format(cli.MicroTime))})
	rec := leaving.Kept(f.Record)
	rec.Partition = -1
	p.outs = append(p.outs, replay.Out{Topic: topic.RawName(p.System), Partition: f.Partition, Record: rec, Note: note})
	most := 2 * page
	if p.Rate > 0 {
		most = min(most, max(int(p.Rate), 1))
	}
	if len(p.outs) < most {
		return nil
	}
	return p.ask(ctx)
}

// ask leaves a request, not faster than was asked for.
func (p *publishing) ask(ctx context.Context) error {
	if len(p.outs) == 0 {
		return nil
	}
	if err := sleep(ctx, time.Until(p.pace)); err != nil {
		return err
	}
	if p.Rate > 0 {
		p.pace = time.Now().Add(time.Duration(float64(len(p.outs)) / p.Rate * float64(time.Second)))
	}
	id, err := replay.AskPublish(ctx, p.db.DB, cli.Translate, p.outs)
	if err != nil {
		return err
	}
	p.asked, p.outs = append(p.asked, id), nil
	return p.count(ctx)
}

// await waits until all is carried out, as long as there is a sign of an owner.
func (p *publishing) await(ctx context.Context) error {
	done := int64(-1)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err := p.count(ctx); err != nil {
			return err
		}
		if now := p.published + p.known; now > done {
			done, deadline = now, time.Now().Add(patience)
		}
		if done >= p.total {
			return nil
		}
		if err := sleep(ctx, look); err != nil {
			return err
		}
	}
	return nil
}

// count sees how far the owners are. A request that is over is not looked at again.
func (p *publishing) count(ctx context.Context) error {
	p.published, p.known = p.over.Handled, p.over.Duplicate
	var open []int64
	for _, id := range p.asked {
		parts, err := replay.List(ctx, p.db.DB, cli.Translate, id)
		if err != nil {
			return err
		}
		var sum replay.Counts
		over := true
		for _, part := range parts {
			sum.Handled, sum.Duplicate = sum.Handled+part.Counts.Handled, sum.Duplicate+part.Counts.Duplicate
			over = over && part.Result != replay.Open
		}
		p.published, p.known = p.published+sum.Handled, p.known+sum.Duplicate
		if !over {
			open = append(open, id)
			continue
		}
		p.over.Handled, p.over.Duplicate = p.over.Handled+sum.Handled, p.over.Duplicate+sum.Duplicate
	}
	p.asked = open
	p.progress.At("facts", p.published+p.known, p.total)
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
