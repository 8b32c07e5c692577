// Package event is a bad example: it imports an engine and a vendor library.
package event

import (
	_ "github.com/eventspine/spine/pkg/bus"
	_ "github.com/twmb/franz-go/pkg/kgo"
)
