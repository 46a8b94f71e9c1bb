package s3

import (
	"testing"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/internal/rest"
	"github.com/firnlog/firn/tier/object/objecttest"
)

func TestMain(m *testing.M) { objecttest.Main(m) }

// parts make the suite's large bodies go up in parts.
var parts = rest.Parts{Above: 8 << 20, Size: 5 << 20, Parallel: 3}

func open(t *testing.T, b *objecttest.Bucket, prefix string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Endpoint: "http://" + b.Endpoint, Bucket: b.Bucket, Prefix: prefix,
		CredentialsFile: b.CredentialsFile, Parts: parts})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAcceptance(t *testing.T) {
	t.Run("bucket", func(t *testing.T) {
		objecttest.Run(t, func(t *testing.T) object.Store { return open(t, objecttest.Shared(t), "") })
	})
	t.Run("prefix", func(t *testing.T) {
		objecttest.Run(t, func(t *testing.T) object.Store { return open(t, objecttest.Shared(t), "some/prefix & more/") })
	})
}
