// Package open turns a store URL into a store: it knows the schemes and which package serves each, puts the
// retry policy and the metrics around what it opens, and refuses URLs that it does not understand in full, so
// that a misspelt parameter never silently means its default. It does not talk to the store; object.Probe does.
package open

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/object/internal/rest"
	"github.com/firnlog/firn/tier/object/minio"
	"github.com/firnlog/firn/tier/object/s3"
)

// Options of Open. The zero value is good.
type Options struct {
	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: no metrics

	// HTTP limits of the s3 and minio stores.
	MaxConnections int           // parallel connections to the store; 0: 64
	ConnectTimeout time.Duration // to connect, and for the TLS handshake; 0: 5 s
	HeaderTimeout  time.Duration // from the request sent to the first byte of the answer; 0: 30 s
	StallTimeout   time.Duration // a body that moves no byte for so long is given up; 0: 30 s

	Retry   object.RetryOptions // zero: the defaults
	NoRetry bool                // hand every error straight to the caller

	// ReadOnly is for whoever only looks: nothing is made, locked or changed by opening. A dir store must be there
	// already, and refuses Put, Delete and Now.
	ReadOnly bool
}

// Open gives the store that raw names:
//
//	dir:///path
//	s3://bucket/prefix?region=…&endpoint=…&profile=…&credentials=/file
//	minio://host:port/bucket/prefix?secure=false&region=…&profile=…&credentials=/file
//
// Errors are sentences for the person who wrote the URL; they never repeat a password.
func Open(ctx context.Context, raw string, o Options) (object.Store, error) {
	s, err := open(ctx, raw, o)
	if err != nil {
		return nil, fmt.Errorf("store URL: %w", err)
	}
	if !o.NoRetry {
		s = object.Retry(s, o.Retry)
	}
	return s, nil
}

func open(ctx context.Context, raw string, o Options) (object.Store, error) {
	u, err := parse(raw)
	if err != nil {
		return nil, err
	}
	var s object.Store
	switch u.scheme {
	case "dir":
		s, err = openDir(u, o)
	case "s3":
		s, err = openS3(ctx, u, o)
	case "minio":
		s, err = openMinIO(u, o)
	default:
		return nil, fmt.Errorf("scheme %q is not known: use dir:///path, s3://bucket/prefix or minio://host:port/bucket/prefix", u.scheme)
	}
	if err != nil {
		return nil, err
	}
	return object.Metered(s, u.scheme, o.Registerer), nil
}

func openDir(u *location, o Options) (object.Store, error) {
	if u.host != "" {
		return nil, fmt.Errorf("dir://%s%s names a host: a folder is written with three slashes, dir:///path", u.host, u.path)
	}
	if u.path == "" || u.path == "/" {
		return nil, fmt.Errorf("dir: has no path: use dir:///path/of/a/folder")
	}
	if err := u.done("dir"); err != nil {
		return nil, err
	}
	if o.ReadOnly {
		return dir.OpenReadOnly(u.path)
	}
	return dir.Open(u.path)
}

func (o Options) limits() rest.Limits {
	return rest.Limits{MaxConnections: o.MaxConnections, ConnectTimeout: o.ConnectTimeout,
		HeaderTimeout: o.HeaderTimeout, StallTimeout: o.StallTimeout}
}

func openS3(ctx context.Context, u *location, o Options) (object.Store, error) {
	c := s3.Config{Bucket: u.host, Prefix: u.path, Region: u.take("region"), Endpoint: u.take("endpoint"),
		Profile: u.take("profile"), CredentialsFile: u.take("credentials"), Limits: o.limits()}
	if err := u.done("s3"); err != nil {
		return nil, err
	}
	if c.Bucket == "" {
		return nil, fmt.Errorf("s3: has no bucket: use s3://bucket/prefix")
	}
	if c.Endpoint != "" {
		e, err := url.Parse(c.Endpoint)
		if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.RawQuery != "" {
			return nil, fmt.Errorf("endpoint: is not of the form https://host:port or http://host:port")
		}
		if e.User != nil {
			return nil, fmt.Errorf("endpoint: holds a user name or password: give credentials by environment, profile= or credentials=/file instead")
		}
	}
	if err := checkFile(c.CredentialsFile); err != nil {
		return nil, err
	}
	return s3.Open(ctx, c)
}

func openMinIO(u *location, o Options) (object.Store, error) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(u.path, "/"), "/")
	c := minio.Config{Endpoint: u.host, Bucket: bucket, Prefix: prefix, Region: u.take("region"),
		Profile: u.take("profile"), CredentialsFile: u.take("credentials"), Limits: o.limits()}
	switch v := u.take("secure"); v {
	case "", "true":
	case "false":
		c.Insecure = true
	default:
		return nil, fmt.Errorf("secure: is %q; allowed are true (HTTPS, the default) and false (plain HTTP)", v)
	}
	if err := u.done("minio"); err != nil {
		return nil, err
	}
	if c.Endpoint == "" || c.Bucket == "" {
		return nil, fmt.Errorf("minio: has no host or no bucket: use minio://host:port/bucket/prefix")
	}
	if err := checkFile(c.CredentialsFile); err != nil {
		return nil, err
	}
	return minio.Open(c)
}

// checkFile refuses a credentials file that is named relatively: relative to what, the next start may disagree.
func checkFile(name string) error {
	if name == "" {
		return nil
	}
	if !filepath.IsAbs(name) {
		return fmt.Errorf("credentials: is %q; it must be an absolute path", name)
	}
	if _, err := os.Stat(name); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	return nil
}

// location is a store URL in its parts; take removes a query parameter, done refuses those that remain.
type location struct {
	scheme, host, path string
	query              url.Values
	known              []string
}

func parse(raw string) (*location, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error quotes its input, which may hold a password: keep it out.
		return nil, fmt.Errorf("it cannot be parsed as a URL: use dir:///path, s3://bucket/prefix or minio://host:port/bucket/prefix")
	}
	if u.User != nil {
		return nil, fmt.Errorf("%s://…@%s holds a user name or password: give credentials by environment, profile= or credentials=/file instead", u.Scheme, u.Host)
	}
	if u.Fragment != "" || u.Opaque != "" {
		return nil, fmt.Errorf("%q is not of the form scheme://…: use dir:///path, s3://bucket/prefix or minio://host:port/bucket/prefix", u.Scheme+":")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("its query cannot be parsed: write ?name=value&name=value")
	}
	for name, values := range q {
		if len(values) > 1 {
			return nil, fmt.Errorf("parameter %q is given %d times: give it once", name, len(values))
		}
		if values[0] == "" {
			return nil, fmt.Errorf("parameter %q has no value: give one or leave it out", name)
		}
	}
	return &location{scheme: u.Scheme, host: u.Host, path: u.Path, query: q}, nil
}

func (l *location) take(name string) string {
	l.known = append(l.known, name)
	v := l.query.Get(name)
	l.query.Del(name)
	return v
}

func (l *location) done(scheme string) error {
	if len(l.query) == 0 {
		return nil
	}
	names := make([]string, 0, len(l.query))
	for n := range l.query {
		names = append(names, n)
	}
	sort.Strings(names)
	sort.Strings(l.known)
	allowed := "it takes none"
	if len(l.known) > 0 {
		allowed = "known are " + strings.Join(l.known, ", ")
	}
	return fmt.Errorf("parameter %q is not known for %s: %s", names[0], scheme, allowed)
}
