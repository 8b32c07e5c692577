package record_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eventspine/spine/pkg/once/record"
)

func FuzzDecodeHeaders(f *testing.F) {
	f.Add(record.EncodeHeaders([]record.Header{{Key: "a"}, {Key: "", Value: []byte{}}, {Key: "b", Value: []byte("x")}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		headers, err := record.DecodeHeaders(b)
		if err != nil {
			return
		}
		again, err := record.DecodeHeaders(record.EncodeHeaders(headers))
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
	good := record.EncodeHeaders([]record.Header{{Key: "key", Value: []byte("value")}})
	for n := 1; n < len(good); n++ {
		if _, err := record.DecodeHeaders(good[:n]); err == nil {
			t.Errorf("the first %d bytes of %d were taken for headers", n, len(good))
		}
	}
}
