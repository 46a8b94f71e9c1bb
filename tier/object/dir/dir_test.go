package dir

import (
	"testing"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/objecttest"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestAcceptance(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return open(t) })
}
