package record

// The zigzag varints of records. These readers take a slice and give back the rest; ok is false when the bytes
// end too early or the number has more bits than its type.

func readVarint(b []byte) (v int32, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 { // most are one byte long
		u := b[0]
		return int32(u>>1) ^ -int32(u&1), b[1:], true
	}
	return readLongVarint(b)
}

func readLongVarint(b []byte) (v int32, rest []byte, ok bool) {
	var u uint32
	for i := 0; i < 5 && i < len(b); i++ {
		c := b[i]
		if i == 4 && c > 0x0f {
			break
		}
		u |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return int32(u>>1) ^ -int32(u&1), b[i+1:], true
		}
	}
	return 0, b, false
}

func readVarlong(b []byte) (v int64, rest []byte, ok bool) {
	var u uint64
	for i := 0; i < 10 && i < len(b); i++ {
		c := b[i]
		if i == 9 && c > 0x01 {
			break
		}
		u |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), b[i+1:], true
		}
	}
	return 0, b, false
}

// appendVarint writes both sizes: a varint is a varlong that is small.
func appendVarint(b []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	for u >= 0x80 {
		b = append(b, byte(u)|0x80)
		u >>= 7
	}
	return append(b, byte(u))
}

func sizeVarint(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
