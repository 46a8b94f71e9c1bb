package wire

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Header is a request header of any version: 0 (ControlledShutdown 0 only), 1, or 2 (flexible).
type Header struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      []byte // aliases the frame; nil = null
	Body          []byte // what follows; empty for a version that is not known
}

// flexibleFrom is the first flexible version of each key by kmsg's tables.
var flexibleFrom = func() (from [kmsg.MaxKey + 1]int16) {
	const never = 0x7fff
	for key := range from {
		from[key] = never
		m := kmsg.RequestForKey(int16(key))
		if m == nil {
			continue
		}
		for v := int16(0); v <= m.MaxVersion(); v++ {
			m.SetVersion(v)
			if m.IsFlexible() {
				from[key] = v
				break
			}
		}
	}
	return from
}()

// IsFlexible reports whether a version of a key has compact lengths and tagged fields (KIP-482). Versions beyond those
// known count as the newest known; unknown keys are not flexible.
func IsFlexible(key, version int16) bool {
	return key >= 0 && int(key) < len(flexibleFrom) && version >= flexibleFrom[key]
}

// flexibleResponseHeader: the answer to ApiVersions has the old header always, since a client reads it before it knows
// what the broker speaks (KIP-511).
func flexibleResponseHeader(key, version int16) bool {
	return key != KeyApiVersions && IsFlexible(key, version)
}

// ParseHeader parses the header of a request: the frame without its length prefix.
//
// For a key that kmsg does not know only the first eight bytes are read, since the shape of the rest is unknown:
// Client id and Body are empty then. The caller looks at Key and Version first.
func ParseHeader(frame []byte) (Header, error) {
	r := reader{b: frame}
	h := Header{Key: r.int16(), Version: r.int16(), CorrelationID: r.int32()}
	if r.failed {
		return h, fmt.Errorf("%w: %d bytes are too few for a request header", ErrMalformed, len(frame))
	}
	if h.Key < 0 || int(h.Key) >= len(flexibleFrom) {
		return h, nil
	}
	if h.Key == 7 && h.Version == 0 { // ControlledShutdown 0 has no client id
		h.Body = r.b
		return h, nil
	}
	h.ClientID, _ = r.nullable(false)
	if IsFlexible(h.Key, h.Version) {
		r.skipTags()
	}
	h.Body = r.b
	return h, r.err("request header")
}
