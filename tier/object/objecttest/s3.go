package objecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/firnlog/firn/tier/object"
)

// S3 says where a test's S3 service is.
type S3 struct {
	Endpoint        string // host:port, plain HTTP
	Bucket, Prefix  string
	CredentialsFile string
}

// OpenS3 opens the store under test; its large bodies must go up in parts of 5 MiB.
type OpenS3 func(t *testing.T, at S3) object.Store

// RunS3 tests a store that speaks S3: the suite in a bucket and below a prefix of MinIO, and what a service does only
// when it is overloaded or broken.
func RunS3(t *testing.T, open OpenS3) {
	t.Run("bucket", func(t *testing.T) {
		run(t, threePages, func(t *testing.T) object.Store { return open(t, Shared(t).at("")) })
	})
	t.Run("prefix", func(t *testing.T) {
		Run(t, func(t *testing.T) object.Store { return open(t, Shared(t).at("some/prefix & more/")) })
	})
	t.Run("bulk delete throttled I-20", func(t *testing.T) { bulkDeleteThrottled(t, open) })
	t.Run("answers", func(t *testing.T) { answers(t, open) })
	t.Run("half a body", func(t *testing.T) { halfABody(t, open) })
	t.Run("failed parts are aborted", func(t *testing.T) { failedPartsAreAborted(t, open) })
}

func (b *Bucket) at(prefix string) S3 {
	return S3{Endpoint: b.Endpoint, Bucket: b.Bucket, Prefix: prefix, CredentialsFile: b.CredentialsFile}
}

// fake is a service that answers as the test says, for what a real one does only under load.
func fake(t *testing.T, open OpenS3, answer http.HandlerFunc) object.Store {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, S3{Endpoint: strings.TrimPrefix(srv.URL, "http://"), Bucket: "bucket", Prefix: "p", CredentialsFile: file})
}

// bulkDeleteThrottled, I-20: an answer 200 with SlowDown for some keys, or with some keys missing, leaves those keys
// to be asked for again, and no further batch is sent.
func bulkDeleteThrottled(t *testing.T, open OpenS3) {
	var requests atomic.Int64
	s := fake(t, open, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><DeleteResult>`)
		for i := range 1000 {
			switch {
			case i == 7:
				fmt.Fprintf(w, "<Error><Key>p/k%04d</Key><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>", i)
			case i != 8:
				fmt.Fprintf(w, "<Deleted><Key>p/k%04d</Key></Deleted>", i)
			}
		}
		fmt.Fprint(w, "</DeleteResult>")
	})
	keys := make([]string, 2500)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%04d", i)
	}
	err := s.Delete(t.Context(), keys)
	var some *object.DeleteError
	if !errors.As(err, &some) || len(some.Failed) != 1502 || !errors.Is(some.Failed["k0007"], object.ErrThrottled) || !object.Retriable(some.Failed["k0008"]) {
		t.Fatalf("%v", err)
	}
	if !errors.Is(err, object.ErrThrottled) || requests.Load() != 1 {
		t.Fatalf("%d requests, %v", requests.Load(), err)
	}
}

// answers: what a service says when it is overloaded or broken.
func answers(t *testing.T, open OpenS3) {
	refuse := func(status int, code string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			if r.Method != http.MethodHead && code != "" {
				fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>so it is</Message></Error>`, code)
			}
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"SlowDown":      {refuse(503, "SlowDown"), object.ErrThrottled},
		"InternalError": {refuse(500, "InternalError"), object.ErrUnavailable},
		"bare 502":      {refuse(502, ""), object.ErrUnavailable},
		"AccessDenied":  {refuse(403, "AccessDenied"), object.ErrDenied},
		"NoSuchBucket":  {refuse(404, "NoSuchBucket"), object.ErrNoBucket},
		"hangs up":      {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, object.ErrUnavailable},
		"cut XML answer": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `<?xml version="1.0"?><ListBucketResult><Contents><Key>a`)
		}, object.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := fake(t, open, c.answer)
			err := s.List(t.Context(), "", "", func(object.Info) error { return nil })
			if !errors.Is(err, c.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("List: %v", err)
			}
			if name == "cut XML answer" {
				return
			}
			_, err = s.Get(t.Context(), "k", 0, -1)
			if !errors.Is(err, c.want) {
				t.Errorf("Get: %v", err)
			}
			_, err = s.Put(t.Context(), "k", strings.NewReader("abc"), 3, object.PutOptions{})
			if !errors.Is(err, c.want) {
				t.Errorf("Put: %v", err)
			}
		})
	}
}

// halfABody: a connection that ends early, after an honest length, is an error and never an end.
func halfABody(t *testing.T, open OpenS3) {
	for name, handler := range map[string]http.HandlerFunc{
		"announced": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Header().Set("Last-Modified", "Tue, 01 Feb 2028 03:04:05 GMT")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte("half"))
		},
		"shorter than asked": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "4")
			w.Header().Set("Last-Modified", "Tue, 01 Feb 2028 03:04:05 GMT")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte("half"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := fake(t, open, handler).Get(t.Context(), "k", 10, 100)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(r); string(got) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

// failedPartsAreAborted: a large Put that loses on completion, or whose body breaks, leaves no parts behind.
func failedPartsAreAborted(t *testing.T, open OpenS3) {
	b := Shared(t)
	s := open(t, b.at(""))
	body := Body(1, 12<<20)
	if _, err := s.Put(t.Context(), "k", strings.NewReader("x"), 1, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "k", bytes.NewReader(body), int64(len(body)), object.PutOptions{IfNoneMatch: true}); !errors.Is(err, object.ErrExists) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Put(ctx, "cancelled", cancelAt{bytes.NewReader(body), cancel}, int64(len(body)), object.PutOptions{HasCRC32C: true})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, key := range []string{"k", "cancelled"} {
		if n, err := b.IncompleteUploads(t.Context(), b.Bucket, key); err != nil || n != 0 {
			t.Errorf("%s: %d uploads left, %v", key, n, err)
		}
	}
}

// cancelAt ends a context when the body's second half is read.
type cancelAt struct {
	*bytes.Reader
	cancel func()
}

func (c cancelAt) ReadAt(p []byte, off int64) (int, error) {
	if off > c.Size()/2 {
		c.cancel()
	}
	return c.Reader.ReadAt(p, off)
}
