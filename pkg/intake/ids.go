package intake

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

// A token that may stand in logs, headers and shells as it is.
var saneToken = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// correlation is the caller's X-Correlation-Id if it is a sane token, else a new one.
func correlation(h http.Header) string {
	if ids := h.Values("X-Correlation-Id"); len(ids) == 1 && saneToken.MatchString(ids[0]) {
		return ids[0]
	}
	return uuid.NewString()
}

// traceLaw is version 00 of W3C Trace Context, https://www.w3.org/TR/trace-context/.
var traceLaw = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$`)

// traceparent is the caller's trace if it is valid, else a new one.
func traceparent(h http.Header) string {
	if traces := h.Values("Traceparent"); len(traces) == 1 {
		m := traceLaw.FindStringSubmatch(traces[0])
		if m != nil && strings.Trim(m[1], "0") != "" && strings.Trim(m[2], "0") != "" {
			return traces[0]
		}
	}
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails, says its documentation
	return "00-" + hex.EncodeToString(id[:16]) + "-" + hex.EncodeToString(id[16:]) + "-01"
}
