package leaving

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/once"
)

// Pitfall: a replay calls the outside again. What a handler asks for is checked all
// the same, so that a replay refuses what a live event would.
func TestEffect_ofAReplay(t *testing.T) {
	t.Parallel()
	asked := 0
	left := Left{}
	o := &out{
		gate: &Gate{Group: "g", Effects: map[string]consumer.Effect{
			"call": {Name: "call", Do: func(context.Context, string, json.RawMessage) error { t.Error("called"); return nil }},
		}},
		journal: func(once.Effect) error { asked++; return nil },
		left:    &left,
	}
	for _, silent := range []bool{true, false} {
		o.silent = silent
		if err := o.Effect("call", "k", 1); err != nil {
			t.Error(err)
		}
		if o.Effect("nobody", "k", 1) == nil || o.Effect("call", "", 1) == nil || o.Effect("call", "k", make(chan int)) == nil {
			t.Errorf("silent %t: a mistake is accepted", silent)
		}
		if want := map[bool]int{true: 0, false: 1}[silent]; asked != want || left.Effects != want {
			t.Errorf("silent %t: %d effects are asked for and %d counted, want %d", silent, asked, left.Effects, want)
		}
	}
}
