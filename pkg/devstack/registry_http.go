package devstack

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxBody caps a request to the registry.
const maxBody = 1 << 20

// api is the HTTP interface of the registry: the part of Confluent's REST
// interface that clients, serialisers and Spine use, for Avro without references.
type api struct {
	reg *registry
	log *slog.Logger
}

// answer is a handler that returns what is to be written as JSON.
type answer func(*http.Request) (any, error)

// raw is an answer that is JSON text already.
type raw string

func registryHandler(reg *registry, log *slog.Logger) http.Handler {
	a := &api{reg, log}
	mux := http.NewServeMux()
	for pattern, fn := range map[string]answer{
		"GET /schemas/types":                                        func(*http.Request) (any, error) { return []string{"AVRO"}, nil },
		"GET /contexts":                                             func(*http.Request) (any, error) { return []string{"."}, nil },
		"GET /schemas":                                              a.all,
		"GET /schemas/ids/{id}":                                     a.byID,
		"GET /schemas/ids/{id}/schema":                              a.textByID,
		"GET /schemas/ids/{id}/versions":                            a.versionsByID,
		"GET /schemas/ids/{id}/subjects":                            a.subjectsByID,
		"GET /subjects":                                             a.subjects,
		"POST /subjects/{subject}":                                  a.lookup,
		"DELETE /subjects/{subject}":                                a.deleteSubject,
		"GET /subjects/{subject}/versions":                          a.versions,
		"POST /subjects/{subject}/versions":                         a.register,
		"GET /subjects/{subject}/versions/{version}":                a.version,
		"GET /subjects/{subject}/versions/{version}/schema":         a.text,
		"DELETE /subjects/{subject}/versions/{version}":             a.deleteVersion,
		"POST /compatibility/subjects/{subject}/versions":           a.compatibleWithAll,
		"POST /compatibility/subjects/{subject}/versions/{version}": a.compatibleWithOne,
		"GET /config":                                               a.level,
		"PUT /config":                                               a.setLevel,
		"DELETE /config":                                            a.resetLevel,
		"GET /config/{subject}":                                     a.level,
		"PUT /config/{subject}":                                     a.setLevel,
		"DELETE /config/{subject}":                                  a.resetLevel,
		"GET /mode":                                                 a.mode,
		"PUT /mode":                                                 a.setMode,
		"GET /mode/{subject}":                                       a.mode,
		"PUT /mode/{subject}":                                       a.setMode,
		"DELETE /mode/{subject}":                                    a.resetMode,
		"GET /subjects/{subject}/versions/{version}/referencedby":   func(*http.Request) (any, error) { return []int{}, nil },
	} {
		mux.HandleFunc(pattern, a.serve(fn))
	}
	mux.HandleFunc("/", a.serve(func(req *http.Request) (any, error) {
		if req.URL.Path == "/" {
			return struct{}{}, nil
		}
		return nil, notFound(http.StatusNotFound, "%s %s: no such endpoint", req.Method, req.URL.Path)
	}))
	return mux
}

func (a *api) serve(fn answer) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		req.Body = http.MaxBytesReader(w, req.Body, maxBody)
		out, err := fn(req)
		status := http.StatusOK
		if err != nil {
			var known *apiError
			if !errors.As(err, &known) {
				a.log.ErrorContext(req.Context(), "registry request", "method", req.Method, "path", req.URL.Path, "error", err)
				known = &apiError{http.StatusInternalServerError, 50001, err.Error()}
			}
			status, out = known.Status, known
		}
		body, isRaw := out.(raw)
		if !isRaw {
			text, err := json.Marshal(out)
			if err != nil {
				a.log.ErrorContext(req.Context(), "encoding an answer of the registry", "error", err)
				status = http.StatusInternalServerError
			}
			body = raw(text)
		}
		w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
		w.WriteHeader(status)
		if _, err := w.Write([]byte(body)); err != nil {
			a.log.DebugContext(req.Context(), "answering a registry client", "error", err)
		}
	}
}

// schemaBody is what clients send to register, look up and check.
type schemaBody struct {
	Schema     string            `json:"schema"`
	Type       string            `json:"schemaType"`
	References []json.RawMessage `json:"references"`
}

func readSchema(req *http.Request) (string, error) {
	var b schemaBody
	if err := readJSON(req, &b); err != nil {
		return "", err
	}
	if b.Type != "" && b.Type != "AVRO" {
		return "", unprocessable(42201, "Schema type %q: the embedded registry knows AVRO", b.Type)
	}
	if len(b.References) > 0 {
		return "", unprocessable(42201, "References: every schema stands alone here, inline what it refers to")
	}
	if b.Schema == "" {
		return "", unprocessable(42201, "Empty schema")
	}
	return b.Schema, nil
}

// readJSON reads one JSON object. Unknown fields are let through: clients of newer
// versions send more.
func readJSON(req *http.Request, into any) error {
	err := json.NewDecoder(req.Body).Decode(into)
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return &apiError{
			http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge,
			fmt.Sprintf("Body is longer than %d bytes", tooLong.Limit),
		}
	}
	if err != nil {
		return &apiError{http.StatusBadRequest, http.StatusBadRequest, "Body is not the expected JSON: " + err.Error()}
	}
	return nil
}

func flag(req *http.Request, name string) bool { return req.URL.Query().Get(name) == "true" }

// view is a schema version as clients read it.
type view struct {
	Subject string `json:"subject"`
	ID      int    `json:"id"`
	Version int    `json:"version"`
	Schema  string `json:"schema"`
}

func (a *api) register(req *http.Request) (any, error) {
	text, err := readSchema(req)
	if err != nil {
		return nil, err
	}
	v, err := a.reg.register(req.PathValue("subject"), text)
	return map[string]int{"id": v.ID}, err
}

func (a *api) lookup(req *http.Request) (any, error) {
	text, err := readSchema(req)
	if err != nil {
		return nil, err
	}
	canon, err := canonical(text)
	if err != nil {
		return nil, err
	}
	subject := req.PathValue("subject")
	var out view
	err = a.reg.read(func(s *state) error {
		v, err := s.lookup(subject, canon, flag(req, "deleted"))
		out = view{subject, v.ID, v.Version, v.Schema}
		return err
	})
	return out, err
}

func (a *api) subjects(req *http.Request) (any, error) {
	names := []string{}
	err := a.reg.read(func(s *state) error {
		for _, name := range slices.Sorted(maps.Keys(s.Subjects)) {
			live := len(s.live(name)) > 0
			keep := live && !flag(req, "deletedOnly") || !live && (flag(req, "deleted") || flag(req, "deletedOnly"))
			if keep && strings.HasPrefix(name, req.URL.Query().Get("subjectPrefix")) {
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}

func (a *api) all(req *http.Request) (any, error) {
	views := []view{}
	err := a.reg.read(func(s *state) error {
		for _, name := range slices.Sorted(maps.Keys(s.Subjects)) {
			if !strings.HasPrefix(name, req.URL.Query().Get("subjectPrefix")) {
				continue
			}
			for _, v := range s.Subjects[name] {
				if !v.Deleted || flag(req, "deleted") {
					views = append(views, view{name, v.ID, v.Version, v.Schema})
				}
			}
		}
		return nil
	})
	return views, err
}

func (a *api) versions(req *http.Request) (any, error) {
	numbers := []int{}
	err := a.reg.read(func(s *state) error {
		vs, err := s.versions(req.PathValue("subject"), flag(req, "deleted"))
		for _, v := range vs {
			numbers = append(numbers, v.Version)
		}
		return err
	})
	return numbers, err
}

func (a *api) version(req *http.Request) (any, error) {
	subject := req.PathValue("subject")
	var out view
	err := a.reg.read(func(s *state) error {
		v, err := s.version(subject, req.PathValue("version"), flag(req, "deleted"))
		out = view{subject, v.ID, v.Version, v.Schema}
		return err
	})
	return out, err
}

func (a *api) text(req *http.Request) (any, error) {
	out, err := a.version(req)
	if err != nil {
		return nil, err
	}
	v, _ := out.(view)
	return raw(v.Schema), nil
}

func (a *api) withID(req *http.Request) (text string, uses []usage, _ error) {
	id, err := strconv.Atoi(req.PathValue("id"))
	if err != nil {
		return "", nil, notFound(40403, "Schema %q not found: an id is a number", req.PathValue("id"))
	}
	err = a.reg.read(func(s *state) error {
		text, uses, err = s.byID(id)
		return err
	})
	return text, uses, err
}

func (a *api) byID(req *http.Request) (any, error) {
	text, _, err := a.withID(req)
	return map[string]string{"schema": text}, err
}

func (a *api) textByID(req *http.Request) (any, error) {
	text, _, err := a.withID(req)
	return raw(text), err
}

func (a *api) versionsByID(req *http.Request) (any, error) {
	_, uses, err := a.withID(req)
	return append([]usage{}, uses...), err
}

func (a *api) subjectsByID(req *http.Request) (any, error) {
	_, uses, err := a.withID(req)
	names := []string{}
	for _, u := range uses {
		names = append(names, u.Subject)
	}
	return slices.Compact(names), err
}

func (a *api) deleteSubject(req *http.Request) (any, error) {
	var gone []int
	err := a.reg.write(func(s *state) (err error) {
		gone, err = s.remove(req.PathValue("subject"), flag(req, "permanent"), func(version) bool { return true })
		return err
	})
	return gone, err
}

func (a *api) deleteVersion(req *http.Request) (any, error) {
	var gone []int
	subject, permanent := req.PathValue("subject"), flag(req, "permanent")
	err := a.reg.write(func(s *state) error {
		v, err := s.version(subject, req.PathValue("version"), permanent)
		if err != nil {
			return err
		}
		gone, err = s.remove(subject, permanent, func(o version) bool { return o.Version == v.Version })
		return err
	})
	if err != nil {
		return nil, err
	}
	return gone[0], nil
}

func (a *api) compatibleWithAll(req *http.Request) (any, error) {
	return a.compatible(req, func(s *state, subject string) (string, []version, error) {
		return s.levelOf(subject), s.live(subject), nil // a new subject is compatible with nothing
	})
}

func (a *api) compatibleWithOne(req *http.Request) (any, error) {
	return a.compatible(req, func(s *state, subject string) (string, []version, error) {
		v, err := s.version(subject, req.PathValue("version"), false)
		return s.levelOf(subject), []version{v}, err
	})
}

// verdict is the answer to a compatibility check.
type verdict struct {
	Compatible bool     `json:"is_compatible"`
	Messages   []string `json:"messages,omitempty"`
}

func (a *api) compatible(req *http.Request, with func(*state, string) (string, []version, error)) (any, error) {
	text, err := readSchema(req)
	if err != nil {
		return nil, err
	}
	if _, err := canonical(text); err != nil {
		return nil, err
	}
	var out verdict
	err = a.reg.read(func(s *state) error {
		level, old, err := with(s, req.PathValue("subject"))
		if err != nil {
			return err
		}
		reasons := a.reg.against(level, text, old)
		out.Compatible = len(reasons) == 0
		if flag(req, "verbose") {
			out.Messages = reasons
		}
		return nil
	})
	return out, err
}
