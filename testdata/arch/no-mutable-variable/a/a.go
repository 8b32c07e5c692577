// Package a is a bad example.
package a

import "errors"

// ErrFine is allowed.
var ErrFine = errors.New("fine")

var table = map[string]int{"fine": 1}

var written = map[string]int{}

var counter int

var made = make(map[string]int)

func write() { written["a"] = table["fine"]; counter++; made["b"] = 1 }

func shadow() { table := map[string]int{}; table["a"] = 1 }
