//go:build race

package wire

// The race detector makes sync.Pool drop at random, so allocations can't be counted.
const allocsAllowed = 1 << 20
