package wire

import "encoding/binary"

// The append functions write the protocol's types; flex says whether lengths are compact.

func appendInt16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func appendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func appendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func appendUvarint(b []byte, v int) []byte { return binary.AppendUvarint(b, uint64(v)) }

// appendLen writes the length of an array or of bytes; -1 = null.
func appendLen(b []byte, flex bool, n int) []byte {
	if flex {
		return appendUvarint(b, n+1)
	}
	return appendInt32(b, int32(n))
}

// maxString is the longest string that the old string form can carry.
const maxString = 1<<15 - 1

func appendString(b []byte, flex bool, s string) []byte {
	if len(s) > maxString {
		s = s[:maxString]
	}
	if flex {
		b = appendUvarint(b, len(s)+1)
	} else {
		b = appendInt16(b, int16(len(s)))
	}
	return append(b, s...)
}

// appendNullable writes a string, an empty one as null.
func appendNullable(b []byte, flex bool, s string) []byte {
	if s != "" {
		return appendString(b, flex, s)
	}
	if flex {
		return append(b, 0)
	}
	return appendInt16(b, -1)
}

// appendEndpoints writes the tag section that ends a response: empty, or tag 0 with the endpoints (KIP-951).
func appendEndpoints(b []byte, nodes []NodeEndpoint) []byte {
	if len(nodes) == 0 {
		return append(b, 0)
	}
	size := uvarintLen(len(nodes) + 1)
	for i := range nodes {
		size += nodes[i].size()
	}
	b = append(b, 1, 0)
	b = appendUvarint(b, size)
	b = appendUvarint(b, len(nodes)+1)
	for i := range nodes {
		n := &nodes[i]
		b = appendInt32(b, n.NodeID)
		b = appendString(b, true, n.Host)
		b = appendInt32(b, n.Port)
		b = appendNullable(b, true, n.Rack)
		b = append(b, 0)
	}
	return b
}

func (n *NodeEndpoint) size() int {
	host, rack := min(len(n.Host), maxString), min(len(n.Rack), maxString)
	size := 4 + uvarintLen(host+1) + host + 4 + 1 + 1
	if rack > 0 {
		size += uvarintLen(rack+1) + rack - 1
	}
	return size
}

func uvarintLen(v int) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
