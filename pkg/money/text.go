package money

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// String is the shortest plain text: "19.9" for 19.90, "-0.5", "0".
func (d Decimal) String() string { return d.Text(0) }

// Text shows at least the given number of decimal places: Text(2) of 19.9 is
// "19.90". Digits are never dropped: Text(2) of 0.125 is "0.125".
func (d Decimal) Text(places int) string {
	var text string
	if d.big != nil {
		text = d.big.String()
	} else {
		text = strconv.FormatInt(d.units, 10)
	}
	text, negative := strings.CutPrefix(text, "-")
	scale := int(d.scale)
	if missing := scale + 1 - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	whole, fraction := text[:len(text)-scale], text[len(text)-scale:]
	if missing := places - scale; missing > 0 {
		fraction += strings.Repeat("0", missing)
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative {
		return "-" + whole
	}
	return whole
}

// MarshalText is String.
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is Parse.
func (d *Decimal) UnmarshalText(b []byte) error {
	parsed, err := Parse(string(b))
	if err == nil {
		*d = parsed
	}
	return err
}

// MarshalJSON is a string, because most readers of JSON numbers are binary floats.
func (d Decimal) MarshalJSON() ([]byte, error) { return []byte(`"` + d.String() + `"`), nil }

// UnmarshalJSON reads a string or a number literal, by its digits: 0.1 is one tenth.
// An exponent, as in 1e5, and null are errors.
func (d *Decimal) UnmarshalJSON(b []byte) error {
	text := string(b)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(b, &text); err != nil {
			return fmt.Errorf("decimal %.80s: %w", b, err)
		}
	}
	return d.UnmarshalText([]byte(text))
}
