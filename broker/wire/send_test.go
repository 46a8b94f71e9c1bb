package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firnlog/firn/tier/disk"
)

// memFile is a disk.File without a descriptor.
type memFile string

func (m memFile) ReadAt(p []byte, off int64) (int, error) {
	return strings.NewReader(string(m)).ReadAt(p, off)
}
func (m memFile) ReadNow(p []byte, off int64) (int, error) { return m.ReadAt(p, off) }
func (memFile) Waits() bool                                { return false }
func (memFile) WriteAt([]byte, int64) (int, error)         { return 0, errors.ErrUnsupported }
func (memFile) WritevAt([][]byte, int64) (int64, error)    { return 0, errors.ErrUnsupported }
func (memFile) Truncate(int64) error                       { return errors.ErrUnsupported }
func (memFile) Datasync() error                            { return errors.ErrUnsupported }
func (memFile) WritevSync([][]byte, int64) error           { return errors.ErrUnsupported }
func (memFile) Writeback(int64, int64) error               { return errors.ErrUnsupported }
func (memFile) Reserve(int64, int64) error                 { return errors.ErrUnsupported }
func (m memFile) Size() (int64, error)                     { return int64(len(m)), nil }
func (memFile) Name() string                               { return "mem" }
func (memFile) Close() error                               { return nil }
func (memFile) OS() *os.File                               { return nil }

// osFile is a disk.File with one.
type osFile struct {
	memFile
	f *os.File
}

func (o osFile) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, off) }
func (o osFile) OS() *os.File                            { return o.f }

func newOSFile(t testing.TB, content string) disk.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return osFile{f: f}
}

// pipe is both ends of a connection over the loopback.
func pipe(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return server, client
}

func pattern(n int, seed byte) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*7 + byte(i>>8) + seed
	}
	return string(b)
}

// sendAll sends the rest of an answer, whatever it has to wait for.
func sendAll(s *Sender, r *Response, from int64) error {
	n, err := s.Send(r, from, ForDisk)
	if err == nil && n != r.Size() {
		return fmt.Errorf("%d bytes are sent of %d", n, r.Size())
	}
	return err
}

// encodeBytes makes an answer of a body that is encoded already; it is copied.
func encodeBytes(key, version int16, correlation int32, body []byte) (*Response, error) {
	r := newResponse(key, version, correlation, len(body))
	r.setBuf(append(r.buf.B, body...))
	return r.finish()
}

// What arrives is what AppendAll says, for every mix of region sizes, kinds of file and kinds of connection.
func TestSendRegions(t *testing.T) {
	big, mid, small := pattern(3<<20, 1), pattern(100<<10, 2), pattern(900, 3)
	region := func(f disk.File, pos, n int64) disk.Region { return disk.Region{File: f, Position: pos, Length: n} }
	bigOS, midOS, smallOS := newOSFile(t, big), newOSFile(t, mid), newOSFile(t, small)
	cases := map[string][]disk.Region{
		"none":                nil,
		"small file":          {region(smallOS, 5, 800)},
		"large file":          {region(bigOS, 17, 3<<20-20)},
		"middle, twice":       {region(midOS, 0, 100<<10), region(midOS, 50, 40<<10)},
		"memory":              {{Bytes: []byte(small)}, {Bytes: []byte(big)}},
		"file in memory":      {region(memFile(big), 3, 2<<20), region(memFile(small), 0, 900)},
		"all kinds":           {region(smallOS, 0, 900), region(bigOS, 1, 1<<20), {Bytes: []byte(mid)}, region(memFile(mid), 0, 100<<10), region(smallOS, 1, 2)},
		"many small":          append(many(region(midOS, 11, 30<<10), 9), region(smallOS, 0, 0)),
		"one byte over small": {region(midOS, 0, smallRegion+1)},
	}
	for name, regions := range cases {
		for _, plain := range []bool{true, false} {
			t.Run(name+map[bool]string{true: "/socket", false: "/other"}[plain], func(t *testing.T) {
				released := 0
				var f FetchResponse
				for i, g := range regions {
					q := NewFetchPartition(int32(i), 0)
					q.Records = []disk.Region{g}
					f.Topics = append(f.Topics, FetchTopicResponse{Name: "t", Partitions: []FetchPartitionResponse{q}})
				}
				f.Release = func() { released++ }
				resp, err := EncodeFetch(12, 3, &f)
				if err != nil {
					t.Fatal(err)
				}
				want, err := resp.AppendAll(nil)
				if err != nil {
					t.Fatal(err)
				}
				server, client := pipe(t)
				if !plain { // hide the socket, as TLS does
					server = struct{ net.Conn }{server}
				}
				sent := make(chan error, 1)
				go func() {
					sent <- sendAll(NewSender(server, time.Minute), resp, 0)
					server.Close()
				}()
				got, err := io.ReadAll(client)
				if err != nil {
					t.Fatal(err)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) || int64(len(got)) != resp.Size() {
					t.Fatalf("%d bytes arrived, %d expected, or they differ", len(got), len(want))
				}
				resp.Free()
				if released != 1 {
					t.Errorf("released %d times", released)
				}
			})
		}
	}
}

// Sending goes on from any byte of an answer.
func TestSendFrom(t *testing.T) {
	mid, small := newOSFile(t, pattern(100<<10, 2)), newOSFile(t, pattern(900, 3))
	resp := fetchOf(t, disk.Region{File: small, Position: 3, Length: 700}, disk.Region{File: mid, Position: 7, Length: 90 << 10},
		disk.Region{Bytes: []byte("some bytes")}, disk.Region{File: memFile(pattern(500, 4)), Length: 500})
	want, err := resp.AppendAll(nil)
	if err != nil {
		t.Fatal(err)
	}
	server, client := pipe(t)
	s := NewSender(server, time.Minute)
	got := make([]byte, len(want))
	for from := 0; from < len(want); from += 1 + from/64 {
		if err := sendAll(s, resp, int64(from)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, got[from:]); err != nil || !bytes.Equal(got[from:], want[from:]) {
			t.Fatalf("from %d on: %v, or other bytes", from, err)
		}
	}
}

func many(g disk.Region, n int) (all []disk.Region) {
	for range n {
		all = append(all, g)
	}
	return all
}

// A file that ends before its region does is an error, and nothing is sent in place of what is missing.
func TestSendShortRegion(t *testing.T) {
	for name, g := range map[string]disk.Region{
		"small":       {File: newOSFile(t, pattern(100, 0)), Length: 101},
		"large":       {File: newOSFile(t, pattern(2<<20, 0)), Length: 2<<20 + 1},
		"large, gone": {File: newOSFile(t, ""), Length: 1 << 20},
		"memory":      {File: memFile(pattern(50<<10, 0)), Length: 51 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			q := NewFetchPartition(0, 0)
			q.Records = []disk.Region{g}
			resp, err := EncodeFetch(12, 3, &FetchResponse{Topics: []FetchTopicResponse{{Name: "t", Partitions: []FetchPartitionResponse{q}}}})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Free()
			server, client := pipe(t)
			read := make(chan int64)
			go func() {
				n, _ := io.Copy(io.Discard, client)
				read <- n
			}()
			err = sendAll(NewSender(server, time.Minute), resp, 0)
			server.Close()
			if !errors.Is(err, ErrShortRegion) {
				t.Errorf("error %v", err)
			}
			if n := <-read; n >= resp.Size() {
				t.Errorf("%d bytes arrived of an answer of %d that cannot be whole", n, resp.Size())
			}
		})
	}
}

// Who must not wait sends what fits and says how much; who may goes on from there. An old deadline does not fail the next
// answer.
func TestSendGoesOn(t *testing.T) {
	server, client := pipe(t)
	s := NewSender(server, time.Minute)
	body := []byte(pattern(32<<20, 9)) // more than the kernel buffers
	resp, err := encodeBytes(3, 1, 5, body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Free()
	n, err := s.Send(resp, 0, ForNothing)
	if err != nil || n <= 0 || n >= resp.Size() {
		t.Fatalf("%d of %d are sent, %v", n, resp.Size(), err)
	}
	sent := make(chan error, 1)
	go func() { sent <- sendAll(s, resp, n) }()
	got := make([]byte, resp.Size())
	if _, err := io.ReadFull(client, got); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[8:], body) {
		t.Fatal("bytes differ")
	}
	if s.armed {
		t.Error("the write deadline is still set")
	}
}

// A client that does not read fails the send when its time is over.
func TestSendTimesOut(t *testing.T) {
	server, _ := pipe(t)
	for name, conn := range map[string]net.Conn{"socket": server, "other": struct{ net.Conn }{server}} {
		resp, err := encodeBytes(3, 1, 5, make([]byte, 32<<20))
		if err != nil {
			t.Fatal(err)
		}
		if err := sendAll(NewSender(conn, time.Millisecond), resp, 0); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		resp.Free()
	}
}
