package devstack

import (
	"net/http"
	"slices"
)

// The settings of a subject, or of all ("" in the path): compatibility level and
// mode.

type levelBody struct {
	Level string `json:"compatibility"`
}

type modeBody struct {
	Mode string `json:"mode"`
}

func validLevel(level string) bool {
	return slices.Contains([]string{
		"NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE",
	}, level)
}

func (a *api) level(req *http.Request) (any, error) {
	var level string
	err := a.reg.read(func(s *state) error {
		subject := req.PathValue("subject")
		if _, own := s.Levels[subject]; !own && !flag(req, "defaultToGlobal") {
			return notFound(40408, "Subject %q does not have subject-level compatibility configured", subject)
		}
		level = s.levelOf(subject)
		return nil
	})
	return map[string]string{"compatibilityLevel": level}, err
}

func (a *api) setLevel(req *http.Request) (any, error) {
	var b levelBody
	if err := readJSON(req, &b); err != nil {
		return nil, err
	}
	if !validLevel(b.Level) {
		return nil, unprocessable(42203, "Compatibility level %q is unknown", b.Level)
	}
	return b, a.reg.write(func(s *state) error {
		s.Levels[req.PathValue("subject")] = b.Level
		return nil
	})
}

func (a *api) resetLevel(req *http.Request) (any, error) {
	var was levelBody
	err := a.reg.write(func(s *state) error {
		subject := req.PathValue("subject")
		level, own := s.Levels[subject]
		if !own {
			return notFound(40401, "Subject %q has no level of its own", subject)
		}
		was.Level = level
		delete(s.Levels, subject)
		if subject == globalKey {
			s.Levels[globalKey] = defaultLevel
		}
		return nil
	})
	return was, err
}

func (a *api) mode(req *http.Request) (any, error) {
	var out modeBody
	err := a.reg.read(func(s *state) error {
		subject := req.PathValue("subject")
		if _, own := s.Modes[subject]; !own && !flag(req, "defaultToGlobal") {
			return notFound(40409, "Subject %q does not have subject-level mode configured", subject)
		}
		out.Mode = s.modeOf(subject)
		return nil
	})
	return out, err
}

func (a *api) setMode(req *http.Request) (any, error) {
	var b modeBody
	if err := readJSON(req, &b); err != nil {
		return nil, err
	}
	if b.Mode != "READWRITE" && b.Mode != "READONLY" {
		return nil, unprocessable(42204, "Mode %q: the embedded registry knows READWRITE and READONLY", b.Mode)
	}
	return b, a.reg.write(func(s *state) error {
		s.Modes[req.PathValue("subject")] = b.Mode
		return nil
	})
}

func (a *api) resetMode(req *http.Request) (any, error) {
	var was modeBody
	err := a.reg.write(func(s *state) error {
		subject := req.PathValue("subject")
		mode, own := s.Modes[subject]
		if !own {
			return notFound(40409, "Subject %q does not have subject-level mode configured", subject)
		}
		was.Mode = mode
		delete(s.Modes, subject)
		return nil
	})
	return was, err
}
