// Package objecttest is the acceptance suite that every object store passes, and the MinIO server that tests run
// against. Only tests import it.
package objecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firnlog/firn/tier/object"
)

// Run tests a store. open gives an empty one each time it is called (a bucket or prefix of its own); what it holds
// afterwards is of no interest.
func Run(t *testing.T, open func(t *testing.T) object.Store) {
	many := twoPages
	if Full() {
		many = threePages
	}
	run(t, many, open)
}

// run is Run with the number of objects of the test that lists and deletes in bulk.
func run(t *testing.T, many int, open func(t *testing.T) object.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s object.Store)
	}{
		{"round trip", roundTrip},
		{"empty object", emptyObject},
		{"overwrite", overwrite},
		{"ranges", ranges},
		{"missing object", missing},
		{"head", head},
		{"odd keys", oddKeys},
		{"refused keys", refusedKeys},
		{"bad range", badRange},
		{"checksum", checksum},
		{"short body", shortBody},
		{"put if none match", ifNoneMatch},
		{"put if none match, racing", raceIfNoneMatch},
		{"put if match", ifMatch},
		{"put if match, racing", raceIfMatch},
		{"large object", large},
		{"large object, conditional", largeConditional},
		{"list order and paging, delete many I-20", func(t *testing.T, s object.Store) { listAndDelete(t, s, many) }},
		{"list by prefix", listPrefix},
		{"list stops", listStops},
		{"delete", remove},
		{"cancelled", cancelled},
		{"concurrent use", concurrent},
		{"clock", clock},
		{"probe", probe},
		{"URL", urlHoldsNoSecret},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Full says whether tests run at full length (`make e2e`).
func Full() bool { return os.Getenv("FIRN_E2E_FULL") == "1" }

// Body gives n bytes that depend on seed.
func Body(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func put(t *testing.T, s object.Store, key string, body []byte, o object.PutOptions) object.Info {
	t.Helper()
	info, err := tryPut(t.Context(), s, key, body, o)
	if err != nil {
		t.Fatalf("Put(%q, %d bytes): %v", key, len(body), err)
	}
	if info.Key != key || info.Size != int64(len(body)) || info.ETag == "" {
		t.Fatalf("Put(%q, %d bytes) = %+v", key, len(body), info)
	}
	return info
}

func tryPut(ctx context.Context, s object.Store, key string, body []byte, o object.PutOptions) (object.Info, error) {
	return s.Put(ctx, key, bytes.NewReader(body), int64(len(body)), o)
}

func get(t *testing.T, s object.Store, key string, off, length int64) []byte {
	t.Helper()
	b, err := object.ReadAll(t.Context(), s, key, off, length, 1<<30)
	if err != nil {
		t.Fatalf("Get(%q, %d, %d): %v", key, off, length, err)
	}
	return b
}

func want(t *testing.T, s object.Store, key string, body []byte) {
	t.Helper()
	if got := get(t, s, key, 0, -1); !bytes.Equal(got, body) {
		t.Fatalf("%q has %d other bytes than the %d that were put", key, len(got), len(body))
	}
}

func is(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s = %v, want %v", what, err, target)
	}
}

func list(t *testing.T, s object.Store, prefix, after string) []string {
	t.Helper()
	keys := []string{}
	err := s.List(t.Context(), prefix, after, func(i object.Info) error {
		keys = append(keys, i.Key)
		return nil
	})
	if err != nil {
		t.Fatalf("List(%q, %q): %v", prefix, after, err)
	}
	return keys
}

func wantKeys(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %d keys %.300q, want %d keys %.300q", what, len(got), got, len(want), want)
	}
}

func roundTrip(t *testing.T, s object.Store) {
	body := Body(1, 100_000)
	put(t, s, "a/b/c", body, object.PutOptions{})
	want(t, s, "a/b/c", body)
}

func emptyObject(t *testing.T, s object.Store) {
	put(t, s, "empty", nil, object.PutOptions{})
	want(t, s, "empty", nil)
	info, err := s.Head(t.Context(), "empty")
	if err != nil || info.Size != 0 {
		t.Fatalf("Head = %+v, %v", info, err)
	}
	_, err = s.Get(t.Context(), "empty", 1, -1)
	is(t, "Get beyond the end", err, object.ErrRange)
}

func overwrite(t *testing.T, s object.Store) {
	a := put(t, s, "k", []byte("first, and longer"), object.PutOptions{})
	b := put(t, s, "k", []byte("second"), object.PutOptions{})
	want(t, s, "k", []byte("second"))
	if a.ETag == b.ETag {
		t.Fatalf("two contents have one ETag %s", a.ETag)
	}
}

func ranges(t *testing.T, s object.Store) {
	const size = 10_000
	body := Body(2, size)
	put(t, s, "k", body, object.PutOptions{})
	for _, r := range [][2]int64{{0, 1}, {0, size}, {1, 10}, {size - 1, 1}, {size - 10, 10}, {size - 10, -1}, {0, -1}, {1, -1}, {5000, 0}} {
		end := r[0] + r[1]
		if r[1] == -1 {
			end = size
		}
		if got := get(t, s, "k", r[0], r[1]); !bytes.Equal(got, body[r[0]:end]) {
			t.Fatalf("Get(%d, %d) has other bytes", r[0], r[1])
		}
	}
}

func badRange(t *testing.T, s object.Store) {
	put(t, s, "k", []byte("0123456789"), object.PutOptions{})
	for _, off := range []int64{10, 11, 1 << 40} {
		for _, length := range []int64{1, -1} {
			_, err := s.Get(t.Context(), "k", off, length)
			is(t, fmt.Sprintf("Get(%d, %d)", off, length), err, object.ErrRange)
		}
	}
	for _, r := range [][2]int64{{-1, 2}, {0, -2}} {
		if _, err := s.Get(t.Context(), "k", r[0], r[1]); err == nil {
			t.Fatalf("Get(%d, %d) succeeded", r[0], r[1])
		}
	}
	// A range that begins inside and ends beyond must not pass for whole.
	r, err := s.Get(t.Context(), "k", 5, 10)
	if err == nil {
		var got []byte
		got, err = io.ReadAll(r)
		r.Close()
		if string(got) != "56789" {
			t.Fatalf("Get(5, 10) of ten bytes gave %q", got)
		}
	}
	is(t, "reading beyond the end", err, io.ErrUnexpectedEOF)
}

func missing(t *testing.T, s object.Store) {
	put(t, s, "folder/there", []byte("x"), object.PutOptions{})
	for _, key := range []string{"gone", "folder", "folder/gone", "folder/there2", "no/such/folder"} {
		_, err := s.Head(t.Context(), key)
		is(t, "Head "+key, err, object.ErrNotExist)
		_, err = s.Get(t.Context(), key, 0, -1)
		is(t, "Get "+key, err, object.ErrNotExist)
		_, err = s.Get(t.Context(), key, 1, 2)
		is(t, "ranged Get "+key, err, object.ErrNotExist)
		if !strings.Contains(err.Error(), key) {
			t.Fatalf("the error does not name the key: %v", err)
		}
		if err := s.Delete(t.Context(), []string{key}); err != nil {
			t.Fatalf("Delete %s: %v", key, err)
		}
	}
	want(t, s, "folder/there", []byte("x"))
}

func head(t *testing.T, s object.Store) {
	body := Body(3, 1234)
	before, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := put(t, s, "a/k", body, object.PutOptions{})
	h, err := s.Head(t.Context(), "a/k")
	if err != nil {
		t.Fatal(err)
	}
	if h.Key != "a/k" || h.Size != 1234 || h.ETag != p.ETag {
		t.Fatalf("Head = %+v, Put gave %+v", h, p)
	}
	crc, _ := object.CRC32C(bytes.NewReader(body), 1234)
	if !h.HasCRC32C || h.CRC32C != crc {
		t.Fatalf("Head gives CRC-32C %08x %v, want %08x", h.CRC32C, h.HasCRC32C, crc)
	}
	// One clock, in whole seconds perhaps.
	if d := h.LastModified.Sub(before); d < -2*time.Second || d > time.Hour {
		t.Fatalf("LastModified %v is before the store's Now %v", h.LastModified, before)
	}
}

// odd are keys that some layer might mangle: URL syntax, XML, escapes, dots, long names.
var odd = []string{
	"a b", "a+b", "a%20b", "%", "%25", "%2E", "100%/x", "a&b=c", "a?b#c", "a;b:c,d", "a'b\"c", "<a>", "é/ü/日本語", "🧊",
	".hidden", "a/.b/c", "...", "a..b", "-", "~", "$x", "@", "!", "(a)", "[a]", "{a}", "a|b", "a*b", "^", "`",
	strings.Repeat("n", object.MaxComponentBytes), strings.Repeat("deep/", 40) + "leaf", " leading", "trailing ", "A", "tmp/put-1", "lock",
}

func oddKeys(t *testing.T, s object.Store) {
	for _, key := range odd {
		put(t, s, key, []byte("body of "+key), object.PutOptions{})
	}
	for _, key := range odd {
		want(t, s, key, []byte("body of "+key))
		if _, err := s.Head(t.Context(), key); err != nil {
			t.Fatalf("Head(%q): %v", key, err)
		}
	}
	sorted := slices.Sorted(slices.Values(odd))
	wantKeys(t, "List", list(t, s, "", ""), sorted)
	for i, key := range sorted {
		wantKeys(t, "List after "+key, list(t, s, "", key), sorted[i+1:])
	}
	if err := s.Delete(t.Context(), odd); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, "List after Delete", list(t, s, "", ""), []string{})
}

func refusedKeys(t *testing.T, s object.Store) {
	put(t, s, "victim", []byte("x"), object.PutOptions{})
	for _, key := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../victim", "a/./b", "a\x00b", "a\nb", "a\\b", "\xff",
		strings.Repeat("a", object.MaxComponentBytes+1), strings.Repeat("a/", object.MaxKeyBytes)} {
		if _, err := tryPut(t.Context(), s, key, []byte("y"), object.PutOptions{}); err == nil {
			t.Errorf("Put(%.40q) succeeded", key)
		}
		if _, err := s.Get(t.Context(), key, 0, -1); err == nil {
			t.Errorf("Get(%.40q) succeeded", key)
		}
		if _, err := s.Head(t.Context(), key); err == nil {
			t.Errorf("Head(%.40q) succeeded", key)
		}
		if err := s.Delete(t.Context(), []string{key}); err == nil {
			t.Errorf("Delete(%.40q) succeeded", key)
		}
	}
	wantKeys(t, "List", list(t, s, "", ""), []string{"victim"})
}

func checksum(t *testing.T, s object.Store) {
	body := Body(4, 5000)
	crc, err := object.CRC32C(bytes.NewReader(body), 5000)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "good", body, object.PutOptions{CRC32C: crc, HasCRC32C: true})
	want(t, s, "good", body)
	wrongChecksum(t, s, body, crc^1)
}

// wrongChecksum puts a body with another's checksum. A store behind retries tries that again, too, for bodies are damaged on
// their way, and says in the end what failed last, which may be something else.
func wrongChecksum(t *testing.T, s object.Store, body []byte, crc uint32) {
	t.Helper()
	var err error
	for range 20 {
		_, err = tryPut(t.Context(), s, "bad", body, object.PutOptions{CRC32C: crc, HasCRC32C: true})
		if !errors.Is(err, object.ErrUnavailable) && !errors.Is(err, object.ErrThrottled) {
			break
		}
	}
	is(t, "Put with a wrong checksum", err, object.ErrChecksum)
	_, err = s.Head(t.Context(), "bad")
	is(t, "Head after it", err, object.ErrNotExist)
}

// shortBody puts fewer bytes than announced.
func shortBody(t *testing.T, s object.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Put(ctx, "short", strings.NewReader("abc"), 10, object.PutOptions{}); err == nil {
		t.Fatal("a Put of 3 bytes announced as 10 succeeded")
	}
	_, err := s.Head(t.Context(), "short")
	is(t, "Head after it", err, object.ErrNotExist)
}

// largeSize is above the threshold for multipart that the tests of s3 and minio set.
const largeSize = 23<<20 + 17

func large(t *testing.T, s object.Store) {
	body := Body(5, largeSize)
	crc, _ := object.CRC32C(bytes.NewReader(body), largeSize)
	put(t, s, "large", body, object.PutOptions{CRC32C: crc, HasCRC32C: true})
	want(t, s, "large", body)
	h, err := s.Head(t.Context(), "large")
	if err != nil || h.Size != largeSize || !h.HasCRC32C || h.CRC32C != crc {
		t.Fatalf("Head = %+v, %v", h, err)
	}
	if got := get(t, s, "large", 5<<20-3, 7); !bytes.Equal(got, body[5<<20-3:][:7]) {
		t.Fatal("a range across parts has other bytes")
	}
	wrongChecksum(t, s, body, crc^1)
}

// A listing's page and a batch of a bulk delete have 1000 keys.
const twoPages, threePages = 1100, 2500

func listAndDelete(t *testing.T, s object.Store, many int) {
	var keys []string
	for i := range many {
		keys = append(keys, fmt.Sprintf("p%d/%c-%04d", i%3, 'a'+i%5, i))
	}
	var g errgroup.Group
	g.SetLimit(16)
	for _, k := range keys {
		g.Go(func() error {
			_, err := tryPut(t.Context(), s, k, []byte(k), object.PutOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	wantKeys(t, "List", list(t, s, "", ""), keys)
	wantKeys(t, "List after", list(t, s, "", keys[many/2]), keys[many/2+1:])
	wantKeys(t, "List after a key that is not there", list(t, s, "", keys[many/2]+"~"), keys[many/2+1:])
	of1 := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !strings.HasPrefix(k, "p1/") })
	wantKeys(t, "List p1/", list(t, s, "p1/", ""), of1)
	wantKeys(t, "List p1/ after", list(t, s, "p1/", of1[300]), of1[301:])

	// All but the last hundred, with some that are not there.
	gone, stay := append([]string{"not/there", "p1/neither"}, keys[:many-100]...), keys[many-100:]
	if err := s.Delete(t.Context(), gone); err != nil {
		t.Fatalf("Delete of %d keys: %v", len(gone), err)
	}
	wantKeys(t, "List after Delete", list(t, s, "", ""), stay)
	if err := s.Delete(t.Context(), gone[:10]); err != nil {
		t.Fatalf("Delete again: %v", err)
	}
}

func listPrefix(t *testing.T, s object.Store) {
	keys := []string{"a", "a-b", "a/b", "a/b/c", "a0", "b/a/1", "b/a/2", "b/aa/1", "b/b"}
	if _, err := tryPut(t.Context(), s, "a/b/c", []byte("x"), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	// A key that is also a folder is not possible everywhere: leave those out.
	keys = slices.DeleteFunc(keys, func(k string) bool { return k == "a" || k == "a/b" })
	for _, k := range keys {
		put(t, s, k, []byte(k), object.PutOptions{})
	}
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", keys},
		{"a", "", []string{"a-b", "a/b/c", "a0"}},
		{"a/", "", []string{"a/b/c"}},
		{"b/a", "", []string{"b/a/1", "b/a/2", "b/aa/1"}},
		{"b/a/", "", []string{"b/a/1", "b/a/2"}},
		{"b/a/", "b/a/1", []string{"b/a/2"}},
		{"b/a", "b/a", []string{"b/a/1", "b/a/2", "b/aa/1"}},
		{"b", "b/a/2", []string{"b/aa/1", "b/b"}},
		{"", "b/a0", []string{"b/aa/1", "b/b"}},
		{"b/", "a", []string{"b/a/1", "b/a/2", "b/aa/1", "b/b"}},
		{"c", "", []string{}},
		{"b/b/", "", []string{}},
		{"", "z", []string{}},
	} {
		wantKeys(t, fmt.Sprintf("List(%q, %q)", c.prefix, c.after), list(t, s, c.prefix, c.after), c.want)
	}
}

func listStops(t *testing.T, s object.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprintf("k%d", i), []byte("abc"), object.PutOptions{})
	}
	own := errors.New("enough")
	for _, end := range []error{object.ErrStop, own} {
		n := 0
		err := s.List(t.Context(), "", "", func(i object.Info) error {
			if i.Size != 3 || i.LastModified.IsZero() {
				t.Errorf("List gives %+v", i)
			}
			if n++; n == 2 {
				return end
			}
			return nil
		})
		if n != 2 || errors.Is(end, object.ErrStop) && err != nil || errors.Is(end, own) && !errors.Is(err, own) {
			t.Fatalf("stopped with %v: %d calls, %v", end, n, err)
		}
	}
}

func remove(t *testing.T, s object.Store) {
	if err := s.Delete(t.Context(), nil); err != nil {
		t.Fatalf("Delete of nothing: %v", err)
	}
	put(t, s, "a/b", []byte("x"), object.PutOptions{})
	put(t, s, "a/c", []byte("x"), object.PutOptions{})
	if err := s.Delete(t.Context(), []string{"a/b", "a/b"}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Head(t.Context(), "a/b")
	is(t, "Head", err, object.ErrNotExist)
	want(t, s, "a/c", []byte("x"))
}

func cancelled(t *testing.T, s object.Store) {
	put(t, s, "k", []byte("x"), object.PutOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := tryPut(ctx, s, "k2", []byte("x"), object.PutOptions{})
	is(t, "Put", err, context.Canceled)
	_, err = s.Get(ctx, "k", 0, -1)
	is(t, "Get", err, context.Canceled)
	_, err = s.Head(ctx, "k")
	is(t, "Head", err, context.Canceled)
	is(t, "List", s.List(ctx, "", "", func(object.Info) error { return nil }), context.Canceled)
	is(t, "Delete", s.Delete(ctx, []string{"k"}), context.Canceled)
	_, err = s.Now(ctx)
	is(t, "Now", err, context.Canceled)

	// In the middle of a body.
	put(t, s, "long", Body(7, 8<<20), object.PutOptions{})
	ctx, cancel = context.WithCancel(t.Context())
	r, err := s.Get(ctx, "long", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.Copy(io.Discard, r)
	is(t, "reading on", err, context.Canceled)
}

func concurrent(t *testing.T, s object.Store) {
	var g errgroup.Group
	var puts atomic.Int64
	for w := range 8 {
		g.Go(func() error {
			for i := range 20 {
				key := fmt.Sprintf("w%d/%d", w, i)
				body := Body(uint64(w*1000+i), 3000+i)
				if _, err := tryPut(t.Context(), s, key, body, object.PutOptions{IfNoneMatch: true}); err != nil {
					return err
				}
				puts.Add(1)
				got, err := object.ReadAll(t.Context(), s, key, 100, 2000, 1<<20)
				if err != nil {
					return err
				}
				if !bytes.Equal(got, body[100:2100]) {
					return fmt.Errorf("%s: other bytes", key)
				}
				if i%2 == 0 {
					if err := s.Delete(t.Context(), []string{key}); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := len(list(t, s, "", "")); got != 80 {
		t.Fatalf("%d objects remain of %d, want 80", got, puts.Load())
	}
}

func clock(t *testing.T, s object.Store) {
	a, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", []byte("x"), object.PutOptions{})
	b, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.Before(a) || a.IsZero() {
		t.Fatalf("the store's clock went from %v to %v", a, b)
	}
}

func probe(t *testing.T, s object.Store) {
	if err := object.Probe(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, "List after the probe", list(t, s, "", ""), []string{})
}

func urlHoldsNoSecret(t *testing.T, s object.Store) {
	if u := s.URL(); !strings.Contains(u, "://") || strings.ContainsAny(u, "@?") {
		t.Fatalf("URL() = %q", u)
	}
}
