package rebuild

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/eventspine/spine/pkg/app/cli"
	"github.com/eventspine/spine/pkg/once/scratch"
)

func TestRemembered(t *testing.T) {
	t.Parallel()
	starts := kadm.ListedOffsets{"orders": {
		0: {Topic: "orders", Partition: 0, Offset: 7}, 1: {Topic: "orders", Partition: 1}, 2: {Topic: "orders", Partition: 2, Err: kerr.NotLeaderForPartition},
	}}
	for name, c := range map[string]struct {
		parts []scratch.Part
		code  int    // 0 = all is there
		says  string // of an error
	}{
		"all is there":           {[]scratch.Part{{Topic: "orders", From: 7, Next: 9}, {Topic: "orders", Partition: 1, From: 0, Next: 3}}, 0, ""},
		"nothing was handled":    {[]scratch.Part{{Topic: "orders", From: 3, Next: 3}}, 0, ""},
		"the first ones are not": {[]scratch.Part{{Topic: "orders", From: 2, Next: 9}}, cli.ExitRefused, "orders/0: 2 to 6"},
		"none is":                {[]scratch.Part{{Topic: "orders", From: 2, Next: 5}}, cli.ExitRefused, "orders/0: 2 to 4"},
		"who knows":              {[]scratch.Part{{Topic: "orders", Partition: 2, From: 2, Next: 5}}, cli.ExitFailure, "orders/2"},
		"the topic is gone":      {[]scratch.Part{{Topic: "refunds", From: 2, Next: 5}}, cli.ExitFailure, "no such partition"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := remembered("analytics", c.parts, starts)
			code := cli.ExitOK
			if exit := (*cli.ExitError)(nil); errors.As(err, &exit) {
				code = exit.Code
			} else if err != nil {
				code = cli.ExitFailure
			}
			if code != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("exit %d: %v; want %d, %s", code, err, c.code, c.says)
			}
		})
	}
}

// A rebuild is over when each partition has come to where the live one is, and not when
// some are further.
func TestProgressOf(t *testing.T) {
	t.Parallel()
	want := []scratch.Part{{Topic: "orders", From: 10, Next: 20}, {Topic: "orders", Partition: 1, From: 0, Next: 5}}
	for name, c := range map[string]struct {
		built   []scratch.Part
		n       int64
		reached bool
	}{
		"nothing yet":  {nil, 0, false},
		"one of two":   {[]scratch.Part{{Topic: "orders", From: 10, Next: 90}, {Topic: "orders", Partition: 1, Next: 4}}, 14, false},
		"both":         {[]scratch.Part{{Topic: "orders", From: 10, Next: 20}, {Topic: "orders", Partition: 1, Next: 5}}, 15, true},
		"a third, too": {[]scratch.Part{{Topic: "orders", From: 10, Next: 20}, {Topic: "orders", Partition: 1, Next: 5}, {Topic: "orders", Partition: 2, Next: 9}}, 15, true},
	} {
		n, of, reached := progressOf(want, c.built)
		if n != c.n || of != 15 || reached != c.reached {
			t.Errorf("%s: %d of %d, %v; want %d, %v", name, n, of, reached, c.n, c.reached)
		}
	}
}
