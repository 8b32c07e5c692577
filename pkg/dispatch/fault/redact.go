package fault

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// masked stands where personal data stood.
const masked = "***"

// shortest is how many characters a value needs to be looked for: a single one stands
// in any text.
const shortest = 2

var emails = regexp.MustCompile(`[\pL\pN._%+'-]+@[\pL\pN-]+(?:\.[\pL\pN-]+)+`)

// Redacted is text without what is known to be personal: these values where they
// stand as words, and what looks like an e-mail address.
func Redacted(text string, personal []string) string {
	longest := slices.SortedFunc(slices.Values(personal), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, value := range longest { // a name before its parts
		if utf8.RuneCountInString(value) >= shortest {
			text = without(text, value)
		}
	}
	return emails.ReplaceAllString(text, masked)
}

// without masks a value where no letter or digit stands beside it: "Ann" is not in
// "cannot".
func without(text, value string) string {
	var b strings.Builder
	for {
		at := strings.Index(text, value)
		if at < 0 {
			b.WriteString(text)
			return b.String()
		}
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[at+len(value):])
		b.WriteString(text[:at])
		if wordy(before) || wordy(after) {
			b.WriteString(value)
		} else {
			b.WriteString(masked)
		}
		text = text[at+len(value):]
	}
}

func wordy(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
