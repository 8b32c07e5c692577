// Package inventory is a bad example: it calls another group, a system and Kafka.
package inventory

import (
	_ "github.com/eventspine/spine/consumers/invoicing"
	_ "github.com/eventspine/spine/producers/shopify"
	_ "github.com/twmb/franz-go/pkg/kgo"
)
