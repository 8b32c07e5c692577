// Package a is a bad example.
package a

func init() {}
