// Package big is a bad example.
package big

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler

// filler
