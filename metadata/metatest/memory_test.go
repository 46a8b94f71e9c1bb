package metatest

import (
	"testing"

	"github.com/firnlog/firn/metadata"
)

func TestMemory(t *testing.T) {
	Suite(t, func(*testing.T) (metadata.Store, func() metadata.Store) { return NewMemory(), nil })
}
