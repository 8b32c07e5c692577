// Command contracts works on the contracts before there is code generated from them:
// it needs none.
package main

import (
	"io/fs"

	"github.com/eventspine/spine/pkg/app"
	spine "github.com/eventspine/spine/schemas"

	"example.com/harbour/schemas"
)

func main() { app.Main(app.Fleet{Schemas: []fs.FS{spine.Files, schemas.Files}}) }
