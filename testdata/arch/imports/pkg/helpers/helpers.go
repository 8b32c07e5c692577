// Package helpers is a bad example: it has no place in the layout.
package helpers
