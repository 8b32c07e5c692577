// Package consumers lists the groups of this repository. A group is a folder and a line
// here; nothing else has to change.
package consumers

import (
	"github.com/eventspine/spine/consumers/analytics"
	"github.com/eventspine/spine/consumers/inventory"
	"github.com/eventspine/spine/consumers/invoicing"
	"github.com/eventspine/spine/consumers/notifications"
	"github.com/eventspine/spine/pkg/consumer"
)

// All is every group of this repository.
func All() []consumer.Group {
	return []consumer.Group{
		analytics.Group(),
		inventory.Group(),
		invoicing.Group(),
		notifications.Group(),
	}
}
