package config

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Secret is a reference to a secret: env:NAME or file:PATH. It is never the secret
// itself, so that a configuration file can be shown and kept.
type Secret string

// UnmarshalText refuses literals.
func (s *Secret) UnmarshalText(text []byte) error {
	ref := string(text)
	if ref != "" && !isReference(ref) {
		return fmt.Errorf("a secret stands here in clear: put it into the environment or a file, and write env:NAME or file:PATH")
	}
	*s = Secret(ref)
	return nil
}

// String is the reference.
func (s Secret) String() string { return string(s) }

func isReference(s string) bool {
	return len(s) > len("env:") && strings.HasPrefix(s, "env:") || len(s) > len("file:") && strings.HasPrefix(s, "file:")
}

// Resolve reads the secret that a reference means; "" stays "". One line break at
// the end of a file is not part of the secret.
func (l *Loaded) Resolve(s Secret) (string, error) {
	kind, name, _ := strings.Cut(string(s), ":")
	switch kind {
	case "":
		return "", nil
	case "env":
		value := l.env[name]
		if value == "" {
			return "", fmt.Errorf("%w: environment variable %s is not set", ErrInvalid, name)
		}
		return value, nil
	default:
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("%w: reading the secret: %w", ErrInvalid, err)
		}
		value := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		if value == "" {
			return "", fmt.Errorf("%w: %s is empty", ErrInvalid, name)
		}
		return value, nil
	}
}

// ResolveText is Resolve for a value that may be a reference, such as a database
// URL; other text is returned as it stands.
func (l *Loaded) ResolveText(s string) (string, error) {
	if !isReference(s) {
		return s, nil
	}
	return l.Resolve(Secret(s))
}

// checkDatabase accepts sqlite:PATH, postgres://… and references. A password in a
// file that is kept with the code is refused.
func checkDatabase(text, origin string) error {
	if isReference(text) {
		return nil
	}
	if path, ok := strings.CutPrefix(text, "sqlite:"); ok {
		if path == "" {
			return fmt.Errorf("%q: want sqlite:PATH", text)
		}
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return fmt.Errorf("%q: want sqlite:PATH, postgres://… or a reference such as env:DATABASE_URL", HidePassword(text))
	}
	if _, set := u.User.Password(); set && origin != "flag" && !strings.HasPrefix(origin, "env ") {
		return fmt.Errorf("a password stands here in clear: write env:NAME or file:PATH for the whole URL, or use PGPASSFILE")
	}
	return nil
}

// HidePassword is a URL without its password, other text as it stands.
func HidePassword(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	return u.Redacted()
}

// Size is a number of bytes, written as 2MiB, 64KiB or a plain number.
type Size int64

// UnmarshalText parses a size.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := string(text), int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = rest, n
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q: want a size, such as 2MiB", text)
	}
	*s = Size(n * unit)
	return nil
}

// String is the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range []struct {
		n    int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if int64(s)%u.n == 0 {
			return strconv.FormatInt(int64(s)/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
