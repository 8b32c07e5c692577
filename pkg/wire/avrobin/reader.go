package avrobin

import (
	"math"
	"math/bits"
	"unicode/utf8"
	"unsafe"

	"github.com/hamba/avro/v2"
)

// Reader reads one record. It is reusable, and not safe for concurrent use.
type Reader struct {
	trail
	raw  *avro.Reader
	data []byte
	text string // data once more: strings are parts of it, at one allocation for all
	pos  int    // as raw's own, which it doesn't tell
}

// NewReader makes a Reader; Reset gives it a record.
func NewReader() *Reader { return &Reader{raw: avro.NewReader(nil, 0)} }

// Reset begins a record. The strings that are read from it share one copy of data;
// who keeps one of them for long clones it.
func (r *Reader) Reset(data []byte) { r.reset(data, string(data)) }

// resetOwned is Reset for data that nobody will change, without the copy.
func (r *Reader) resetOwned(data []byte) {
	r.reset(data, unsafe.String(unsafe.SliceData(data), len(data))) //nolint:gosec // data is never written again
}

func (r *Reader) reset(data []byte, text string) {
	r.trail.reset()
	r.raw.Reset(data)
	r.raw.Error = nil
	r.data, r.text, r.pos = data, text, 0
}

// At names the field that is read next, for the error.
func (r *Reader) At(field string) *Reader {
	r.steps[r.depth].field = field
	return r
}

// Enter begins a record inside the field that At named.
func (r *Reader) Enter() bool { return r.enter() }

// Leave ends what Enter began.
func (r *Reader) Leave() { r.leave() }

// Finish ends the record: the first error, or that bytes are left over.
func (r *Reader) Finish() error {
	if r.err == nil {
		if r.raw.Peek(); r.pos != len(r.data) || r.raw.Error == nil {
			r.steps[0], r.depth = step{}, 0
			r.fail(ErrMalformed, "%d bytes are left over", len(r.data)-r.pos)
		}
	}
	err := r.err
	r.reset(nil, "")
	return err
}

// left is the number of bytes that are not read yet.
func (r *Reader) left() int { return len(r.data) - r.pos }

// long reads a number. hamba drops bits that don't fit and takes padded forms, and it
// doesn't say how many bytes it took; so the form is checked here.
func (r *Reader) long() int64 {
	if r.err != nil {
		return 0
	}
	v := r.raw.ReadLong()
	if r.raw.Error != nil {
		r.fail(ErrMalformed, "the record ends inside a number, or the number overflows")
		return 0
	}
	zigzag := uint64(v)<<1 ^ uint64(v>>63)
	size := max(1, (bits.Len64(zigzag)+6)/7)
	if r.left() < size || r.data[r.pos+size-1] != byte(zigzag>>(7*(size-1))) {
		r.fail(ErrMalformed, "a number is not in its shortest form, or overflows")
		return 0
	}
	r.pos += size
	return v
}

// take passes over n bytes.
func (r *Reader) take(n int) bool {
	if r.err != nil {
		return false
	}
	if n > r.left() {
		r.fail(ErrMalformed, "%d bytes are missing", n-r.left())
		return false
	}
	r.raw.SkipNBytes(n)
	r.pos += n
	return true
}

// size reads a length in bytes and checks it against what is left.
func (r *Reader) size() int {
	n := r.long()
	if n < 0 || n > int64(r.left()) {
		r.fail(ErrMalformed, "length %d, with %d bytes left", n, r.left())
		return 0
	}
	return int(n)
}

// index reads the number of a union branch or enum symbol.
func (r *Reader) index(count int, what string) int {
	n := r.long()
	if n < 0 || n >= int64(count) {
		r.fail(ErrMalformed, "%s %d of %d", what, n, count)
		return 0
	}
	return int(n)
}

// bytes reads a length and that many bytes; they are part of the record.
func (r *Reader) bytes() []byte {
	n := r.size()
	if !r.take(n) {
		return nil
	}
	return r.data[r.pos-n : r.pos]
}

func (r *Reader) string() string {
	n := r.size()
	if !r.take(n) {
		return ""
	}
	s := r.text[r.pos-n : r.pos]
	if !utf8.ValidString(s) {
		r.fail(ErrMalformed, "string is not UTF-8")
		return ""
	}
	return s
}

func (r *Reader) bool() bool {
	if r.err != nil {
		return false
	}
	if r.left() == 0 || r.data[r.pos] > 1 {
		r.fail(ErrMalformed, "want a boolean: 0 or 1")
		return false
	}
	r.pos++
	return r.raw.ReadBool()
}

func (r *Reader) double() float64 {
	if r.err != nil {
		return 0
	}
	if r.left() < 8 {
		r.fail(ErrMalformed, "%d bytes are missing", 8-r.left())
		return 0
	}
	r.pos += 8
	return r.number(r.raw.ReadDouble())
}

func (r *Reader) float() float32 {
	if r.err != nil {
		return 0
	}
	if r.left() < 4 {
		r.fail(ErrMalformed, "%d bytes are missing", 4-r.left())
		return 0
	}
	r.pos += 4
	v := r.raw.ReadFloat()
	r.number(float64(v))
	return v
}

func (r *Reader) number(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		r.fail(ErrMalformed, "%v is no number", v)
	}
	return v
}

// block reads the head of the next block of an array or map whose elements take at
// least so many bytes each. It answers the count, 0 at the end, and where the block
// ends, -1 if it doesn't say.
func (r *Reader) block(least int) (count, end int) {
	n, end := r.long(), -1
	if n < 0 {
		if n == math.MinInt64 {
			r.fail(ErrMalformed, "block of %d elements", n)
			return 0, end
		}
		n = -n // the size follows
		size := r.size()
		end = r.pos + size
	}
	if r.err != nil || n == 0 && end < 0 {
		return 0, end
	}
	if n > MaxElements || !r.charge(int(n)) {
		r.fail(ErrLimit, "more than %d elements in one record", MaxElements)
		return 0, end
	}
	if n == 0 || int(n)*least > r.left() {
		r.fail(ErrMalformed, "block of %d elements, with %d bytes left", n, r.left())
		return 0, end
	}
	return int(n), end
}

// blockEnd checks that a block was as long as it said.
func (r *Reader) blockEnd(end int) {
	if r.err == nil && end >= 0 && r.pos != end {
		r.fail(ErrMalformed, "a block is %d bytes longer or shorter than it says", end-r.pos)
	}
}
