package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/firnlog/firn/tier/object/objecttest"
)

// archiveCases are the cases that read from the archive or write to it.
func archiveCases() []Case { return nil }

// archive is a MinIO server of the bench's own.
type archive struct {
	server *objecttest.MinIO
	bucket string
	url    string
}

func startArchive(dir string) (*archive, error) {
	server, err := objecttest.StartMinIO(filepath.Join(dir, "minio"))
	if err != nil {
		return nil, err
	}
	bucket, err := server.NewBucket(context.Background(), "bench")
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &archive{server: server, bucket: bucket, url: server.URL("minio", bucket, "")}, nil
}

// Stop ends the server.
func (a *archive) Stop() { _ = a.server.Close() }
