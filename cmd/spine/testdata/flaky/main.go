// Command flaky is spine with handlers that fail now and then, as those of authors do:
// with an error, a panic, a wish to come later, each once for an event in a process.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io/fs"
	"sync"
	"time"

	"github.com/eventspine/spine/consumers"
	"github.com/eventspine/spine/internal/probe"
	"github.com/eventspine/spine/pkg/app"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/producers"
	"github.com/eventspine/spine/schemas"
	"github.com/eventspine/spine/topics"
)

func main() {
	probing, err := probe.Group()
	if err != nil {
		panic(err)
	}
	groups := append(consumers.All(), probing)
	for i := range groups {
		groups[i] = flaky(groups[i])
	}
	app.Main(app.Fleet{Adapters: producers.All(), Groups: groups, Schemas: []fs.FS{schemas.Files}, Topics: []fs.FS{topics.Files}})
}

func flaky(g consumer.Group) consumer.Group {
	var seen sync.Map
	// first draws a number below 600 for an event that it has not seen.
	first := func(id string) uint32 {
		h := fnv.New32a()
		_, _ = h.Write([]byte(g.Name + id))
		draw := h.Sum32() % 600
		if draw < 12 {
			if _, again := seen.LoadOrStore(id, true); again {
				return 600
			}
		}
		return draw
	}
	for i, h := range g.On {
		call := h.Call
		g.On[i].Call = func(ctx context.Context, tx consumer.Tx, e event.Event, fact any) error {
			err := call(ctx, tx, e, fact) // what it wrote is undone
			switch draw := first(e.ID); {
			case err != nil:
				return err
			case draw < 1:
				panic("a handler that panics")
			case draw < 5:
				return errors.New("a handler that fails")
			case draw < 12:
				return consumer.Later(time.Now().Add(time.Duration(draw)*100*time.Millisecond), "a handler that wants to wait")
			}
			return nil
		}
	}
	for i, e := range g.Effects {
		do := e.Do
		g.Effects[i].Do = func(ctx context.Context, key string, args json.RawMessage) error {
			err := do(ctx, key, args)
			if err == nil && first(key) < 6 {
				return errors.New("a call whose answer is lost")
			}
			return err
		}
	}
	return g
}
