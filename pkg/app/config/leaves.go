package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// leaf is one value that can be set.
type leaf struct {
	path  string
	value reflect.Value
	// store writes a changed value back: entries of a map are copies.
	store func()
}

// leaves walks all values in the order of the file; maps are sorted.
func leaves(v reflect.Value, path string, store func()) (all []leaf) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fields(v) {
			all = append(all, leaves(f.value, join(path, f.name), store)...)
		}
	case reflect.Map:
		for _, key := range slices.Sorted(maps.Keys(names(v))) {
			at := reflect.ValueOf(key)
			entry := v.MapIndex(at)
			if entry.Kind() == reflect.Pointer {
				all = append(all, leaves(entry, join(path, key), store)...)
				continue
			}
			copied := reflect.New(entry.Type()).Elem()
			copied.Set(entry)
			all = append(all, leaves(copied, join(path, key), func() { v.SetMapIndex(at, copied); store() })...)
		}
	default:
		all = append(all, leaf{path, v, store})
	}
	return all
}

func names(m reflect.Value) map[string]bool {
	all := map[string]bool{}
	for _, k := range m.MapKeys() {
		all[k.String()] = true
	}
	return all
}

// EnvName is the environment variable of a value: kafka.brokers is
// SPINE_KAFKA_BROKERS, instances.shopify/uk.secret SPINE_INSTANCES_SHOPIFY_UK_SECRET.
func EnvName(path string) string {
	return "SPINE_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, path)
}

func (l *Loaded) leaves() []leaf { return leaves(reflect.ValueOf(&l.Config), "", func() {}) }

func (l *Loaded) fromEnv() error {
	var errs []error
	for _, leaf := range l.leaves() {
		name := EnvName(leaf.path)
		text, ok := l.env[name]
		if !ok {
			continue
		}
		if err := setScalar(leaf.value, text); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
			continue
		}
		leaf.store()
		l.origins[leaf.path] = "env " + name
	}
	return errors.Join(errs...)
}

func (l *Loaded) fromFlags(flags map[string]string) error {
	var errs []error
	byPath := map[string]leaf{}
	for _, leaf := range l.leaves() {
		byPath[leaf.path] = leaf
	}
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		leaf, ok := byPath[path]
		if !ok {
			errs = append(errs, fmt.Errorf("no value %s to set", path))
			continue
		}
		if err := setScalar(leaf.value, flags[path]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
			continue
		}
		leaf.store()
		l.origins[path] = "flag"
	}
	return errors.Join(errs...)
}

// Value is one effective value for people: secrets are shown as references, never
// resolved, and a password within a URL is hidden.
type Value struct {
	Path   string `json:"path"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // "default", file:line:column, "env NAME", "flag"
	Env    string `json:"env"`    // the variable that sets it
}

// Values lists every effective value.
func (l *Loaded) Values() []Value {
	var all []Value
	for _, leaf := range l.leaves() {
		origin := l.origins[leaf.path]
		if origin == "" {
			origin = "default"
		}
		all = append(all, Value{Path: leaf.path, Value: show(leaf.value), Origin: origin, Env: EnvName(leaf.path)})
	}
	return all
}

func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case fmt.Stringer:
		return x.String()
	case []string:
		return strings.Join(x, ",")
	case string:
		return HidePassword(x)
	default:
		return fmt.Sprint(x)
	}
}
