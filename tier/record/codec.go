package record

import "strconv"

// Codec is a batch's compression, numbered as in its attributes.
type Codec int8

// The codecs that Kafka has.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2 // Kafka's clients write the xerial framing, some others raw snappy: both are read
	LZ4    Codec = 3 // the frame format
	Zstd   Codec = 4 // KIP-110
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// Known reports whether the codec exists.
func (c Codec) Known() bool { return c >= None && c <= Zstd }

// String gives the name that Kafka's config compression.type uses.
func (c Codec) String() string {
	if !c.Known() {
		return "codec " + strconv.Itoa(int(c))
	}
	return codecNames[c]
}

// ParseCodec reads what String writes.
func ParseCodec(name string) (Codec, bool) {
	for i, n := range codecNames {
		if n == name {
			return Codec(i), true
		}
	}
	return None, false
}
