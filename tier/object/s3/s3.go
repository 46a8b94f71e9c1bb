// Package s3 is the object store in Amazon S3 and what speaks like it, by aws-sdk-go-v2: credentials come from the
// SDK's own chain (environment, profile, shared files, web identity, container and instance roles).
//
// Invariants: bodies are sent with their CRC-32C, which the service checks before it stores anything; a conditional
// put is conditional also when it goes up in parts; a body that ends early is an error.
//
// It deliberately does not retry (object.Retry does, with one policy for all stores), make buckets, or use
// versions, tags or storage classes.
package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/internal/rest"
)

// Config of a store. Only Bucket must be set.
type Config struct {
	Bucket, Prefix  string
	Region          string // "": what environment and profile say
	Endpoint        string // "": Amazon's; otherwise http(s)://host:port, addressed by path
	Profile         string // of the shared config and credentials files
	CredentialsFile string // instead of the usual shared credentials file, and before the environment
	Limits          rest.Limits
	Parts           rest.Parts
}

// Store is a bucket and prefix.
type Store struct {
	client *awss3.Client
	place  rest.Place
	parts  rest.Parts
}

var _ object.Store = (*Store)(nil)

// Open makes the client; it reads configuration files but does not talk to the store.
func Open(ctx context.Context, c Config) (*Store, error) {
	place, err := rest.NewPlace(c.Bucket, c.Prefix)
	if err != nil {
		return nil, err
	}
	sdk, err := load(ctx, c)
	if err != nil {
		return nil, err
	}
	client := awss3.NewFromConfig(sdk, func(o *awss3.Options) {
		o.HTTPClient = &http.Client{Transport: rest.NewTransport(c.Limits, trust(sdk)), CheckRedirect: noRedirect}
		o.Retryer = aws.NopRetryer{}
		o.Logger = logging.Nop{}
		// Bodies carry the CRC-32C that we compute; what is read back has checksums of its own, chunk by chunk.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
			o.UsePathStyle = true
		}
	})
	return &Store{client: client, place: place, parts: c.Parts.WithDefaults()}, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// load runs the SDK's configuration chain.
func load(ctx context.Context, c Config) (aws.Config, error) {
	var options []func(*config.LoadOptions) error
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	profile := c.Profile
	if c.CredentialsFile != "" {
		// The SDK passes over a file that is not there, and takes the environment before any file unless a profile
		// is named.
		if _, err := os.Stat(c.CredentialsFile); err != nil {
			return aws.Config{}, fmt.Errorf("credentials file: %w", err)
		}
		options = append(options, config.WithSharedCredentialsFiles([]string{c.CredentialsFile}))
		if profile == "" {
			profile = "default"
		}
	}
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	sdk, err := config.LoadDefaultConfig(ctx, options...)
	var missing config.SharedConfigProfileNotExistError
	switch {
	case errors.As(err, &missing):
		return aws.Config{}, fmt.Errorf("%w: there is no profile %q in the shared AWS files or the credentials file", object.ErrDenied, profile)
	case err != nil:
		return aws.Config{}, fmt.Errorf("AWS configuration: %w", err)
	case sdk.Region == "" && c.Endpoint == "":
		return aws.Config{}, fmt.Errorf("no region is known for bucket %s: put region= into the store URL or set AWS_REGION", c.Bucket)
	case sdk.Region == "":
		sdk.Region = "us-east-1" // what services with an endpoint of their own sign for unless they say otherwise
	}
	return sdk, nil
}

// trust takes the certificates of AWS_CA_BUNDLE from the client that the SDK made for itself.
func trust(sdk aws.Config) *tls.Config {
	if b, ok := sdk.HTTPClient.(*awshttp.BuildableClient); ok {
		return b.GetTransport().TLSClientConfig
	}
	return nil
}

// URL is s3://bucket/prefix.
func (s *Store) URL() string { return "s3://" + s.place.String() }

// fail maps an error of the SDK.
func fail(ctx context.Context, op, key string, c rest.Condition, err error) error {
	a := rest.Answer{Err: err}
	var api smithy.APIError
	if errors.As(err, &api) {
		a.Code, a.Message = api.ErrorCode(), api.ErrorMessage()
	}
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil {
		a.Status = resp.HTTPStatusCode()
	}
	if a.Status >= 200 && a.Status < 300 && a.Code == "" {
		a.Status = 0 // an answer that could not be read
	}
	if a.Status == 0 && a.Code == "" && strings.Contains(err.Error(), "get identity") {
		a.Err = fmt.Errorf("%w in environment, profile, files or role (%w)", rest.ErrNoCredentials, err)
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
	in := &awss3.GetObjectInput{Bucket: &s.place.Bucket, Key: aws.String(s.place.Key(key))}
	if h := rest.RangeHeader(off, length); h != "" {
		in.Range = &h
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, fail(ctx, "get", key, rest.Unconditional, err)
	}
	if length == -1 {
		length = aws.ToInt64(out.ContentLength)
	}
	return object.ExactReader(rest.Body(ctx, key, out.Body), length), nil
}

// Head implements object.Store.
func (s *Store) Head(ctx context.Context, key string) (object.Info, error) {
	if err := object.CheckKey(key); err != nil {
		return object.Info{}, fmt.Errorf("head: %w", err)
	}
	out, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{
		Bucket: &s.place.Bucket, Key: aws.String(s.place.Key(key)), ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return object.Info{}, fail(ctx, "head", key, rest.Unconditional, err)
	}
	info := object.Info{Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), LastModified: aws.ToTime(out.LastModified)}
	if out.ChecksumType != types.ChecksumTypeComposite {
		info.CRC32C, info.HasCRC32C = rest.ParseChecksum(aws.ToString(out.ChecksumCRC32C))
	}
	return info, nil
}

// List implements object.Store, a thousand keys a request.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(object.Info) error) error {
	in := &awss3.ListObjectsV2Input{Bucket: &s.place.Bucket, Prefix: aws.String(s.place.Key(prefix))}
	if after != "" {
		in.StartAfter = aws.String(s.place.Key(after))
	}
	pages := awss3.NewListObjectsV2Paginator(s.client, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fail(ctx, "list", prefix, rest.Unconditional, err)
		}
		for _, o := range page.Contents {
			key, ok := s.place.Strip(aws.ToString(o.Key))
			if !ok {
				continue
			}
			err := fn(object.Info{Key: key, Size: aws.ToInt64(o.Size), ETag: aws.ToString(o.ETag), LastModified: aws.ToTime(o.LastModified)})
			if errors.Is(err, object.ErrStop) {
				return nil
			}
			if err != nil {
				return err
			}
		}
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

func (s *Store) deleteBatch(ctx context.Context, keys []string) (map[string]error, error) {
	ids := make([]types.ObjectIdentifier, len(keys))
	for i, k := range keys {
		ids[i] = types.ObjectIdentifier{Key: aws.String(s.place.Key(k))}
	}
	// Not Quiet: each key must be confirmed, so that an answer which is cut short is not taken for success.
	out, err := s.client.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: &s.place.Bucket, Delete: &types.Delete{Objects: ids}})
	if err != nil {
		return nil, fail(ctx, "delete", "", rest.Unconditional, err)
	}
	answer := rest.NewDeleteAnswer(keys)
	for _, d := range out.Deleted {
		if k, ok := s.place.Strip(aws.ToString(d.Key)); ok {
			answer.Deleted(k)
		}
	}
	for _, e := range out.Errors {
		if k, ok := s.place.Strip(aws.ToString(e.Key)); ok {
			answer.Failed(ctx, k, aws.ToString(e.Code), aws.ToString(e.Message))
		}
	}
	return answer.Remaining(), nil
}

// Now implements object.Store by the Date of an answer, in whole seconds.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	ctx, date := rest.WithDate(ctx)
	_, err := s.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &s.place.Bucket})
	if t, ok := date.Time(); ok { // a refusal has a date as well
		return t, nil
	}
	if err == nil {
		return time.Time{}, fmt.Errorf("the answer of %s has no Date", s.URL())
	}
	return time.Time{}, fail(ctx, "read the clock", "", rest.Unconditional, err)
}
