// Package dispatch is a bad example: an engine knows a group.
package dispatch

import _ "github.com/eventspine/spine/consumers/inventory"
