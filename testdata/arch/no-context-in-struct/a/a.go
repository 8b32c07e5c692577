// Package a is a bad example.
package a

import "context"

type job struct {
	ctx context.Context
}

type client struct {
	ctx context.Context // client lifetime: ends with Close
}
