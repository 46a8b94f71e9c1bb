package wire

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
)

// evict takes a file out of the page cache.
func evict(t testing.TB, f *os.File) {
	t.Helper()
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// skipUnlessEvictable skips the test where a file system keeps what it is told to forget, or knows no RWF_NOWAIT. It asks
// with a file of its own, because to ask has the kernel begin to read; and several times, because pages that were just
// written may be in use by the kernel for a moment.
func skipUnlessEvictable(t testing.TB) {
	f := newOSFile(t, pattern(8<<10, 7)).OS()
	for range 1000 {
		evict(t, f)
		if !new(Sender).byteThere(int(f.Fd()), 0) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Skip("what is not in the page cache cannot be told here")
}

func fetchOf(t testing.TB, regions ...disk.Region) *Response {
	t.Helper()
	q := NewFetchPartition(0, 0)
	q.Records = regions
	r, err := EncodeFetch(12, 3, &FetchResponse{Topics: []FetchTopicResponse{{Name: "t", Partitions: []FetchPartitionResponse{q}}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Whoever must not wait for the disk does not send what is not in the page cache; Send does, and has what follows read ahead.
func TestColdRegions(t *testing.T) {
	skipUnlessEvictable(t)
	const size = 12 << 20
	content := pattern(size, 5)
	f := newOSFile(t, content)
	for _, n := range []int64{1000, 3 << 20} {
		resp := fetchOf(t, disk.Region{File: f, Position: 100, Length: n})
		want, err := resp.AppendAll(nil)
		if err != nil {
			t.Fatal(err)
		}
		server, client := pipe(t)
		s := NewSender(server, time.Minute)
		s.Waits = NewWaits(1)
		// What the kernel still reads ahead may come after it was told to forget: it is told again.
		eventually(t, "bytes that are on the disk alone do not count as resident", func() bool {
			evict(t, f.OS())
			return !s.Resident(resp)
		})
		eventually(t, "Try leaves them alone", func() bool {
			other, _ := pipe(t)
			evict(t, f.OS())
			sent, err := NewSender(other, time.Minute).Try(resp)
			return sent == 0 && err == nil
		})
		evict(t, f.OS())
		sent := make(chan error, 1)
		go func() { sent <- s.Send(resp, 0); server.Close() }()
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived of %d, %v", len(got), len(want), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if n > smallRegion {
			eventually(t, "what follows is read ahead", func() bool { return s.byteThere(int(f.OS().Fd()), 100+n+ahead/2) })
		}
	}
}

// A hole in what is in the page cache is found wherever it is; where pages cannot be counted, only where it is asked for.
func TestHoleInPageCache(t *testing.T) {
	skipUnlessEvictable(t)
	const size, hole = 3 << 20, 1<<20 + 128<<10 // no probe at the end of a step of 512 KiB meets it
	f := newOSFile(t, pattern(size, 6))
	resp := fetchOf(t, disk.Region{File: f, Position: 0, Length: size})
	conn, _ := pipe(t)
	s, blind := NewSender(conn, time.Minute), NewSender(conn, time.Minute)
	blind.uncounted = true
	var stat unix.Cachestat_t
	if err := unix.Cachestat(uint(f.OS().Fd()), &unix.CachestatRange{}, &stat, 0); err != nil {
		t.Skipf("pages of the page cache cannot be counted here: %v", err)
	}
	if err := unix.Fadvise(int(f.OS().Fd()), 0, 0, unix.FADV_RANDOM); err != nil { // what is not asked for is not read
		t.Fatal(err)
	}
	eventually(t, "a page is missing", func() bool {
		evict(t, f.OS())
		one := make([]byte, 1)
		for at := int64(0); at < size; at += pageSize {
			if at == hole {
				continue
			}
			if _, err := f.ReadAt(one, at); err != nil {
				t.Fatal(err)
			}
		}
		return !s.Resident(resp) && blind.Resident(resp)
	})
	if _, err := f.ReadAt(make([]byte, 1), hole); err != nil {
		t.Fatal(err)
	}
	if !s.Resident(resp) {
		t.Error("nothing is missing")
	}
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not so: " + what)
		}
	}
}

// A small answer from the page cache goes out by Try, and what a full socket leaves of it by Send.
func TestTryRegions(t *testing.T) {
	f := newOSFile(t, pattern(64<<10, 6))
	server, client := pipe(t)
	s := NewSender(server, time.Minute)
	var want []byte
	var err error
	for range 1000 {
		resp := fetchOf(t, disk.Region{File: f, Position: 3, Length: 30 << 10}, disk.Region{Bytes: []byte("between")}, disk.Region{File: f, Position: 9, Length: 800})
		if want, err = resp.AppendAll(want); err != nil {
			t.Fatal(err)
		}
		n, err := s.Try(resp)
		if err != nil {
			t.Fatal(err)
		}
		if n == resp.Size() {
			continue
		}
		sent := make(chan error, 1)
		go func() { sent <- s.Send(resp, n); server.Close() }()
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived of %d, %v", len(got), len(want), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("the socket is never full")
}
