package rest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/firnlog/firn/tier/object"
)

// Answer is what a service said when it refused a request, as either client library gives it. Status 0 means that
// there was no answer, and Err says why.
type Answer struct {
	Status  int
	Code    string
	Message string
	Err     error // never nil
}

// Failure puts an answer into the words of the seam. The result wraps one of package object's errors where one fits,
// and the context's own error when ctx has ended.
func Failure(ctx context.Context, op, key string, conditional Condition, a Answer) error {
	what := strings.TrimSpace(op + " " + key)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	kind := classify(conditional, a)
	text := reason(a)
	switch {
	case kind == nil:
		return fmt.Errorf("%s: %s", what, text)
	case errors.Is(a.Err, io.ErrUnexpectedEOF) && !errors.Is(kind, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: %w: %w: %s", what, kind, io.ErrUnexpectedEOF, text)
	}
	return fmt.Errorf("%s: %w: %s", what, kind, text)
}

// ErrNoUpload is wrapped when a multipart upload is not there (any more).
var ErrNoUpload = fmt.Errorf("%w: the multipart upload is gone", object.ErrUnavailable)

// ErrNoCredentials is wrapped when a client library found no credentials to sign with.
var ErrNoCredentials = errors.New("no credentials found")

// Condition is what a request was conditional on.
type Condition int

// The conditions of a request.
const (
	Unconditional Condition = iota
	IfNoneMatch
	IfMatch
)

// ConditionOf gives the condition of a Put.
func ConditionOf(o object.PutOptions) Condition {
	switch {
	case o.IfNoneMatch:
		return IfNoneMatch
	case o.IfMatch != "":
		return IfMatch
	}
	return Unconditional
}

// reason is the short text of an answer, with advice for those that people meet while they set up a store.
func reason(a Answer) string {
	text := a.Code
	if a.Message != "" && a.Message != a.Code {
		text = strings.TrimSpace(text + " (" + a.Message + ")")
	}
	if a.Status == 0 || text == "" {
		text = a.Err.Error()
	} else {
		text = fmt.Sprintf("HTTP %d %s", a.Status, text)
	}
	if advice := advice(a); advice != "" {
		text += ": " + advice
	}
	return text
}

func advice(a Answer) string {
	switch a.Code {
	case "RequestTimeTooSkewed":
		return "this machine's clock and the store's differ; set this one"
	case "InvalidAccessKeyId":
		return "the store does not know this access key"
	case "SignatureDoesNotMatch":
		return "the secret key does not belong to the access key"
	case "ExpiredToken", "ExpiredTokenException":
		return "the session has ended; get new credentials"
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "IllegalLocationConstraintException":
		return "the bucket is in another region; put region= into the store URL"
	}
	if a.Status == http.StatusMovedPermanently {
		return "the bucket is in another region; put region= into the store URL"
	}
	if a.Status == 0 && a.Err != nil {
		switch text := a.Err.Error(); {
		case strings.Contains(text, "server gave HTTP response to HTTPS client"):
			return "the endpoint speaks plain HTTP; use secure=false (minio) or an http:// endpoint (s3)"
		case strings.Contains(text, "x509:"):
			return "the endpoint's certificate is not trusted here"
		case strings.Contains(text, "no such host"):
			return "the endpoint's name does not resolve"
		}
	}
	return ""
}

var byCode = map[string]error{
	"NoSuchKey": object.ErrNotExist, "NotFound": object.ErrNotExist,
	"NoSuchBucket": object.ErrNoBucket, "XMinioInvalidBucketName": object.ErrNoBucket, "InvalidBucketName": object.ErrNoBucket,

	"AccessDenied": object.ErrDenied, "AllAccessDisabled": object.ErrDenied, "AccountProblem": object.ErrDenied,
	"InvalidAccessKeyId": object.ErrDenied, "SignatureDoesNotMatch": object.ErrDenied, "ExpiredToken": object.ErrDenied,
	"ExpiredTokenException": object.ErrDenied, "InvalidToken": object.ErrDenied, "RequestTimeTooSkewed": object.ErrDenied,
	"AuthorizationHeaderMalformed": object.ErrDenied, "PermanentRedirect": object.ErrDenied, "InvalidRegion": object.ErrDenied,
	"MovedPermanently": object.ErrDenied, "IllegalLocationConstraintException": object.ErrDenied, "Forbidden": object.ErrDenied,

	"SlowDown": object.ErrThrottled, "SlowDownRead": object.ErrThrottled, "SlowDownWrite": object.ErrThrottled,
	"Throttling": object.ErrThrottled, "ThrottlingException": object.ErrThrottled, "RequestLimitExceeded": object.ErrThrottled,
	"RequestThrottled": object.ErrThrottled, "TooManyRequests": object.ErrThrottled, "BandwidthLimitExceeded": object.ErrThrottled,
	"TooManyRequestsException": object.ErrThrottled, "ProvisionedThroughputExceededException": object.ErrThrottled,

	"InvalidRange": object.ErrRange,

	"BadDigest": object.ErrChecksum, "InvalidDigest": object.ErrChecksum, "XAmzContentChecksumMismatch": object.ErrChecksum,
	"XAmzContentSHA256Mismatch": object.ErrChecksum,

	"IncompleteBody": io.ErrUnexpectedEOF,

	"InternalError": object.ErrUnavailable, "ServiceUnavailable": object.ErrUnavailable, "RequestTimeout": object.ErrUnavailable,
	"OperationAborted": object.ErrUnavailable, "ConditionalRequestConflict": object.ErrUnavailable,
	// The upload is gone: a lost answer to its completion, or somebody's lifecycle rule. Beginning anew is right in
	// both cases, and a conditional put that has happened after all then finds itself.
	"NoSuchUpload": ErrNoUpload,
}

func classify(c Condition, a Answer) error {
	if a.Status == 0 && a.Code == "" {
		return noAnswer(a.Err)
	}
	switch {
	case a.Code == "PreconditionFailed" || a.Status == http.StatusPreconditionFailed:
		if c == IfMatch {
			return object.ErrPrecondition
		}
		return object.ErrExists
	case c == IfMatch && (a.Code == "NoSuchKey" || a.Status == http.StatusNotFound && a.Code != "NoSuchBucket"):
		return object.ErrPrecondition // an object that is gone has changed
	case c != Unconditional && (a.Code == "NotImplemented" || a.Status == http.StatusNotImplemented):
		return object.ErrNoCondition
	}
	if err, ok := byCode[a.Code]; ok {
		return err
	}
	return byStatus(a.Status)
}

// byStatus is for codes that we do not know and answers without one, such as those to HEAD.
func byStatus(status int) error {
	switch {
	case status == http.StatusNotFound:
		return object.ErrNotExist
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusMovedPermanently:
		return object.ErrDenied
	case status == http.StatusTooManyRequests:
		return object.ErrThrottled
	case status == http.StatusRequestedRangeNotSatisfiable:
		return object.ErrRange
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status >= 500:
		return object.ErrUnavailable
	}
	return nil
}

// noAnswer is for requests that failed on the way, and answers that could not be read.
func noAnswer(err error) error {
	var (
		syntax  *xml.SyntaxError
		network net.Error
		reached *url.Error
	)
	switch {
	case errors.Is(err, ErrNoCredentials):
		return object.ErrDenied
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, ErrStalled), errors.Is(err, io.EOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNREFUSED),
		errors.As(err, &syntax), errors.As(err, &network), errors.As(err, &reached),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		// The last two: a limit inside the client ended, not the caller's context, which was looked at before.
		return object.ErrUnavailable
	}
	return nil
}

// Body maps the errors of reading a body into the words of the seam.
func Body(ctx context.Context, key string, r io.ReadCloser) io.ReadCloser {
	return &body{ctx: ctx, key: key, ReadCloser: r}
}

type body struct {
	ctx context.Context
	key string
	io.ReadCloser
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = Failure(b.ctx, "read", b.key, Unconditional, Answer{Err: err})
	}
	return n, err
}
