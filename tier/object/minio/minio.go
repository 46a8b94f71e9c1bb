// Package minio is the object store in MinIO, by minio-go, MinIO's own client. It needs no more configuration than
// host and bucket: credentials come from MinIO's environment variables, Amazon's, or a file of either.
//
// Invariants: bodies are sent with their CRC-32C, which the server checks before it stores anything; a conditional
// put is conditional also when it goes up in parts; a body that ends early is an error.
//
// It deliberately does not retry (object.Retry does, with one policy for all stores), make buckets, or use
// versions, tags or storage classes.
package minio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	miniogo "github.com/minio/minio-go/v7"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/internal/rest"
)

// Config of a store. Endpoint and Bucket must be set.
type Config struct {
	Endpoint        string // host:port
	Insecure        bool   // plain HTTP
	Bucket, Prefix  string
	Region          string // "": us-east-1, MinIO's default
	Profile         string // an alias of mc's config.json or a profile of an AWS credentials file
	CredentialsFile string // of either form; "": the environment, then the usual places
	Limits          rest.Limits
	Parts           rest.Parts
}

// Store is a bucket and prefix.
type Store struct {
	client   miniogo.Core
	place    rest.Place
	parts    rest.Parts
	endpoint string
}

var _ object.Store = (*Store)(nil)

// Open makes the client; it reads the credentials but does not talk to the store.
func Open(c Config) (*Store, error) {
	place, err := rest.NewPlace(c.Bucket, c.Prefix)
	if err != nil {
		return nil, err
	}
	creds, err := findCredentials(c.Profile, c.CredentialsFile)
	if err != nil {
		return nil, err
	}
	if c.Region == "" {
		c.Region = "us-east-1" // named, so that the client need not ask for the bucket's region first
	}
	client, err := miniogo.NewCore(c.Endpoint, &miniogo.Options{
		Creds: creds, Secure: !c.Insecure, Region: c.Region, BucketLookup: miniogo.BucketLookupPath,
		Transport: rest.NewTransport(c.Limits, nil), MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Endpoint, err)
	}
	client.SetAppInfo("firn", "1")
	return &Store{client: *client, place: place, parts: c.Parts.WithDefaults(), endpoint: c.Endpoint}, nil
}

// URL is minio://host:port/bucket/prefix.
func (s *Store) URL() string { return "minio://" + s.endpoint + "/" + s.place.String() }

// fail maps an error of the client.
func fail(ctx context.Context, op, key string, c rest.Condition, err error) error {
	a := rest.Answer{Err: err}
	var refused miniogo.ErrorResponse
	if errors.As(err, &refused) {
		a.Status, a.Code, a.Message = refused.StatusCode, refused.Code, refused.Message
	}
	return rest.Failure(ctx, op, key, c, a)
}

// Get implements object.Store.
func (s *Store) Get(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	if err := object.CheckKey(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if err := rest.CheckRange(key, off, length); err != nil {
		return nil, err
	}
	if length == 0 {
		return rest.Empty(), ctx.Err()
	}
	var o miniogo.GetObjectOptions
	if h := rest.RangeHeader(off, length); h != "" {
		o.Set("Range", h)
	}
	body, info, _, err := s.client.GetObject(ctx, s.place.Bucket, s.place.Key(key), o)
	if err != nil {
		return nil, fail(ctx, "get", key, rest.Unconditional, err)
	}
	if length == -1 {
		length = info.Size // of this answer's body, not of the object
	}
	return object.ExactReader(rest.Body(ctx, key, body), length), nil
}

// Head implements object.Store.
func (s *Store) Head(ctx context.Context, key string) (object.Info, error) {
	if err := object.CheckKey(key); err != nil {
		return object.Info{}, fmt.Errorf("head: %w", err)
	}
	got, err := s.client.StatObject(ctx, s.place.Bucket, s.place.Key(key), miniogo.StatObjectOptions{Checksum: true})
	if err != nil {
		return object.Info{}, fail(ctx, "head", key, rest.Unconditional, err)
	}
	info := object.Info{Key: key, Size: got.Size, ETag: got.ETag, LastModified: got.LastModified}
	if got.ChecksumMode != "COMPOSITE" {
		info.CRC32C, info.HasCRC32C = rest.ParseChecksum(got.ChecksumCRC32C)
	}
	return info, nil
}

// List implements object.Store, a thousand keys a request.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(object.Info) error) error {
	o := miniogo.ListObjectsOptions{Prefix: s.place.Key(prefix), Recursive: true, FetchOwner: new(bool)}
	if after != "" {
		o.StartAfter = s.place.Key(after)
	}
	for got := range s.client.ListObjectsIter(ctx, s.place.Bucket, o) {
		if got.Err != nil {
			return fail(ctx, "list", prefix, rest.Unconditional, got.Err)
		}
		key, ok := s.place.Strip(got.Key)
		if !ok || strings.HasSuffix(key, "/") {
			continue // an empty folder made by hand
		}
		err := fn(object.Info{Key: key, Size: got.Size, ETag: got.ETag, LastModified: got.LastModified})
		if errors.Is(err, object.ErrStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	// The iterator just ends when ctx does.
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	return nil
}

// Delete implements object.Store.
func (s *Store) Delete(ctx context.Context, keys []string) error {
	for _, k := range keys {
		if err := object.CheckKey(k); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	return rest.Delete(ctx, keys, s.deleteBatch)
}

// deleteBatch sends one request: the client makes batches of a thousand itself, but goes straight on after one that
// was throttled.
func (s *Store) deleteBatch(ctx context.Context, keys []string) (map[string]error, error) {
	in := make(chan miniogo.ObjectInfo, len(keys))
	for _, k := range keys {
		in <- miniogo.ObjectInfo{Key: s.place.Key(k)}
	}
	close(in)
	answer := rest.NewDeleteAnswer(keys)
	var whole error
	for r := range s.client.RemoveObjectsWithResult(ctx, s.place.Bucket, in, miniogo.RemoveObjectsOptions{}) {
		key, ok := s.place.Strip(r.ObjectName)
		var refused miniogo.ErrorResponse
		switch {
		case r.Err == nil && ok:
			answer.Deleted(key)
		case errors.As(r.Err, &refused) && refused.StatusCode == 0 && ok && r.ObjectName != "":
			answer.Failed(ctx, key, refused.Code, refused.Message)
		case r.Err != nil: // of the request, though the client reports it key by key
			whole = fail(ctx, "delete", "", rest.Unconditional, r.Err)
		}
	}
	if whole != nil {
		return nil, whole
	}
	return answer.Remaining(), nil
}

// Now implements object.Store by the Date of an answer, in whole seconds.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	ctx, date := rest.WithDate(ctx)
	_, err := s.client.BucketExists(ctx, s.place.Bucket)
	if t, ok := date.Time(); ok { // a refusal has a date as well
		return t, nil
	}
	if err == nil {
		return time.Time{}, fmt.Errorf("the answer of %s has no Date", s.URL())
	}
	return time.Time{}, fail(ctx, "read the clock", "", rest.Unconditional, err)
}
