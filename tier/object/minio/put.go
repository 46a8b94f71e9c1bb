package minio

import (
	"context"
	"fmt"
	"io"
	"net/http"

	miniogo "github.com/minio/minio-go/v7"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/internal/rest"
)

const (
	headerCRC32C       = "X-Amz-Checksum-Crc32c"
	headerAlgorithm    = "X-Amz-Checksum-Algorithm"
	headerChecksumType = "X-Amz-Checksum-Type"
	headerObjectSize   = "X-Amz-Mp-Object-Size"
)

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	if err := object.CheckKey(key); err != nil {
		return object.Info{}, fmt.Errorf("put: %w", err)
	}
	if o.IfNoneMatch && o.IfMatch != "" {
		return object.Info{}, fmt.Errorf("put %s: IfNoneMatch and IfMatch exclude each other", key)
	}
	if !o.HasCRC32C {
		crc, err := object.CRC32C(body, size)
		if err != nil {
			return object.Info{}, fmt.Errorf("put %s: read the body: %w", key, err)
		}
		o.CRC32C, o.HasCRC32C = crc, true
	}
	if size > s.parts.Above {
		return s.putParts(ctx, key, body, size, o)
	}
	options := putOptions(o)
	options.UserMetadata = map[string]string{headerCRC32C: rest.Checksum(o.CRC32C)}
	got, err := s.client.PutObject(ctx, s.place.Bucket, s.place.Key(key), io.NewSectionReader(body, 0, size), size, "", "", options)
	if err != nil {
		return object.Info{}, fail(ctx, "put", key, rest.ConditionOf(o), err)
	}
	return object.Info{Key: key, Size: size, ETag: got.ETag, CRC32C: o.CRC32C, HasCRC32C: true}, nil
}

// putOptions leaves the body out of the request's signature, which would mean reading it for its SHA-256: its CRC-32C
// stands in a signed header.
func putOptions(o object.PutOptions) miniogo.PutObjectOptions {
	options := miniogo.PutObjectOptions{DisableContentSha256: true}
	if o.IfNoneMatch {
		options.SetMatchETagExcept("*")
	}
	if o.IfMatch != "" {
		options.SetMatchETag(o.IfMatch)
	}
	return options
}

// putParts sends a large body in parts. The conditions, and the CRC-32C of the whole, are checked on completion.
func (s *Store) putParts(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	full := s.place.Key(key)
	id, err := s.client.NewMultipartUpload(ctx, s.place.Bucket, full, miniogo.PutObjectOptions{
		UserMetadata: map[string]string{headerAlgorithm: "CRC32C", headerChecksumType: "FULL_OBJECT"},
	})
	if err != nil {
		return object.Info{}, fail(ctx, "put", key, rest.Unconditional, err)
	}
	upload := rest.Upload[miniogo.CompletePart]{
		Send: func(ctx context.Context, p rest.Part, r *io.SectionReader) (miniogo.CompletePart, error) {
			header := http.Header{}
			header.Set(headerCRC32C, rest.Checksum(p.CRC32C))
			got, err := s.client.PutObjectPart(ctx, s.place.Bucket, full, id, p.Number, r, p.Size,
				miniogo.PutObjectPartOptions{CustomHeader: header, DisableContentSha256: true})
			if err != nil {
				return miniogo.CompletePart{}, fail(ctx, fmt.Sprintf("put part %d of", p.Number), key, rest.Unconditional, err)
			}
			return miniogo.CompletePart{PartNumber: p.Number, ETag: got.ETag, ChecksumCRC32C: rest.Checksum(p.CRC32C)}, nil
		},
		Complete: func(ctx context.Context, parts []miniogo.CompletePart) (object.Info, error) {
			options := putOptions(o)
			options.UserMetadata = map[string]string{headerCRC32C: rest.Checksum(o.CRC32C), headerChecksumType: "FULL_OBJECT",
				headerObjectSize: fmt.Sprint(size)}
			got, err := s.client.CompleteMultipartUpload(ctx, s.place.Bucket, full, id, parts, options)
			if err != nil {
				return object.Info{}, fail(ctx, "put", key, rest.ConditionOf(o), err)
			}
			return object.Info{Key: key, Size: size, ETag: got.ETag, CRC32C: o.CRC32C, HasCRC32C: true}, nil
		},
		Abort: func(ctx context.Context) error {
			if err := s.client.AbortMultipartUpload(ctx, s.place.Bucket, full, id); err != nil {
				return fail(ctx, "abort", key, rest.Unconditional, err)
			}
			return nil
		},
	}
	return upload.Run(ctx, s.parts, body, size)
}
