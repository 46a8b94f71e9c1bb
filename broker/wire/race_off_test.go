//go:build !race

package wire

const allocsAllowed = 0
