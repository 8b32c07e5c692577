// Package producers is the list of the systems that Spine reads. To add one, add a
// folder and its line here; nothing else.
package producers

import (
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers/shopify"
)

// All is every system of this repository.
func All() []producer.Adapter {
	return []producer.Adapter{
		shopify.Adapter(),
	}
}
