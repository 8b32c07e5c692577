package avrobin

import (
	"maps"
	"math"
	"math/big"
	"slices"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/hamba/avro/v2"

	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/money"
)

// Writer writes one record. It is reusable, and not safe for concurrent use.
type Writer struct {
	trail
	raw *avro.Writer
}

// NewWriter makes a Writer.
func NewWriter() *Writer { return &Writer{raw: avro.NewWriter(nil, 1024)} }

// Reset begins a record.
func (w *Writer) Reset() {
	w.reset()
	w.raw.Reset(nil)
}

// At names the field that is written next, for the error.
func (w *Writer) At(field string) *Writer {
	w.steps[w.depth].field = field
	return w
}

// Enter begins a record inside the field that At named.
func (w *Writer) Enter() bool { return w.enter() }

// Leave ends what Enter began.
func (w *Writer) Leave() { w.leave() }

// Finish ends the record: its bytes, which stand until the next Reset, or the first
// error.
func (w *Writer) Finish() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	return w.raw.Buffer(), nil
}

// PutString writes a string, which is UTF-8.
func PutString(v *string, w *Writer) {
	if !utf8.ValidString(*v) {
		w.fail(ErrValue, "string is not UTF-8")
	}
	if w.err == nil {
		w.raw.WriteString(*v)
	}
}

// PutUUID writes a string of logical type uuid.
func PutUUID(v *string, w *Writer) {
	if !validUUID(*v) {
		w.fail(ErrValue, "%.40q is no UUID in lower case", *v)
	}
	PutString(v, w)
}

// PutBytes writes bytes.
func PutBytes(v *[]byte, w *Writer) {
	if w.err == nil && w.reserve(len(*v)) {
		w.raw.WriteBytes(*v)
	}
}

// PutBool writes a boolean.
func PutBool(v *bool, w *Writer) {
	if w.err == nil {
		w.raw.WriteBool(*v)
	}
}

// PutInt writes an int.
func PutInt(v *int32, w *Writer) {
	if w.err == nil {
		w.raw.WriteInt(*v)
	}
}

// PutLong writes a long.
func PutLong(v *int64, w *Writer) {
	if w.err == nil {
		w.raw.WriteLong(*v)
	}
}

// PutFloat writes a float; NaN and infinity are errors.
func PutFloat(v *float32, w *Writer) {
	if w.number(float64(*v)) {
		w.raw.WriteFloat(*v)
	}
}

// PutDouble writes a double; NaN and infinity are errors.
func PutDouble(v *float64, w *Writer) {
	if w.number(*v) {
		w.raw.WriteDouble(*v)
	}
}

func (w *Writer) number(v float64) bool {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		w.fail(ErrValue, "%v is no number", v)
	}
	return w.err == nil
}

// PutTime writes a long of logical type timestamp-micros. A time that is not set,
// and one that is not exact in microseconds, are errors.
func PutTime(v *time.Time, w *Writer) {
	switch {
	case w.err != nil:
	case v.IsZero():
		w.fail(ErrValue, "time is not set")
	case v.Nanosecond()%1000 != 0:
		w.fail(ErrValue, "time %s is not exact in microseconds", v.Format(time.RFC3339Nano))
	case v.UTC().Year() < 1 || v.UTC().Year() > 9999:
		w.fail(ErrValue, "time %s is not in the years 1 to 9999", v.Format(time.RFC3339Nano))
	default:
		w.raw.WriteLong(v.UnixMicro())
	}
}

// PutDate writes an int of logical type date. A date that no calendar has is an error.
func PutDate(v *event.Date, w *Writer) {
	days := v.Days()
	if v.Year < 1 || v.Year > 9999 || event.DateFromDays(days) != *v {
		w.fail(ErrValue, "%04d-%02d-%02d is no date", v.Year, v.Month, v.Day)
	}
	if w.err == nil {
		w.raw.WriteInt(int32(days))
	}
}

// PutDecimal writes bytes of logical type decimal, in as few as possible. A value
// that is not exact at the scale is an error, never rounded.
func PutDecimal(v *money.Decimal, w *Writer, precision, scale int) {
	if w.err != nil {
		return
	}
	units, err := v.Units(scale)
	if err == nil && (precision >= 19 || units < pow10[precision] && units > -pow10[precision]) {
		var buf [8]byte
		n := 0
		for shift := 56; shift >= 0; shift -= 8 {
			// A byte is needed once it says more than the sign of the byte after it.
			if rest := units >> max(shift-1, 0); n > 0 || shift == 0 || rest != 0 && rest != -1 {
				buf[n] = byte(units >> shift)
				n++
			}
		}
		w.raw.WriteLong(int64(n))
		_, _ = w.raw.Write(buf[:n]) // appends to memory
		return
	}
	large, err := v.BigUnits(scale)
	switch {
	case err != nil:
		w.fail(ErrValue, "%s is not exact at %d decimal places", v.String(), scale)
	case !fits(large, precision):
		w.fail(ErrValue, "%s has more than %d digits", v.String(), precision)
	case w.reserve(64):
		w.raw.WriteBytes(twosComplement(large))
	}
}

func twosComplement(u *big.Int) []byte {
	n := u.BitLen()/8 + 1
	if u.Sign() < 0 {
		u = new(big.Int).Add(u, new(big.Int).Lsh(big.NewInt(1), uint(8*n)))
	}
	return u.FillBytes(make([]byte, n))
}

// PutEnum writes an enum with these symbols.
func PutEnum[T ~string](v *T, w *Writer, symbols ...T) {
	for i := range symbols {
		if symbols[i] == *v {
			if w.err == nil {
				w.raw.WriteInt(int32(i))
			}
			return
		}
	}
	if *v == "" {
		w.fail(ErrValue, "enum is not set")
		return
	}
	w.fail(ErrValue, "%.40q is not among the symbols of the enum", string(*v))
}

// PutNull writes the union ["null", T].
func PutNull[T any](v *T, w *Writer, put func(*T, *Writer)) {
	if w.err != nil {
		return
	}
	if v == nil {
		w.raw.WriteLong(0)
		return
	}
	w.raw.WriteLong(1)
	if w.reserve(int(unsafe.Sizeof(*v))) {
		put(v, w)
	}
}

// PutArray writes an array as one block.
func PutArray[T any](v []T, w *Writer, put func(*T, *Writer)) {
	if !w.enter() || !w.charge(len(v)) || !w.reserve(len(v)*int(unsafe.Sizeof(*new(T)))) {
		return
	}
	if len(v) > 0 {
		w.raw.WriteLong(int64(len(v)))
		for i := range v {
			w.steps[w.depth] = step{index: i + 1}
			put(&v[i], w)
			if w.err != nil {
				return
			}
		}
	}
	w.raw.WriteLong(0)
	w.leave()
}

// PutMap writes a map as one block, sorted by key.
func PutMap[T any](v map[string]T, w *Writer, put func(*T, *Writer)) {
	if !w.enter() || !w.charge(len(v)) || !w.reserve(len(v)*2*(mapEntry+int(unsafe.Sizeof(*new(T))))) {
		return
	}
	if len(v) > 0 {
		w.raw.WriteLong(int64(len(v)))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			w.steps[w.depth] = step{field: key}
			PutString(&key, w)
			value := v[key]
			put(&value, w)
			if w.err != nil {
				return
			}
		}
	}
	w.raw.WriteLong(0)
	w.leave()
}
