package operate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/once"
	"github.com/eventspine/spine/pkg/once/request"
	"github.com/eventspine/spine/pkg/wire"
)

// parkedEffect is a call to the outside that failed and is to be made again, or whose
// outcome a person has to decide on: a contract.
type parkedEffect struct {
	Group    string `json:"group"`
	Effect   string `json:"effect"` // its number: e12
	Name     string `json:"name"`
	Key      string `json:"key"`
	State    string `json:"state"` // unknown, pending, intent, done or dropped
	Attempts int    `json:"attempts"`
	Reason   string `json:"reason"`
	Since    string `json:"since"` // it was asked for
	NextTry  string `json:"next_try,omitempty"`
}

// shownEffect is what parked show prints of an effect: a contract.
type shownEffect struct {
	parkedEffect
	ChangedAt   string          `json:"changed_at"`
	Causation   string          `json:"causation_id"`
	Correlation string          `json:"correlation_id"`
	Args        json.RawMessage `json:"args"` // "***" unless unmasked: no schema says what in them is personal
}

// decided is what became of what was asked for an effect: a contract.
type decided struct {
	parkedEffect
	Result string `json:"result"`
}

// ofEffects says that words of the command line name effects, not rows.
func ofEffects(words []string) bool { return len(words) > 0 && strings.HasPrefix(words[0], "e") }

func (r room) parkedEffect(e once.Effect) parkedEffect {
	p := parkedEffect{
		Group: r.group, Effect: fmt.Sprintf("e%d", e.ID), Name: e.Name, Key: e.Key, State: string(e.State), Attempts: e.Attempts, Reason: e.Error,
		Since: microTime(e.CreatedAt),
	}
	if e.State == once.EffectPending {
		p.NextTry = microTime(e.NextAt)
	}
	return p
}

// failing lists the effects of the group that failed and wait, and those of which the
// outcome is unknown, by id.
func (r room) failing(ctx context.Context) ([]parkedEffect, error) {
	var list []once.Effect
	for _, f := range []once.EffectFilter{{State: once.EffectUnknown}, {State: once.EffectPending, Tried: 1}} {
		some, err := r.store.Effects(ctx, f)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	slices.SortFunc(list, func(a, b once.Effect) int { return cmp.Compare(a.ID, b.ID) })
	parked := make([]parkedEffect, len(list))
	for i, e := range list {
		parked[i] = r.parkedEffect(e)
	}
	return parked, nil
}

// effects are those that words of the command line name.
func (r room) effects(ctx context.Context, words []string) ([]once.Effect, error) {
	list := make([]once.Effect, len(words))
	for i, word := range words {
		number, named := strings.CutPrefix(word, "e")
		id, err := strconv.ParseInt(number, 10, 64)
		if !named || err != nil || id <= 0 || id == math.MaxInt64 {
			return nil, cli.Usage("%s: want the number of an effect, such as e12, and rows in a command of their own; see spine parked list", word)
		}
		found, err := r.store.Effects(ctx, once.EffectFilter{After: id - 1, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 || found[0].ID != id {
			return nil, cli.Usage("group %s has no effect %s", r.group, word)
		}
		list[i] = found[0]
	}
	return list, nil
}

// showEffect prints an effect.
func (a commands) showEffect(ctx context.Context, group, word string, unmask bool) error {
	return a.withRoom(ctx, group, func(ctx context.Context, r room) error {
		list, err := r.effects(ctx, []string{word})
		if err != nil {
			return err
		}
		e := list[0]
		s := shownEffect{parkedEffect: r.parkedEffect(e), ChangedAt: microTime(e.ChangedAt), Args: json.RawMessage(`"***"`)}
		if unmask {
			s.Args = e.Args
		}
		if len(e.Cause) > 0 {
			var cause wire.Cause
			if err := json.Unmarshal(e.Cause, &cause); err != nil {
				return fmt.Errorf("reading the cause of %s: %w", word, err)
			}
			s.Causation, s.Correlation = cause.Causation, cause.Correlation
		}
		return a.Print(s, func(w *cli.Table) {
			w.Line("effect %s of %s: %s, %d attempts, asked for at %s, changed at %s", s.Effect, s.Group, s.State, s.Attempts, s.Since, s.ChangedAt)
			w.Line("%s with key %s: %s", s.Name, s.Key, cmp.Or(s.Reason, "-"))
			w.Line("caused by %s of %s", cmp.Or(s.Causation, "-"), cmp.Or(s.Correlation, "-"))
			w.Line("arguments: %s", s.Args)
		})
	})
}

// giveUp drops effects, when a person says yes.
func (r room) giveUp(ctx context.Context, words []string, yes bool) error {
	effects, err := r.effects(ctx, words)
	if err != nil {
		return err
	}
	for _, e := range effects {
		fmt.Fprintf(r.Stderr, "effect e%d: %s with key %s, %s after %d attempts: %s\n", e.ID, e.Name, e.Key, e.State, e.Attempts, e.Error)
	}
	if err := r.Confirm(yes, fmt.Sprintf("give %d of %s up for good", len(effects), r.group)); err != nil {
		return err
	}
	return r.decide(ctx, request.Drop, effects)
}

// decide asks the owners to call effects again or to give them up, and prints what
// became of each.
func (r room) decide(ctx context.Context, kind request.Kind, effects []once.Effect) error {
	answers, ids := make([]decided, len(effects)), make([]int64, len(effects))
	for i, e := range effects {
		ids[i], answers[i] = e.ID, decided{parkedEffect: r.parkedEffect(e), Result: resultAsked}
	}
	asked, err := request.AskEffects(ctx, r.db.DB, r.group, kind, ids)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", kind, err)
	}
	open := map[int64]int{}
	for i, id := range asked {
		if id == 0 {
			answers[i].Result = string(request.Gone)
			continue
		}
		open[id] = i
	}
	if err := r.await(ctx, open, func(i int, result request.Result) { answers[i].Result = string(result) }); err != nil {
		return err
	}
	err = r.Print(answers, func(w *cli.Table) {
		w.Row("EFFECT", "NAME", "KEY", "STATE", "RESULT")
		for _, d := range answers {
			w.Row(d.Effect, d.Name, d.Key, d.State, d.Result)
		}
	})
	if err == nil && slices.ContainsFunc(answers, func(d decided) bool { return d.Result == string(request.Refused) }) {
		return cli.Refused("an effect that is being called was left alone; see spine parked list")
	}
	return err
}
