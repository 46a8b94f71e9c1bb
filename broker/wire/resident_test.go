package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/nowait"
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
		if _, err := preadNow(int(f.Fd()), make([]byte, 1), 0); errors.Is(err, unix.EAGAIN) {
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

// Whoever must not wait for the disk does not send what is not in the page cache; who may does, and has what follows read
// ahead.
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
		var s *Sender
		var server, client net.Conn
		var at int64
		for _, may := range []Patience{ForNothing, ForSocket} {
			// What the kernel still reads ahead may come after it was told to forget: it is told again.
			eventually(t, "bytes that are on the disk alone are left alone", func() bool {
				server, client = pipe(t)
				go io.Copy(io.Discard, client)
				s = NewSender(server, time.Minute)
				evict(t, f.OS())
				at, err = s.Send(resp, 0, may)
				return err == nil && at < int64(len(want)-int(n))
			})
		}
		server, client = pipe(t)
		s = NewSender(server, time.Minute)
		s.Waits = NewWaits(1)
		evict(t, f.OS())
		sent := make(chan error, 1)
		go func() { sent <- sendAll(s, resp, at); server.Close() }()
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, want[at:]) {
			t.Errorf("%d bytes arrived of %d, %v", len(got), len(want)-int(at), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if n > smallRegion {
			eventually(t, "what follows is read ahead", func() bool { return s.there(int(f.OS().Fd()), 100+n+ahead/2, 1) })
		}
	}
}

// A hole in what is in the page cache is found wherever it is; where pages cannot be counted, only where it is asked for.
func TestHoleInPageCache(t *testing.T) {
	skipUnlessEvictable(t)
	const size, hole = 3 << 20, 1<<20 + 128<<10 // no probe at the end of a step of 512 KiB meets it
	f := newOSFile(t, pattern(size, 6))
	fd := int(f.OS().Fd())
	s, blind := new(Sender), &Sender{uncounted: true}
	var stat unix.Cachestat_t
	if err := unix.Cachestat(uint(fd), &unix.CachestatRange{}, &stat, 0); err != nil {
		t.Skipf("pages of the page cache cannot be counted here: %v", err)
	}
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM); err != nil { // what is not asked for is not read
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
		return !s.there(fd, 0, size) && blind.there(fd, 0, size)
	})
	if _, err := f.ReadAt(make([]byte, 1), hole); err != nil {
		t.Fatal(err)
	}
	if !s.there(fd, 0, size) {
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

// asked counts system calls, and has a part of files not in the page cache.
type asked struct {
	preadNow, cachestat, sendNow int
	cold, coldEnd                int64
	err                          error // of preadNow, wherever
	blind                        bool  // there is no cachestat
}

// ask replaces the system calls for the length of a test. Only one goroutine may send meanwhile.
func ask(t testing.TB) *asked {
	a := new(asked)
	readNow, count, send := preadNow, cachestat, sendNow
	preadNow = func(fd int, p []byte, off int64) (int, error) {
		a.preadNow++
		switch {
		case a.err != nil:
			return 0, a.err
		case off < a.coldEnd && off+int64(len(p)) > a.cold:
			return 0, unix.EAGAIN
		}
		return unix.Pread(fd, p, off)
	}
	cachestat = func(_ int, part *unix.CachestatRange, pages *unix.Cachestat_t) error {
		a.cachestat++
		if a.blind {
			return unix.ENOSYS
		}
		*pages = unix.Cachestat_t{}
		for at := int64(part.Off) / pageSize; at <= int64(part.Off+part.Len-1)/pageSize; at++ {
			if at*pageSize >= a.coldEnd || (at+1)*pageSize <= a.cold {
				pages.Cache++
			}
		}
		return nil
	}
	sendNow = func(fd int, p []byte, flags int) (int, error) {
		a.sendNow++
		return send(fd, p, flags)
	}
	t.Cleanup(func() { preadNow, cachestat, sendNow = readNow, count, send })
	return a
}

// noReadAt is a file that must not be read by who may not wait.
type noReadAt struct {
	disk.File
	t       testing.TB
	allowed *bool
}

func (f noReadAt) ReadAt(p []byte, off int64) (int, error) {
	if !*f.allowed {
		f.t.Error("it is read, whether or not that has to wait")
	}
	return f.File.ReadAt(p, off)
}

// What is not in the page cache is not waited for by who must not, however much of the answer comes before it.
func TestColdRegionBehindManyOthers(t *testing.T) {
	const regions, cold = 100, 77
	for _, size := range []int64{10 << 10, 40 << 10} { // copied, and by sendfile
		calls := ask(t)
		content := pattern(int(regions*size), 5)
		allowed := false
		f := noReadAt{newOSFile(t, content), t, &allowed}
		var all []disk.Region
		for i := range int64(regions) {
			all = append(all, disk.Region{File: f, Position: i * size, Length: size})
		}
		resp := fetchOf(t, all...)
		calls.cold, calls.coldEnd = cold*size+5000, cold*size+5001
		server, client := pipe(t)
		s := NewSender(server, time.Minute)
		got := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(client)
			got <- b
		}()
		at, err := s.Send(resp, 0, ForSocket)
		if head := resp.Size() - at - (regions-cold)*size; err != nil || head < 0 || head > 100 {
			t.Errorf("regions of %d bytes: %d bytes are sent of %d, %v; want those before region %d", size, at, resp.Size(), err, cold)
		}
		allowed = true
		if err := sendAll(s, resp, at); err != nil {
			t.Error(err)
		}
		server.Close()
		want, err := resp.AppendAll(nil)
		if err != nil || !bytes.Equal(<-got, want) {
			t.Errorf("regions of %d bytes: other bytes than those of the answer, or %v", size, err)
		}
	}
}

// A small answer takes a read for each of its regions and one write, whoever sends it.
func TestSystemCallsOfSmallAnswers(t *testing.T) {
	allowed := false
	f := noReadAt{newOSFile(t, pattern(64<<10, 6)), t, &allowed}
	for _, may := range []Patience{ForNothing, ForSocket, ForDisk} {
		for _, n := range []int{1, 16} {
			calls := ask(t)
			server, _ := pipe(t)
			resp := fetchOf(t, many(disk.Region{File: f, Position: 9, Length: 1000}, n)...)
			if sent, err := NewSender(server, time.Minute).Send(resp, 0, may); err != nil || sent != resp.Size() {
				t.Fatalf("%d of %d bytes are sent, %v", sent, resp.Size(), err)
			}
			if calls.preadNow != n || calls.cachestat != 0 || calls.sendNow != 1 {
				t.Errorf("%d regions: %d preadv2, %d cachestat, %d sends", n, calls.preadNow, calls.cachestat, calls.sendNow)
			}
		}
	}
}

// Where a file system does not know the question, pages that count are taken to be there; where they cannot be counted
// either, who must not wait leaves all of it alone.
func TestFileSystemThatCannotTell(t *testing.T) {
	f := newOSFile(t, pattern(64<<10, 6))
	for _, n := range []int64{1000, 50 << 10} {
		for name, c := range map[string]struct {
			blind     bool
			cold, end int64
			want      bool
		}{
			"counted": {want: true},
			"missing": {cold: 500, end: 501},
			"blind":   {blind: true},
		} {
			calls := ask(t)
			calls.err, calls.blind, calls.cold, calls.coldEnd = unix.EOPNOTSUPP, c.blind, c.cold, c.end
			server, client := pipe(t)
			s := NewSender(server, time.Minute)
			resp := fetchOf(t, disk.Region{File: f, Length: n})
			at, err := s.Send(resp, 0, ForSocket)
			if err != nil || (at == resp.Size()) != c.want {
				t.Errorf("%s: %d of %d bytes are sent, %v", name, at, resp.Size(), err)
			}
			if at < resp.Size() {
				if err := sendAll(s, resp, at); err != nil {
					t.Error(err)
				}
			}
			want, err := resp.AppendAll(nil)
			got := make([]byte, len(want))
			if _, rerr := io.ReadFull(client, got); err != nil || rerr != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %v, %v, or other bytes", name, err, rerr)
			}
		}
	}
}

// Only what was just seen in the page cache is sent without telling the scheduler that the call may wait for the disk.
func TestSchedulerIsToldOfWhatMayWait(t *testing.T) {
	content := pattern(200<<10, 6)
	f := newOSFile(t, content)
	quiet := 0
	defer func(real func(int, int, *int64, int) (int, error)) { sendfileNow = real }(sendfileNow)
	sendfileNow = func(socket, file int, at *int64, n int) (int, error) {
		quiet++
		return nowait.Sendfile(socket, file, at, n)
	}
	send := func(name string, wantQuiet bool) {
		t.Helper()
		quiet = 0
		server, client := pipe(t)
		s := NewSender(server, time.Minute)
		resp := fetchOf(t, disk.Region{File: f, Length: int64(len(content))})
		want, err := resp.AppendAll(nil)
		got := make([]byte, len(want))
		all := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(client, got)
			all <- err
		}()
		if serr := sendAll(s, resp, 0); err != nil || serr != nil || <-all != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %v, or other bytes", name, err, serr)
		}
		if (quiet > 0) != wantQuiet {
			t.Errorf("%s: %d calls without telling the scheduler", name, quiet)
		}
	}
	calls := ask(t)
	send("in the page cache", true)
	calls.cold, calls.coldEnd = 100<<10, 101<<10
	send("not all of it", false)
	calls.cold, calls.coldEnd, calls.err = 0, 0, unix.EOPNOTSUPP
	send("counted, but nobody knows whether it is read", false)
	calls.err, calls.blind = nil, true
	send("asked for a few bytes of it only", false)

	server, client := pipe(t)
	s := NewSender(server, time.Minute)
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2000)
	for i, seen := range []time.Time{time.Now().Add(time.Hour), time.Now().Add(-2 * seenFor)} {
		quiet = 0
		s.source, s.pos, s.left, s.seen = int(f.OS().Fd()), 0, int64(len(got)), seen
		if err := raw.Write(s.fileFn); err != nil || s.err != nil || s.left != 0 {
			t.Fatal(err, s.err, s.left)
		}
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, []byte(content[:len(got)])) {
			t.Errorf("%v, or other bytes", err)
		}
		if (quiet > 0) != (i == 0) {
			t.Errorf("seen %v: %d calls without telling the scheduler", seen, quiet)
		}
	}
}

// waiting is reads that wait until they are released.
type waiting struct {
	released  chan struct{}
	mu        sync.Mutex
	now, most int // guarded by mu
}

func (w *waiting) read() {
	w.mu.Lock()
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	<-w.released
	w.mu.Lock()
	w.now--
	w.mu.Unlock()
}

// waitingFile is a file of which nothing is in the page cache.
type waitingFile struct {
	osFile
	w *waiting
}

func (f waitingFile) ReadAt(p []byte, off int64) (int, error) {
	f.w.read()
	return f.osFile.ReadAt(p, off)
}

// So many answers and no more wait for the disk at once, whatever the size of what they wait for.
func TestWaitsAreBounded(t *testing.T) {
	const most, senders = 2, 7
	for _, size := range []int64{1000, smallRegion, 100 << 10} {
		count, readNow, read := cachestat, preadNow, pread
		cachestat = func(int, *unix.CachestatRange, *unix.Cachestat_t) error { return unix.ENOSYS }
		preadNow = func(int, []byte, int64) (int, error) { return 0, unix.EAGAIN }
		w := &waiting{released: make(chan struct{})}
		pread = func(fd int, p []byte, off int64) (int, error) {
			w.read()
			return unix.Pread(fd, p, off)
		}
		waits := NewWaits(most)
		f := waitingFile{newOSFile(t, pattern(100<<10, 8)).(osFile), w}
		var all sync.WaitGroup
		for range senders {
			server, client := pipe(t)
			go io.Copy(io.Discard, client)
			resp := fetchOf(t, disk.Region{File: f, Length: size})
			s := NewSender(server, time.Minute)
			s.Waits = waits
			all.Go(func() {
				if err := sendAll(s, resp, 0); err != nil {
					t.Error(err)
				}
			})
		}
		eventually(t, "as many wait as may", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now == most
		})
		close(w.released)
		all.Wait()
		if w.most != most || len(waits.places) != 0 {
			t.Errorf("regions of %d bytes: %d answers waited at once, want %d; %d places are kept", size, w.most, most, len(waits.places))
		}
		cachestat, preadNow, pread = count, readNow, read
	}
}

// A small answer from the page cache goes out without waiting, and what a full socket leaves of it later.
func TestSendToFullSocket(t *testing.T) {
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
		n, err := s.Send(resp, 0, ForNothing)
		if err != nil {
			t.Fatal(err)
		}
		if n == resp.Size() {
			continue
		}
		sent := make(chan error, 1)
		go func() { sent <- sendAll(s, resp, n); server.Close() }()
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
