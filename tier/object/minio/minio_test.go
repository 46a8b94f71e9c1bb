package minio

import (
	"testing"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/internal/rest"
	"github.com/firnlog/firn/tier/object/objecttest"
)

func TestMain(m *testing.M) { objecttest.Main(m) }

func TestAcceptance(t *testing.T) {
	objecttest.RunS3(t, func(t *testing.T, at objecttest.S3) object.Store {
		s, err := Open(Config{Endpoint: at.Endpoint, Insecure: true, Bucket: at.Bucket, Prefix: at.Prefix, CredentialsFile: at.CredentialsFile,
			Parts: rest.Parts{Above: 8 << 20, Size: 5 << 20, Parallel: 3}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
