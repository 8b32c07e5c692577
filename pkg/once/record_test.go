package once

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzDecodeHeaders(f *testing.F) {
	f.Add(encodeHeaders([]Header{{Key: "a"}, {Key: "", Value: []byte{}}, {Key: "b", Value: []byte("x")}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		headers, err := decodeHeaders(b)
		if err != nil {
			return
		}
		again, err := decodeHeaders(encodeHeaders(headers))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(headers, again); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDamagedHeaders(t *testing.T) {
	t.Parallel()
	good := encodeHeaders([]Header{{Key: "key", Value: []byte("value")}})
	for n := 1; n < len(good); n++ {
		if _, err := decodeHeaders(good[:n]); err == nil {
			t.Errorf("the first %d bytes of %d were taken for headers", n, len(good))
		}
	}
}
