package segment

import "math/bits"

// joinCRC gives the CRC-32C of a sequence of bytes from those of its two parts, the second of which has n bytes. Appending
// n bytes multiplies the first part's polynomial by x^(8n), so a chunk's checksum need not be computed once more for
// the object that it becomes part of.
func joinCRC(a, b uint32, n int64) uint32 {
	factor := xPower[0]
	for i, left := 3, uint64(n); left > 0; i, left = i+1, left>>1 {
		if left&1 == 1 {
			factor = times(factor, xPower[1+i])
		}
	}
	return times(factor, a) ^ b
}

// xPower holds 1 and then x^(2^i) for each i, modulo the polynomial, lowest power in the highest bit as in the CRC.
var xPower = func() (p [1 + 3 + 64]uint32) {
	p[0], p[1] = 1<<31, 1<<30
	for i := 2; i < len(p); i++ {
		p[i] = times(p[i-1], p[i-1])
	}
	return p
}()

// times multiplies two polynomials modulo that of CRC-32C.
func times(a, b uint32) (product uint32) {
	const polynomial = 0x82f63b78
	for ; a != 0; a <<= 1 {
		zeros := bits.LeadingZeros32(a) // b times x, so often
		for a <<= zeros; zeros > 0; zeros-- {
			b = b>>1 ^ polynomial&-(b&1)
		}
		product ^= b
		b = b>>1 ^ polynomial&-(b&1)
	}
	return product
}
