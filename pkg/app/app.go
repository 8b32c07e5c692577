// Package app is the composition root: the commands of the spine binary, and the
// one place where the parts meet. A company that keeps its own adapters, groups and
// facts writes the same ten lines as this repository's main:
//
//	func main() {
//		app.Main(app.Fleet{
//			Adapters: producers.All(), Groups: consumers.All(),
//			Schemas: []fs.FS{schemas.Files}, Topics: []fs.FS{topics.Files},
//		})
//	}
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/eventspine/spine/pkg/app/config"
	"github.com/eventspine/spine/pkg/consumer"
	"github.com/eventspine/spine/pkg/producer"
)

// Fleet is what a company brings: its systems, its reactions, its contracts.
type Fleet struct {
	Adapters []producer.Adapter
	Groups   []consumer.Group
	Schemas  []fs.FS // roots of <noun>/<verb>.v<N>.avsc; a later root may use shared records of an earlier one
	Topics   []fs.FS // roots of <name>.yaml
}

// Main runs the command line of the process and ends it with the exit code.
// SIGINT and SIGTERM cancel; a second one ends the process at once.
func Main(f Fleet) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // the root of all contexts
	context.AfterFunc(ctx, stop)
	code := Run(ctx, f, Process{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: environ(os.Environ())})
	stop()
	os.Exit(code) //nolint:forbidigo // main's only exit
}

// Process is what a command line runs in, so that tests can run one.
type Process struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            map[string]string
}

func environ(all []string) map[string]string {
	env := make(map[string]string, len(all))
	for _, entry := range all {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

// The exit codes, a contract.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitDrift    = 3 // drift, or books that do not balance
	exitRefused  = 4 // refused by a guard
	exitFindings = 100
)

// exitError carries an exit code other than 1.
type exitError struct {
	code int
	err  error // nil = nothing to say: the output said it
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func refused(format string, args ...any) error {
	return &exitError{exitRefused, fmt.Errorf(format, args...)}
}

// Run runs one command line and returns its exit code.
func Run(ctx context.Context, f Fleet, p Process) int {
	a := &cli{fleet: f, Process: p}
	root := a.root()
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	return a.exitCode(root.ExecuteContext(ctx))
}

// exitCode decides the exit code and prints the error: the one place that does.
func (a *cli) exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var exit *exitError
	code := exitFailure
	switch {
	case errors.As(err, &exit):
		code = exit.code
		if exit.err == nil {
			return code
		}
	case errors.Is(err, config.ErrInvalid):
		code = exitUsage
	}
	fmt.Fprintf(a.Stderr, "spine: %v\n", err)
	return code
}

// asError is errors.As as an expression.
func asError[E error](err error) (E, bool) {
	var target E
	ok := errors.As(err, &target)
	return target, ok
}
