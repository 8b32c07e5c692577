package producer

import (
	"encoding/json"
	"errors"
)

// ErrSignature says that a request does not prove that it comes from the source.
var ErrSignature = errors.New("signature missing, wrong or too old")

// DecodeJSON reads one JSON document into v.
func DecodeJSON(body []byte, v any) error { return json.Unmarshal(body, v) }
