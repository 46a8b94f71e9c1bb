package s3

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/internal/rest"
)

// unsigned leaves the body out of the request's signature, which would mean reading it once more for its SHA-256:
// its CRC-32C stands in a signed header.
var unsigned = awss3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)

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
	none, match := conditions(o)
	out, err := s.client.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: &s.place.Bucket, Key: aws.String(s.place.Key(key)), Body: io.NewSectionReader(body, 0, size), ContentLength: &size,
		ChecksumCRC32C: aws.String(rest.Checksum(o.CRC32C)), IfNoneMatch: none, IfMatch: match,
	}, unsigned)
	if err != nil {
		return object.Info{}, fail(ctx, "put", key, rest.ConditionOf(o), err)
	}
	return object.Info{Key: key, Size: size, ETag: aws.ToString(out.ETag), CRC32C: o.CRC32C, HasCRC32C: true}, nil
}

func conditions(o object.PutOptions) (none, match *string) {
	if o.IfNoneMatch {
		none = aws.String("*")
	}
	if o.IfMatch != "" {
		match = aws.String(o.IfMatch)
	}
	return none, match
}

// putParts sends a large body in parts. The conditions, and the CRC-32C of the whole, are checked on completion.
func (s *Store) putParts(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	full := aws.String(s.place.Key(key))
	begun, err := s.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{
		Bucket: &s.place.Bucket, Key: full, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeFullObject,
	})
	if err != nil {
		return object.Info{}, fail(ctx, "put", key, rest.Unconditional, err)
	}
	none, match := conditions(o)
	upload := rest.Upload[types.CompletedPart]{
		Send: func(ctx context.Context, p rest.Part, r *io.SectionReader) (types.CompletedPart, error) {
			sum, number := rest.Checksum(p.CRC32C), int32(p.Number)
			out, err := s.client.UploadPart(ctx, &awss3.UploadPartInput{
				Bucket: &s.place.Bucket, Key: full, UploadId: begun.UploadId, PartNumber: &number,
				Body: r, ContentLength: &p.Size, ChecksumCRC32C: &sum,
			}, unsigned)
			if err != nil {
				return types.CompletedPart{}, fail(ctx, fmt.Sprintf("put part %d of", p.Number), key, rest.Unconditional, err)
			}
			return types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32C: &sum}, nil
		},
		Complete: func(ctx context.Context, parts []types.CompletedPart) (object.Info, error) {
			out, err := s.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
				Bucket: &s.place.Bucket, Key: full, UploadId: begun.UploadId, IfNoneMatch: none, IfMatch: match,
				ChecksumCRC32C: aws.String(rest.Checksum(o.CRC32C)), ChecksumType: types.ChecksumTypeFullObject, MpuObjectSize: &size,
				MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
			})
			if err != nil {
				return object.Info{}, fail(ctx, "put", key, rest.ConditionOf(o), err)
			}
			return object.Info{Key: key, Size: size, ETag: aws.ToString(out.ETag), CRC32C: o.CRC32C, HasCRC32C: true}, nil
		},
		Abort: func(ctx context.Context) error {
			_, err := s.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &s.place.Bucket, Key: full, UploadId: begun.UploadId})
			if err != nil {
				return fail(ctx, "abort", key, rest.Unconditional, err)
			}
			return nil
		},
	}
	return upload.Run(ctx, s.parts, body, size)
}
