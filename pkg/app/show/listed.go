package show

import (
	"strings"
	"unicode/utf8"
)

// Listed counts all, and shows the first ones.
type Listed[T any] struct {
	Count int64 `json:"count"`
	Shown []T   `json:"shown"`
	Most  int   `json:"-"` // shown
}

// Add adds one.
func (l *Listed[T]) Add(v T) {
	if l.Count++; len(l.Shown) < l.Most {
		l.Shown = append(l.Shown, v)
	}
}

const cellWidth = 40 // runes

// Short is a value of a table that fits into a line; nil = NULL.
func Short(value *string) string {
	if value == nil {
		return "NULL"
	}
	text := strings.Join(strings.Fields(*value), " ")
	if utf8.RuneCountInString(text) > cellWidth {
		text = string([]rune(text)[:cellWidth-1]) + "…"
	}
	return text
}
