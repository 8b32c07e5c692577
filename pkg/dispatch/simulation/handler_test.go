//go:build synctests

package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/wire"
	"github.com/eventspine/spine/schemas/common"
	"github.com/eventspine/spine/schemas/order"
	"github.com/eventspine/spine/schemas/stock"
)

var (
	errCrash = errors.New("the process has crashed")
	errWeak  = errors.New("not this time")
)

func (m *member) group() consumer.Group {
	return consumer.Group{
		Name: group, Start: consumer.FromBeginning, On: []consumer.Handler{consumer.On(m.handle)},
		Emits: []event.Fact{stock.ShortageDetectedV1{}}, Effects: []consumer.Effect{
			consumer.EffectOf("call", consumer.RetryWithKey, m.call, m.called),
		},
	}
}

// does says whether a label's letters name a behaviour.
func does(label, letter string) bool {
	_, letters, _ := strings.Cut(label, ".")
	return strings.Contains(letters, letter)
}

// handle writes the ledger, and then does what the letters of the label say.
func (m *member) handle(ctx context.Context, tx consumer.Tx, e event.Of[order.CancelledV1]) error {
	label := e.Data.OrderNumber
	attempt, long := m.w.attempt(label)
	m.w.note("%s handles %s of %s, attempt %d", m.name, label, e.Key, attempt)
	if _, err := tx.ExecContext(ctx, `INSERT INTO ledger (label, entity, event_id) VALUES ($1, $2, $3)`, label, e.Entity, e.ID); err != nil {
		return err
	}
	if does(label, "p") {
		if err := tx.Publish(event.New{Fact: shortage(label), Entity: e.Key, Key: e.Key, Discriminator: label, At: e.OccurredAt}); err != nil {
			return err
		}
	}
	if does(label, "e") {
		if err := tx.Effect("call", label, label); err != nil {
			return err
		}
	}
	if does(label, "s") { // slow, its transaction open
		m.pause(ctx, long)
	}
	err := m.w.misbehave(label, attempt)
	if m.crashed() {
		return errCrash
	}
	if err != nil {
		m.w.note("%s: %s: %v", m.name, label, err)
		return err
	}
	return ctx.Err()
}

// pause is over early when the process crashes.
func (m *member) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.dead:
	case <-ctx.Done():
	}
}

func (w *world) attempt(label string) (n int, long time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts[label]++
	return w.attempts[label], time.Duration(10+w.random.IntN(400)) * time.Millisecond
}

// misbehave is the way in which a handler fails: by letter, at which attempt.
func (w *world) misbehave(label string, attempt int) error {
	w.mu.Lock()
	away, mended := w.away, w.mended
	w.mu.Unlock()
	switch {
	case does(label, "t") && attempt <= 2: // transient
		return errWeak
	case does(label, "f") && !mended: // transient, so it seems
		return errWeak
	case does(label, "d") && !mended:
		return consumer.Reject("not known")
	case does(label, "l") && attempt == 1:
		return consumer.Later(time.Now().Add(2*time.Second), "not yet")
	case does(label, "u") && away:
		return consumer.Unavailable("till", errWeak)
	case does(label, "x") && attempt == 1:
		panic("thrown")
	case does(label, "g") && attempt == 1:
		runtime.Goexit()
	case does(label, "k") && attempt == 1:
		return fmt.Errorf("committing: %w", once.ErrOutcomeUnknown)
	case does(label, "w") && attempt == 1:
		return fmt.Errorf("writing: %w", once.ErrUnavailable)
	}
	return nil
}

// call is the outside: some calls are slow, and of some the answer is lost.
func (m *member) call(ctx context.Context, key string, _ string) error {
	if m.crashed() {
		return errCrash
	}
	w := m.w
	w.mu.Lock()
	w.calls[key]++
	n, long := w.calls[key], time.Duration(w.random.IntN(300))*time.Millisecond
	w.mu.Unlock()
	w.note("%s calls the outside for %s, time %d", m.name, key, n)
	m.pause(ctx, long)
	if m.crashed() {
		return errCrash
	}
	if n == 1 && len(key)%2 == 0 {
		return errWeak
	}
	return ctx.Err()
}

func (m *member) called(ctx context.Context, tx consumer.Tx, key string, _ string) error {
	if m.crashed() {
		return errCrash
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO called (effect_key) VALUES ($1)`, key)
	return err
}

func shortage(label string) stock.ShortageDetectedV1 {
	return stock.ShortageDetectedV1{
		OrderRef:   common.Ref{System: "shopify", Instance: "uk", Object: "order", ID: "1"},
		Lines:      []stock.ShortageDetectedV1Line{{LineID: "1", SKU: label, Pool: "main"}},
		Extensions: map[string]string{},
	}
}

// record is an event about an entity; the same label is the same event.
func record(ctx context.Context, codec *wire.Codec, entity, label string) (*kgo.Record, error) {
	born := time.Date(2026, 3, 14, 11, 20, 0, 0, time.UTC)
	e, fact, err := wire.Stamp(event.New{
		Fact: order.CancelledV1{
			OrderRef: common.Ref{System: "shopify", Instance: "uk", Object: "order", ID: entity}, OrderNumber: label,
			CancelledAt: born, Scope: order.CancelledV1ScopeAll, Reason: order.CancelledV1ReasonOther, Currency: "GBP",
			StageAtCancel: order.CancelledV1StageUnknown, Extensions: map[string]string{},
		},
		Entity: entity, Discriminator: label, At: born,
	}, wire.Cause{
		Source: "shopify/uk", Origin: event.OriginWebhook, RecordedAt: born.Add(time.Second), Correlation: "order:shopify/uk:" + entity,
	})
	if err != nil {
		return nil, err
	}
	return codec.Encode(ctx, input, e, fact)
}

func shortageRecord(ctx context.Context, codec *wire.Codec) (*kgo.Record, error) {
	e, fact, err := wire.Stamp(event.New{Fact: shortage("0"), Entity: "0", At: time.Unix(0, 0)}, wire.Cause{
		Source: "spine/" + group, Origin: event.OriginProcess, RecordedAt: time.Unix(0, 0),
	})
	if err != nil {
		return nil, err
	}
	return codec.Encode(ctx, output, e, fact)
}
