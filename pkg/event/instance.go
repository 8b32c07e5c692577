package event

import (
	"fmt"
	"strings"
	"time"
)

// Instance is one installation of a system: shop uk, shop us. Its settings come
// from the configuration; secrets are not among them.
type Instance struct {
	System        string   // "shopify"
	Name          string   // "uk"
	BaseCurrency  string   // ISO 4217
	TimeZone      string   // IANA; "" = UTC
	LegalEntity   string   // whose books its sales stand in
	Warehouses    []string // in order of preference
	ShopDomain    string   // Shopify: the shop's myshopify.com domain
	TaxPolicy     string   // LINE_HALF_UP (default), LINE_HALF_EVEN, DOCUMENT_HALF_UP
	Calendar      string   // business days: "gb-eng", "us-federal"; "" = Monday to Friday
	PaymentDays   int      // days from issue to due date
	V1Shipping    bool     // order.placed.v1: total includes shipping (v1_total_includes_shipping)
	UnknownConfig bool     // the source is not in the configuration; every setting is its zero value
}

// ParseInstance splits "shopify/uk". It sets System and Name only.
func ParseInstance(s string) (Instance, error) {
	system, name, _ := strings.Cut(s, "/")
	if !word(system, false) || !word(name, true) {
		return Instance{}, fmt.Errorf("instance %q: want <system>/<name> in lower case, such as shopify/uk", s)
	}
	return Instance{System: system, Name: name}, nil
}

// word tells whether s is 1 to 32 lower-case letters, digits and hyphens, and begins with
// a letter, or a digit where that is allowed. It runs for each record that is read.
func word(s string, digit bool) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', i > 0 && c == '-', (i > 0 || digit) && c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// String is "<system>/<name>", "" for the zero value.
func (i Instance) String() string {
	if i.System == "" && i.Name == "" {
		return ""
	}
	return i.System + "/" + i.Name
}

// Location is the zone of the instance's business days. An unset zone is UTC; an
// unknown one is an error (the configuration is checked at start).
func (i Instance) Location() (*time.Location, error) {
	loc, err := time.LoadLocation(i.TimeZone) // "" is UTC
	if err != nil {
		return nil, fmt.Errorf("time zone of %s: %w", i, err)
	}
	return loc, nil
}

// Key is the record key of a thing in a source: "shopify/uk:5001".
func Key(source, entity string) string { return source + ":" + entity }

// InstanceOfKey is the "<system>/<name>" part of a key such as "shopify/uk:5001",
// "" where the key has another form.
func InstanceOfKey(key string) string {
	source, _, found := strings.Cut(key, ":")
	system, name, _ := strings.Cut(source, "/")
	if !found || !word(system, false) || !word(name, true) {
		return ""
	}
	return source
}
