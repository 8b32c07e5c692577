package gen

import (
	"strconv"
	"strings"

	"github.com/eventspine/spine/pkg/event"
)

// goName is a Go type: its package ("common", or "" for the one that is being
// written) and its name.
type goName struct{ pkg, name string }

// factName is the Go type of a fact: PlacedV2, ReservationReleasedV1.
func factName(t event.Type) string {
	return camel(t.Verb, "-") + "V" + strconv.Itoa(t.Major)
}

// packageName is the Go package of a noun: creditnote for credit-note.
func packageName(noun string) string { return strings.ReplaceAll(noun, "-", "") }

// initialisms are written in capitals in Go names.
var initialisms = map[string]string{
	"id": "ID", "sku": "SKU", "url": "URL", "api": "API", "uuid": "UUID", "http": "HTTP", "ip": "IP",
}

// camel is a name in CamelCase: order_ref is OrderRef, line_id is LineID.
func camel(s, separator string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(s, separator) {
		if capital, ok := initialisms[word]; ok {
			b.WriteString(capital)
		} else if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// symbolName is the end of an enum constant: UPCAST_PARTIAL is UpcastPartial.
func symbolName(symbol string) string { return camel(strings.ToLower(symbol), "_") }
