//go:build race

package nowait

const race = true
