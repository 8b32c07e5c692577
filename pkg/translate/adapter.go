package translate

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/eventspine/spine/pkg/consumer"
)

// guarded calls code of an adapter. Its error and its panic reject the delivery: the
// same bytes would fail again (promise: bad input).
func guarded(kind string, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = consumer.Reject(fmt.Sprintf("%s: the adapter panics: %s at %s", kind, panicText(p), panicPlace()))
		}
	}()
	if err := call(); err != nil {
		return consumer.Reject(kind + ": " + err.Error())
	}
	return nil
}

// panicText says what happened. Only the runtime's own words are quoted: another
// value may hold what stands in the body.
func panicText(p any) string {
	var own runtime.Error
	if err, ok := p.(error); ok && errors.As(err, &own) {
		return own.Error()
	}
	return fmt.Sprintf("%T", p)
}

// panicPlace is the line that panicked, such as "shopify/placed.go:17".
func panicPlace() string {
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers[:])])
	panicked := false
	for {
		frame, more := frames.Next()
		inRuntime := strings.HasPrefix(frame.Function, "runtime.")
		if panicked && !inRuntime {
			return fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(frame.File)), filepath.Base(frame.File), frame.Line)
		}
		panicked = panicked || frame.Function == "runtime.gopanic" || frame.Function == "runtime.sigpanic"
		if !more {
			return "an unknown place"
		}
	}
}

// decoded reads a body by code of an adapter.
func decoded(kind string, decode func([]byte) (any, error), body []byte) (any, error) {
	var native any
	err := guarded(kind, func() (err error) {
		native, err = decode(body)
		return err
	})
	return native, err
}
