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
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/eventspine/spine/pkg/app/cli"
)

// Fleet is what a company brings: its systems, its reactions, its contracts.
type Fleet = cli.Fleet

// Process is what a command line runs in, so that tests can run one.
type Process = cli.Process

// Main runs the command line of the process and ends it with the exit code.
// SIGINT and SIGTERM cancel; a second one ends the process at once.
func Main(f Fleet) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // the root of all contexts
	context.AfterFunc(ctx, stop)
	code := Run(ctx, f, Process{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: environ(os.Environ())})
	stop()
	os.Exit(code) //nolint:forbidigo // main's only exit
}

func environ(all []string) map[string]string {
	env := make(map[string]string, len(all))
	for _, entry := range all {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

// Run runs one command line and returns its exit code.
func Run(ctx context.Context, f Fleet, p Process) int {
	a := &cli.CLI{Fleet: f, Process: p}
	root := newRoot(a)
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	return a.ExitCode(root.ExecuteContext(ctx))
}
