package notifications

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Config is groups.notifications of the configuration.
type Config struct {
	Mail     string `yaml:"mail"` // smtp://host:port, smtps://host:port or dir:PATH
	From     string `yaml:"from"` // sender of all mail
	User     string `yaml:"user"` // for SMTP; "" = none
	Password Secret `yaml:"password"`
}

// Secret is a reference to a secret, env:NAME or file:PATH, never the secret itself.
type Secret string

// UnmarshalText refuses a secret in clear.
func (s *Secret) UnmarshalText(text []byte) error {
	if kind, name, ok := strings.Cut(string(text), ":"); len(text) > 0 && (!ok || name == "" || (kind != "env" && kind != "file")) {
		return errors.New("a secret stands here in clear: put it into the environment or a file, and write env:NAME or file:PATH")
	}
	*s = Secret(text)
	return nil
}

// read is the secret itself. One line break at the end of a file is not part of it.
func (s Secret) read() (string, error) {
	kind, name, _ := strings.Cut(string(s), ":")
	var value string
	switch kind {
	case "":
		return "", nil
	case "env":
		value = os.Getenv(name)
	case "file":
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		value = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	}
	if value == "" {
		return "", fmt.Errorf("reading the password: %s is empty", s)
	}
	return value, nil
}

// Defaults keeps mail in files below the data folder.
func (c *Config) Defaults(dataDir string) {
	c.Mail, c.From = "dir:"+dataDir+"/mail", "shop@localhost.localdomain"
}

// Validate checks where mail goes.
func (c *Config) Validate() error {
	_, err := c.route()
	if _, bad := mail.ParseAddress(c.From); bad != nil {
		err = errors.Join(err, fmt.Errorf("from %q: want an e-mail address", c.From))
	}
	if c.User == "" && c.Password != "" {
		err = errors.Join(err, errors.New("password: is set without user"))
	}
	return err
}

// route is where mail goes: a folder, or a server.
type route struct {
	folder   string
	host     string
	port     int
	implicit bool // TLS from the start
}

func (c *Config) route() (route, error) {
	want := fmt.Errorf("mail %q: want smtp://host:port, smtps://host:port or dir:PATH", c.Mail)
	if dir, ok := strings.CutPrefix(c.Mail, "dir:"); ok && dir != "" {
		return route{folder: dir}, nil
	}
	u, err := url.Parse(c.Mail)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" {
		return route{}, want
	}
	if u.User != nil {
		return route{}, errors.New("mail: name user and password by keys of their own, not in the address")
	}
	r := route{host: u.Hostname()}
	switch u.Scheme {
	case "smtp":
		r.port = 25
	case "smtps":
		r.port, r.implicit = 465, true
	default:
		return route{}, want
	}
	if u.Port() == "" {
		return r, nil
	}
	if r.port, err = strconv.Atoi(u.Port()); err != nil || r.port < 1 || r.port > 65535 {
		return route{}, want
	}
	return r, nil
}

// local tells whether the server is on this machine, where a password may travel
// unencrypted.
func (r route) local() bool {
	ip := net.ParseIP(r.host)
	return r.host == "localhost" || (ip != nil && ip.IsLoopback())
}

// Servers are the servers that mail goes through, by what they are: none where it
// goes to a folder. A check of the configuration tries them.
func (c *Config) Servers() map[string]string {
	r, err := c.route()
	if err != nil || r.folder != "" {
		return nil
	}
	return map[string]string{"mail server": net.JoinHostPort(r.host, strconv.Itoa(r.port))}
}
