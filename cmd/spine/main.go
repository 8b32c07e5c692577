// Command spine is the event-streaming backbone with the systems, groups, facts and
// topics of this repository.
package main

import (
	"io/fs"

	"github.com/eventspine/spine/consumers"
	"github.com/eventspine/spine/pkg/app"
	"github.com/eventspine/spine/producers"
	"github.com/eventspine/spine/schemas"
	"github.com/eventspine/spine/topics"
)

func main() {
	app.Main(app.Fleet{
		Adapters: producers.All(),
		Groups:   consumers.All(),
		Schemas:  []fs.FS{schemas.Files},
		Topics:   []fs.FS{topics.Files},
	})
}
