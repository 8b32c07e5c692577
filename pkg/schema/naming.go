package schema

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/schema/avsc"
)

// SharedNamespace is the Avro namespace of the records that facts share.
const SharedNamespace = avsc.SharedNamespace

// FullName is the Avro full name and registry subject of a fact:
// order.placed.v2 is spine.order.OrderPlacedV2.
func FullName(t event.Type) string {
	return Namespace(t) + "." + camel(t.Noun) + camel(t.Verb) + "V" + strconv.Itoa(t.Major)
}

// Namespace is the Avro namespace of a fact, spine.<noun> without hyphens.
func Namespace(t event.Type) string { return "spine." + strings.ReplaceAll(t.Noun, "-", "") }

// FileName is where the current revision of a fact stands: order/placed.v2.avsc.
func FileName(t event.Type) string {
	return t.Noun + "/" + t.Verb + ".v" + strconv.Itoa(t.Major) + ".avsc"
}

// TypeOfFile is the fact that the law of names gives to a file.
func TypeOfFile(file string) (event.Type, error) {
	dir, base := path.Split(file)
	noun := strings.TrimSuffix(dir, "/")
	t, err := event.ParseType(noun + "." + strings.TrimSuffix(base, ".avsc"))
	if err != nil {
		return t, fmt.Errorf("file %s: %w; the file of a fact is <noun>/<verb>.v<N>.avsc", file, err)
	}
	return t, nil
}

// camel joins the words of a hyphenated name: credit-note is CreditNote.
func camel(s string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(s, "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}
