package schema

import (
	"cmp"
	"slices"

	"github.com/eventspine/spine/pkg/schema/avsc"
)

// Finding is one breach of a rule: where, which rule, what is wrong, what to do.
type Finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Rule    string `json:"rule"`             // L01 to L18 of the linter, C01 to C09 of Compatible, R01 to R03 of CheckReleased
	Path    string `json:"path"`             // field, such as lines[].unit_price; "" = the whole schema
	Breaks  string `json:"breaks,omitempty"` // of compatibility: who can no longer read what
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
}

// String is file:line:column: rule path: message; remedy.
func (f Finding) String() string {
	s := avsc.Pos{File: f.File, Line: f.Line, Column: f.Column}.String() + ": " + f.Rule + " "
	if f.Path != "" {
		s += f.Path + ": "
	}
	s += f.Message
	if f.Breaks != "" {
		s += " (" + f.Breaks + ")"
	}
	return s + "; " + f.Remedy
}

// SortFindings orders findings by place and rule and drops repeated ones.
func SortFindings(fs []Finding) []Finding {
	slices.SortFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(fs)
}
