package avrobin

import (
	"math/big"
	"time"
	"unsafe"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
)

// The range of times and dates: the years 1 to 9999, which RFC 3339 can write.
const (
	minMicros = -62_135_596_800_000_000
	maxMicros = 253_402_300_799_999_999
)

const microsPerDay = int64(24 * time.Hour / time.Microsecond)

// GetString reads a string.
func GetString(v *string, r *Reader) { *v = r.string() }

// GetUUID reads a string of logical type uuid (RFC 9562, lower case).
func GetUUID(v *string, r *Reader) {
	*v = r.string()
	if r.err == nil && !validUUID(*v) {
		r.fail(ErrMalformed, "%.40q is no UUID in lower case", *v)
	}
}

// GetBytes reads bytes. The slice is the caller's own.
func GetBytes(v *[]byte, r *Reader) {
	b := r.bytes()
	if len(b) == 0 {
		*v = nil
		return
	}
	if r.reserve(len(b)) {
		*v = append([]byte(nil), b...)
	}
}

// GetBool reads a boolean.
func GetBool(v *bool, r *Reader) { *v = r.bool() }

// GetInt reads an int.
func GetInt(v *int32, r *Reader) { *v = r.int() }

func (r *Reader) int() int32 {
	n := r.long()
	if n != int64(int32(n)) {
		r.fail(ErrMalformed, "int %d is out of range", n)
		return 0
	}
	return int32(n)
}

// GetLong reads a long.
func GetLong(v *int64, r *Reader) { *v = r.long() }

// GetFloat reads a float; NaN and infinity are errors.
func GetFloat(v *float32, r *Reader) { *v = r.float() }

// GetDouble reads a double; NaN and infinity are errors.
func GetDouble(v *float64, r *Reader) { *v = r.double() }

// GetTime reads a long of logical type timestamp-micros, as UTC.
func GetTime(v *time.Time, r *Reader) {
	n := r.long()
	if n <= minMicros || n > maxMicros { // the first instant is Go's "not set"
		r.fail(ErrMalformed, "time %d µs is not in the years 1 to 9999", n)
	}
	if r.err == nil {
		*v = time.UnixMicro(n).UTC()
	}
}

// GetDate reads an int of logical type date.
func GetDate(v *event.Date, r *Reader) {
	n := int64(r.int())
	if n*microsPerDay < minMicros || n*microsPerDay > maxMicros {
		r.fail(ErrMalformed, "date %d is not in the years 1 to 9999", n)
	}
	if r.err == nil {
		*v = event.DateFromDays(int(n))
	}
}

// GetDecimal reads bytes of logical type decimal.
func GetDecimal(v *money.Decimal, r *Reader, precision, scale int) {
	b := r.bytes()
	if r.err != nil {
		return
	}
	if len(b) == 0 || len(b) > maxDecimal {
		r.fail(ErrMalformed, "decimal of %d bytes", len(b))
		return
	}
	if len(b) <= 8 {
		units := int64(int8(b[0]))
		for _, c := range b[1:] {
			units = units<<8 | int64(c)
		}
		if precision < 19 && (units >= pow10[precision] || units <= -pow10[precision]) {
			r.fail(ErrMalformed, "decimal has more than %d digits", precision)
			return
		}
		*v = money.FromUnits(units, scale)
		return
	}
	units := new(big.Int).SetBytes(b)
	if b[0] >= 0x80 {
		units.Sub(units, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if !fits(units, precision) {
		r.fail(ErrMalformed, "decimal has more than %d digits", precision)
		return
	}
	if r.reserve(64) {
		*v = money.FromBig(units, scale)
	}
}

// GetEnum reads an enum with these symbols.
func GetEnum[T ~string](v *T, r *Reader, symbols ...T) {
	if i := r.index(len(symbols), "enum symbol"); r.err == nil {
		*v = symbols[i]
	}
}

// GetNull reads the union ["null", T].
func GetNull[T any](v **T, r *Reader, get func(*T, *Reader)) {
	*v = nil
	if r.index(2, "union branch") == 0 || r.err != nil || !r.reserve(int(unsafe.Sizeof(**v))) {
		return
	}
	*v = new(T)
	get(*v, r)
}

// GetArray reads an array whose elements take at least so many bytes each. An empty
// array is nil.
func GetArray[T any](v *[]T, r *Reader, least int, get func(*T, *Reader)) {
	*v = nil
	if !r.enter() {
		return
	}
	var all []T
	for {
		count, end := r.block(least)
		if count == 0 {
			break
		}
		from := len(all)
		if all = grow(all, count, r); r.err != nil {
			return
		}
		for i := from; i < len(all) && r.err == nil; i++ {
			r.steps[r.depth] = step{index: i + 1}
			get(&all[i], r)
		}
		r.blockEnd(end)
	}
	if r.err == nil {
		r.leave()
		*v = all
	}
}

// grow makes room for count more elements. While elements move, both places count.
func grow[T any](all []T, count int, r *Reader) []T {
	n := len(all) + count
	if n <= cap(all) {
		return all[:n]
	}
	size := int(unsafe.Sizeof(*new(T)))
	room := max(n, len(all)+len(all)/2)
	if !r.reserve(room * size) {
		return nil
	}
	larger := make([]T, n, room)
	copy(larger, all)
	r.memory -= cap(all) * size
	return larger
}

// mapEntry is about what an entry of a Go map takes beside its value.
const mapEntry = 64

// GetMap reads a map whose values take at least so many bytes each. A key that comes
// twice is an error. An empty map is nil.
func GetMap[T any](v *map[string]T, r *Reader, least int, get func(*T, *Reader)) {
	*v = nil
	if !r.enter() {
		return
	}
	var all map[string]T
	for {
		count, end := r.block(least + 1)
		if count == 0 {
			break
		}
		if !r.reserve(count * 2 * (mapEntry + int(unsafe.Sizeof(*new(T))))) {
			return
		}
		if all == nil {
			all = make(map[string]T, count)
		}
		for i := 0; i < count && r.err == nil; i++ {
			key := r.string()
			r.steps[r.depth] = step{field: key}
			if _, twice := all[key]; twice {
				r.fail(ErrMalformed, "key comes twice")
				return
			}
			var value T
			get(&value, r)
			all[key] = value
		}
		r.blockEnd(end)
	}
	if r.err == nil {
		r.leave()
		*v = all
	}
}

// pow10 holds 10^n for every n that fits; it is never written.
var pow10 = [19]int64{
	1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
}

// fits tells whether a number has at most that many digits.
func fits(units *big.Int, precision int) bool {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	return units.CmpAbs(limit) < 0
}

func validUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
