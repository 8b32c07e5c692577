package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/eventspine/spine/pkg/app/config"
)

// The exit codes, a contract.
const (
	ExitOK       = 0
	ExitFailure  = 1
	ExitUsage    = 2
	ExitDrift    = 3 // drift, or books that do not balance
	ExitRefused  = 4 // refused by a guard
	ExitFindings = 100
)

// ExitError carries an exit code other than 1.
type ExitError struct {
	Code int
	Err  error // nil = nothing to say: the output said it
}

// Error is the error that carries the code.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap is that error.
func (e *ExitError) Unwrap() error { return e.Err }

// Usage is the error of wrong words or wrong input: exit code 2.
func Usage(format string, args ...any) error {
	return &ExitError{ExitUsage, fmt.Errorf(format, args...)}
}

// Refused is the error of a guard: exit code 4.
func Refused(format string, args ...any) error {
	return &ExitError{ExitRefused, fmt.Errorf(format, args...)}
}

// ExitCode decides the exit code and prints the error: the one place that does.
func (a *CLI) ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	var exit *ExitError
	code := ExitFailure
	switch {
	case errors.As(err, &exit):
		code = exit.Code
		if exit.Err == nil {
			return code
		}
	case errors.Is(err, config.ErrInvalid):
		code = ExitUsage
	}
	fmt.Fprintf(a.Stderr, "spine: %v\n", err)
	return code
}

// As is errors.As as an expression.
func As[E error](err error) (E, bool) {
	var target E
	ok := errors.As(err, &target)
	return target, ok
}

// Confirm asks a person. Where nobody can be asked, what needs a confirmation is
// refused.
func (a *CLI) Confirm(yes bool, what string) error {
	if yes {
		return nil
	}
	if !Terminal(a.Stdin) {
		return Refused("nobody to ask whether to %s: use --yes", what)
	}
	fmt.Fprintf(a.Stderr, "%s? [y/N] ", strings.ToUpper(what[:1])+what[1:])
	answer, _ := bufio.NewReader(a.Stdin).ReadString('\n') // no answer is no
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return Refused("not confirmed: nothing was changed")
	}
	return nil
}

// ConfirmName asks a person to type the name of what is to be destroyed. Where nobody can
// be asked, it is refused.
func (a *CLI) ConfirmName(yes bool, what, name string) error {
	if yes {
		return nil
	}
	if !Terminal(a.Stdin) {
		return Refused("nobody to ask whether to %s: use --yes", what)
	}
	fmt.Fprintf(a.Stderr, "To %s, type %s: ", what, name)
	answer, _ := bufio.NewReader(a.Stdin).ReadString('\n') // no answer is no
	if strings.TrimSpace(answer) != name {
		return Refused("not confirmed: nothing was changed")
	}
	return nil
}

// People says that the output is for people.
func (a *CLI) People() bool { return a.Output == "table" || a.Output == "wide" }
