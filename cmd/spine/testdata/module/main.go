// Command harbour is the backbone of a company that keeps its adapter, its group, its
// fact and its topic in a module of its own.
package main

import (
	"embed"
	"io/fs"

	"github.com/eventspine/spine/pkg/app"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/producer"
	spine "github.com/eventspine/spine/schemas"

	"example.com/harbour/consumers/dock"
	"example.com/harbour/producers/carrier"
	"example.com/harbour/schemas"
)

//go:embed *.yaml
var topics embed.FS

func main() {
	app.Main(app.Fleet{
		Adapters: []producer.Adapter{carrier.Adapter()},
		Groups:   []consumer.Group{dock.Group()},
		Schemas:  []fs.FS{spine.Files, schemas.Files},
		Topics:   []fs.FS{topics},
	})
}
