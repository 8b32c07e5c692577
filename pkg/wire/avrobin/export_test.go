package avrobin

// Rest is what a Reader has before it.
func Rest(r *Reader) []byte { return r.data[r.pos:] }
