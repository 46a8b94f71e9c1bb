package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firnlog/firn/tier/object"
)

func client(l Limits) *http.Client { return &http.Client{Transport: NewTransport(l, nil)} }

// TestStalledBody: a body that stops coming ends with ErrStalled; the caller's context lives on.
func TestStalledBody(t *testing.T) {
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Write([]byte("some"))
		w.(http.Flusher).Flush()
		<-done
	}))
	defer srv.Close()
	defer close(done)
	resp, err := client(Limits{StallTimeout: 20 * time.Millisecond}).Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(Body(t.Context(), "k", resp.Body))
	if string(got) != "some" || !errors.Is(err, object.ErrUnavailable) || !strings.Contains(err.Error(), ErrStalled.Error()) {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestSlowReader: the time that the reader takes between reads is not the store's.
func TestSlowReader(t *testing.T) {
	limit := 20 * time.Millisecond
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1<<20)) }))
	defer srv.Close()
	resp, err := client(Limits{StallTimeout: limit}).Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	// A timer started after the read ended fires later than the limit would have: no sleep is asserted on.
	<-time.After(3 * limit)
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != 1<<20-10 {
		t.Fatalf("%d, %v", n, err)
	}
}

// closedEarly is a body whose WriteTo, once its bytes are gone, says io.EOF.
type closedEarly struct{ *bytes.Reader }

func (closedEarly) Close() error { return nil }

func (b closedEarly) WriteTo(w io.Writer) (int64, error) {
	if b.Len() == 0 {
		return 0, io.EOF
	}
	return b.Reader.WriteTo(w)
}

// TestBodyClosedEarly: the connection lives on.
func TestBodyClosedEarly(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer srv.Close()
	c := client(Limits{})
	for range 20 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, closedEarly{bytes.NewReader([]byte("abc"))})
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 3
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(got) != "abc" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// TestSilentServer: one that takes the request and says nothing, and one that does not even take the body.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // nothing accepts: the kernel completes connections and buffers some bytes
	c := client(Limits{HeaderTimeout: 20 * time.Millisecond, StallTimeout: 20 * time.Millisecond})
	for name, body := range map[string]io.Reader{"no answer": nil, "body not taken": bytes.NewReader(make([]byte, 64<<20))} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+l.Addr().String(), body)
		resp, err := c.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			t.Fatalf("%s: succeeded", name)
		}
		if f := Failure(t.Context(), "put", "k", Unconditional, Answer{Err: err}); !errors.Is(f, object.ErrUnavailable) {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestDate(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Tue, 01 Feb 2028 03:04:05 GMT")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer srv.Close()
	ctx, date := WithDate(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodHead, srv.URL, nil)
	resp, err := client(Limits{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got, ok := date.Time(); !ok || !got.Equal(time.Date(2028, 2, 1, 3, 4, 5, 0, time.UTC)) {
		t.Fatal(got, ok)
	}
}

func TestFailure(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		condition Condition
		answer    Answer
		want      error
	}{
		{Unconditional, Answer{Status: 404, Code: "NoSuchKey"}, object.ErrNotExist},
		{Unconditional, Answer{Status: 404}, object.ErrNotExist},
		{Unconditional, Answer{Status: 404, Code: "NoSuchBucket"}, object.ErrNoBucket},
		{IfMatch, Answer{Status: 404, Code: "NoSuchBucket"}, object.ErrNoBucket},
		{IfMatch, Answer{Status: 404, Code: "NoSuchKey"}, object.ErrPrecondition},
		{IfMatch, Answer{Status: 412, Code: "PreconditionFailed"}, object.ErrPrecondition},
		{IfNoneMatch, Answer{Status: 412, Code: "PreconditionFailed"}, object.ErrExists},
		{IfNoneMatch, Answer{Status: 409, Code: "ConditionalRequestConflict"}, object.ErrUnavailable},
		{IfNoneMatch, Answer{Status: 501, Code: "NotImplemented"}, object.ErrNoCondition},
		{Unconditional, Answer{Status: 501, Code: "NotImplemented"}, object.ErrUnavailable},
		{Unconditional, Answer{Status: 403}, object.ErrDenied},
		{Unconditional, Answer{Status: 403, Code: "SomethingNew"}, object.ErrDenied},
		{Unconditional, Answer{Status: 400, Code: "AuthorizationHeaderMalformed"}, object.ErrDenied},
		{Unconditional, Answer{Status: 503, Code: "SlowDown"}, object.ErrThrottled},
		{Unconditional, Answer{Status: 503, Code: "SlowDownWrite"}, object.ErrThrottled},
		{Unconditional, Answer{Status: 429}, object.ErrThrottled},
		{Unconditional, Answer{Status: 503}, object.ErrUnavailable},
		{Unconditional, Answer{Status: 500, Code: "InternalError"}, object.ErrUnavailable},
		{Unconditional, Answer{Status: 400, Code: "RequestTimeout"}, object.ErrUnavailable},
		{Unconditional, Answer{Status: 416, Code: "InvalidRange"}, object.ErrRange},
		{Unconditional, Answer{Status: 400, Code: "BadDigest"}, object.ErrChecksum},
		{Unconditional, Answer{Err: io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF},
		{Unconditional, Answer{Err: &net.OpError{Op: "dial", Err: other}}, object.ErrUnavailable},
		{Unconditional, Answer{Err: ErrNoCredentials}, object.ErrDenied},
	} {
		if c.answer.Err == nil {
			c.answer.Err = other
		}
		err := Failure(t.Context(), "put", "some/key", c.condition, c.answer)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "put some/key") {
			t.Errorf("%+v: %v, want %v", c.answer, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Failure(ctx, "get", "k", Unconditional, Answer{Err: other}); !errors.Is(err, context.Canceled) || object.Retriable(err) {
		t.Error(err)
	}
}

func TestSplit(t *testing.T) {
	for _, size := range []int64{1, 5 << 20, 5<<20 + 1, 64<<20 + 3, 5 << 40} {
		parts := Parts{Size: 5 << 20}.Split(size)
		next := int64(0)
		for i, p := range parts {
			if p.Number != i+1 || p.Offset != next || p.Size <= 0 || i < len(parts)-1 && p.Size < 5<<20 {
				t.Fatalf("%d: part %+v at %d", size, p, next)
			}
			next += p.Size
		}
		if next != size || len(parts) > maxParts {
			t.Fatalf("%d: %d parts to %d", size, len(parts), next)
		}
	}
}

// TestUploadFails: a part that fails ends the others and aborts, with a context that still lives.
func TestUploadFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	broken := errors.New("broken")
	aborted := false
	_, err := Upload[int]{
		Send: func(ctx context.Context, p Part, r *io.SectionReader) (int, error) {
			if p.Number == 2 {
				cancel()
				return 0, broken
			}
			return p.Number, nil
		},
		Complete: func(context.Context, []int) (object.Info, error) { t.Error("completed"); return object.Info{}, nil },
		Abort:    func(ctx context.Context) error { aborted = ctx.Err() == nil; return nil },
	}.Run(ctx, Parts{Size: 10, Parallel: 2}, bytes.NewReader(make([]byte, 100)), 100)
	if !errors.Is(err, broken) || !aborted {
		t.Fatal(err, aborted)
	}
}

// TestUploadInOrder: parts are completed in order, whatever order they arrive in, and hold the body.
func TestUploadInOrder(t *testing.T) {
	body := make([]byte, 95)
	for i := range body {
		body[i] = byte(i)
	}
	var mu sync.Mutex
	running, most := 0, 0
	info, err := Upload[[]byte]{
		Send: func(ctx context.Context, p Part, r *io.SectionReader) ([]byte, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			b, err := io.ReadAll(r)
			if crc, _ := object.CRC32C(bytes.NewReader(b), p.Size); crc != p.CRC32C {
				t.Errorf("part %d has another checksum", p.Number)
			}
			mu.Lock()
			running--
			mu.Unlock()
			return b, err
		},
		Complete: func(_ context.Context, parts [][]byte) (object.Info, error) {
			if !bytes.Equal(bytes.Join(parts, nil), body) {
				t.Error("the parts are not the body")
			}
			return object.Info{Size: 95}, nil
		},
		Abort: func(context.Context) error { t.Error("aborted"); return nil },
	}.Run(t.Context(), Parts{Size: 10, Parallel: 3}, bytes.NewReader(body), 95)
	if err != nil || info.Size != 95 || most > 3 {
		t.Fatal(info, err, most)
	}
}

func numbered(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%04d", i)
	}
	return keys
}

// TestDeleteBatches, I-20: more than a thousand keys go in several requests, per-key errors are kept, and a throttled
// batch, wholly or for one key, ends the run with the rest reported as throttled.
func TestDeleteBatches(t *testing.T) {
	for name, c := range map[string]struct {
		answer            func(n int, batch []string) (map[string]error, error)
		requests, remain  int
		throttled, denied int
	}{
		"all well": {func(int, []string) (map[string]error, error) { return nil, nil }, 3, 0, 0, 0},
		"one key denied": {func(n int, b []string) (map[string]error, error) {
			if n == 1 {
				return map[string]error{b[3]: object.ErrDenied}, nil
			}
			return nil, nil
		}, 3, 1, 0, 1},
		"one key throttled": {func(n int, b []string) (map[string]error, error) {
			if n == 2 {
				return map[string]error{b[3]: object.ErrThrottled}, nil
			}
			return nil, nil
		}, 2, 501, 501, 0},
		"second request throttled": {func(n int, b []string) (map[string]error, error) {
			if n == 2 {
				return nil, object.ErrThrottled
			}
			return nil, nil
		}, 2, 1500, 1500, 0},
	} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			err := Delete(t.Context(), numbered(2500), func(_ context.Context, batch []string) (map[string]error, error) {
				if len(batch) > 1000 {
					t.Errorf("%d keys in one request", len(batch))
				}
				requests++
				return c.answer(requests, batch)
			})
			var some *object.DeleteError
			if c.remain == 0 {
				if err != nil {
					t.Fatal(err)
				}
			} else if !errors.As(err, &some) || len(some.Failed) != c.remain {
				t.Fatalf("%v, want %d remaining", err, c.remain)
			}
			throttled, denied := 0, 0
			if some != nil {
				for _, e := range some.Failed {
					if errors.Is(e, object.ErrThrottled) {
						throttled++
					}
					if errors.Is(e, object.ErrDenied) {
						denied++
					}
				}
			}
			if requests != c.requests || throttled != c.throttled || denied != c.denied {
				t.Fatalf("%d requests, %d throttled, %d denied", requests, throttled, denied)
			}
		})
	}
}

// TestDeleteAnswer, I-20: what an answer does not mention is not taken for removed.
func TestDeleteAnswer(t *testing.T) {
	a := NewDeleteAnswer([]string{"gone", "slow", "never there", "unsaid"})
	a.Deleted("gone")
	a.Failed(t.Context(), "slow", "SlowDown", "Please reduce your request rate.")
	a.Failed(t.Context(), "never there", "NoSuchKey", "")
	left := a.Remaining()
	if len(left) != 2 || !errors.Is(left["slow"], object.ErrThrottled) || !errors.Is(left["unsaid"], object.ErrUnavailable) {
		t.Fatal(left)
	}
}
