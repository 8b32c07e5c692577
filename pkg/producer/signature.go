package producer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/eventspine/spine/pkg/event"
)

// ErrSignature says that a request does not prove that it comes from the source.
// The receiver answers 401.
var ErrSignature = errors.New("signature missing, wrong or too old")

// Encoding is the text form of a signature in a header.
type Encoding int

// The encodings. Only the canonical text is accepted: a signature that was encoded
// again in another way (other alphabet, no padding, upper case) is refused.
const (
	Base64 Encoding = iota // RFC 4648 §4, with padding
	Hex                    // lower case
)

// text is the canonical text of a MAC, and decode its strict inverse.
func (e Encoding) text(mac []byte) string {
	if e == Hex {
		return hex.EncodeToString(mac)
	}
	return base64.StdEncoding.EncodeToString(mac)
}

func (e Encoding) decode(s string) ([]byte, bool) {
	var mac []byte
	var err error
	if e == Hex {
		mac, err = hex.DecodeString(s)
	} else {
		mac, err = base64.StdEncoding.Strict().DecodeString(s)
	}
	// Equal text: hex of Go accepts upper case, and its base64 skips line breaks.
	return mac, err == nil && e.text(mac) == s
}

// HMACSHA256 verifies an HMAC-SHA256 over the raw body, keyed with the bytes of a
// secret, that stands alone in the named header. Each secret is tried, so that a
// rotation loses nothing. A header that is missing, repeated, of another length or
// in another encoding is refused before anything is compared; the comparison takes
// constant time over decoded bytes. Without a secret nothing is accepted.
func HMACSHA256(header string, enc Encoding) Verify {
	return func(r Request) error {
		got, ok := enc.decode(one(r.Header, header))
		if !ok || len(got) != sha256.Size {
			return ErrSignature
		}
		valid := false
		for _, secret := range r.Secrets {
			mac := hmac.New(sha256.New, secret)
			mac.Write(r.Body)
			// No early return: time must not tell which secret it was.
			valid = hmac.Equal(mac.Sum(nil), got) && len(secret) > 0 || valid
		}
		if !valid {
			return ErrSignature
		}
		return nil
	}
}

// SignHMACSHA256 is the signature that HMACSHA256 accepts. Adapters sign their
// made-up days with it.
func SignHMACSHA256(secret, body []byte, enc Encoding) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return enc.text(mac.Sum(nil))
}

// All accepts what every check accepts; the first refusal stands.
func All(checks ...Verify) Verify {
	return func(r Request) error {
		for _, check := range checks {
			if err := check(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// HeaderIs accepts requests whose header equals a setting of the instance, letter
// case aside, such as the shop's domain where one secret serves many shops. An
// instance without the setting is not checked. The refusal wraps ErrSignature.
func HeaderIs(header string, setting func(event.Instance) string) Verify {
	return func(r Request) error {
		want := setting(r.Instance)
		if want == "" || strings.EqualFold(one(r.Header, header), want) {
			return nil
		}
		return fmt.Errorf("header %s is not the one of %s: %w", header, r.Instance, ErrSignature)
	}
}

// Header looks at one request header. It is "" where the header is missing or
// stands there more than once.
func Header(name string) Look {
	return func(h http.Header, _ []byte) string { return one(h, name) }
}

// one is the value of a header that stands there exactly once.
func one(h http.Header, name string) string {
	if values := h.Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}

// credentialWords mark headers that carry a credential or a signature.
var credentialWords = []string{"authorization", "cookie", "signature", "hmac", "secret", "token", "api-key", "apikey", "password"}

// Credential says whether a header may carry a credential or a signature. Such
// headers are never kept with a delivery.
func Credential(header string) bool {
	name := strings.ToLower(header)
	for _, word := range credentialWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
