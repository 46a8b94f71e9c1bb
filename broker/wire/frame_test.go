package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// byteFrames is a FrameReader over bytes that counts what was reserved.
type byteFrames struct {
	r        *bytes.Reader
	reserved int
}

func (b *byteFrames) ReadFull(p []byte) error { _, err := io.ReadFull(b.r, p); return err }
func (b *byteFrames) Reserve(n int) error     { b.reserved += n; return nil }

// I-32: a claimed length costs at most four times what really arrived.
func TestReadFrameGrowsWithWhatArrives(t *testing.T) {
	for _, arrives := range []int{0, 1, FirstGrowth, FirstGrowth + 1, 1 << 20, 5 << 20} {
		for _, claim := range []int{8, FirstGrowth, FirstGrowth + 1, 3 << 20, 100 << 20} {
			data := []byte(pattern(arrives, 1))
			r := &byteFrames{r: bytes.NewReader(data)}
			b, err := ReadFrame(r, claim, 0)
			if claim <= arrives {
				if err != nil || !bytes.Equal(b.B, data[:claim]) || r.reserved != claim {
					t.Errorf("claim %d of %d: %v, reserved %d", claim, arrives, err, r.reserved)
				}
				b.Free()
				continue
			}
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("claim %d of %d: %v", claim, arrives, err)
			}
			if limit := max(FirstGrowth, 4*arrives); r.reserved > limit {
				t.Errorf("claim %d of %d: reserved %d", claim, arrives, r.reserved)
			}
		}
	}
}

// A pooled buffer has the asked length and at most twice the memory, and its class survives a round trip.
func TestBufferClasses(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 513, 4096, 4097, MaxFirst - 1, MaxFirst, MaxFirst + 1, 5 << 20} {
		for range 2 {
			b := NewBuffer(n)
			if len(b.B) != n || (n > 1<<minClassBits && cap(b.B) > 2*n) {
				t.Errorf("%d: length %d, capacity %d", n, len(b.B), cap(b.B))
			}
			b.Free()
		}
	}
	b := NewBuffer(600)
	b.B = append(b.B, make([]byte, 5000)...) // replaced: must not be pooled as 1 KiB
	b.Free()
	if c := NewBuffer(1000); cap(c.B) != 1024 {
		t.Errorf("capacity %d", cap(c.B))
	}
}

func TestParseHeader(t *testing.T) {
	id := "cli"
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID(id))
	everyVersion(func(key, version int16) {
		m := kmsg.RequestForKey(key)
		fill(m, rand.New(rand.NewPCG(1, uint64(key))))
		m.SetVersion(version)
		frame := format.AppendRequest(nil, m, 77)[4:]
		h, err := ParseHeader(frame)
		if err != nil || h.Key != key || h.Version != version || h.CorrelationID != 77 || string(h.ClientID) != id || !bytes.Equal(h.Body, m.AppendTo(nil)) {
			t.Errorf("key %d version %d: %+v, %v", key, version, h, err)
		}
	})
	h, err := ParseHeader([]byte{0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 42})
	if err != nil || h.ClientID != nil || !bytes.Equal(h.Body, []byte{42}) {
		t.Errorf("null client id: %+v, %v", h, err)
	}
	h, err = ParseHeader([]byte{0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff, 1, 5, 2, 'x', 'y', 42})
	if err != nil || !bytes.Equal(h.Body, []byte{42}) {
		t.Errorf("tagged field: %+v, %v", h, err)
	}
	for name, frame := range map[string][]byte{
		"empty":                   {},
		"no correlation id":       {0, 3, 0, 1, 0, 0},
		"no client id":            {0, 3, 0, 1, 0, 0, 0, 9},
		"client id too long":      {0, 3, 0, 1, 0, 0, 0, 9, 0, 3, 'a', 'b'},
		"client id of minus two":  {0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xfe, 0},
		"no tags":                 {0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff},
		"more tags than bytes":    {0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"a tag beyond the header": {0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff, 1, 0, 9, 0},
	} {
		if h, err := ParseHeader(frame); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	if h, err := ParseHeader([]byte{0x7f, 0xff, 0, 1, 0, 0, 0, 9}); err != nil || h.Key != 0x7fff {
		t.Errorf("unknown key: %+v, %v", h, err)
	}
}

// The answer to an ApiVersions version that nobody knows is what a version 0 client reads (KIP-511).
func TestUnsupportedApiVersions(t *testing.T) {
	v, err := NewVersions([]Range{{18, 0, 4}, {0, 3, 13}, {1, 4, 18}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := UnsupportedApiVersions(7, v.Advertised())
	if err != nil {
		t.Fatal(err)
	}
	want := kmsg.NewPtrApiVersionsResponse()
	want.ErrorCode = 35
	for _, r := range [][3]int16{{0, 0, 13}, {1, 4, 18}, {18, 0, 4}} { // Produce from 0
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = r[0], r[1], r[2]
		want.ApiKeys = append(want.ApiKeys, k)
	}
	checkResponse(t, resp, false, want.AppendTo(nil))
}

func TestVersionsTable(t *testing.T) {
	v, err := NewVersions([]Range{{0, 3, 13}, {3, 0, 13}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, version int16
		ok, known    bool
	}{{0, 3, true, true}, {0, 13, true, true}, {0, 2, false, true}, {0, 14, false, true}, {1, 4, false, false}, {-1, 0, false, false}, {3, -1, false, true}, {9999, 0, false, false}} {
		if ok, known := v.Serves(c.key, c.version); ok != c.ok || known != c.known {
			t.Errorf("%d version %d: %v, %v", c.key, c.version, ok, known)
		}
	}
	for name, bad := range map[string][]Range{
		"twice":                  {{3, 0, 13}, {3, 0, 12}},
		"empty":                  {{3, 5, 4}},
		"no such key":            {{2000, 0, 0}},
		"removed message":        {{4, 0, 1}},
		"beyond what is known":   {{3, 0, 14}},
		"below what is decoded":  {{19, 0, 7}},
		"negative":               {{3, -1, 4}},
		"produce that is parsed": {{0, 0, 13}},
	} {
		if _, err := NewVersions(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// An answer is given once; what comes later is ignored, but released.
func TestReplyOnce(t *testing.T) {
	var got []int16
	req := &Request{Key: KeyFetch, Version: 12}
	r := NewReply(req, SinkFunc(func(_ *Request, resp *Response, err error) {
		if err != nil {
			t.Error(err)
		}
		got = append(got, resp.ErrorCode)
		resp.Free()
	}))
	released := 0
	f := &FetchResponse{ErrorCode: 70, Release: func() { released++ }}
	r.Fetch(f)
	r.Fetch(f)
	r.None()
	r.Close(nil)
	if len(got) != 1 || got[0] != 70 || released != 2 {
		t.Errorf("completions %v, released %d times", got, released)
	}
	wrong := NewReply(&Request{Key: 3, Version: 1}, SinkFunc(func(_ *Request, resp *Response, err error) {
		if resp != nil || err == nil {
			t.Errorf("an answer to another API was taken: %v", err)
		}
	}))
	wrong.Message(kmsg.NewPtrApiVersionsResponse())
}

// I-32: any bytes on a listener, taken apart as frames, headers and bodies.
func FuzzFrame(f *testing.F) {
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID("fuzz"))
	r := rand.New(rand.NewPCG(21, 22))
	everyVersion(func(key, version int16) {
		m := kmsg.RequestForKey(key)
		fill(m, r)
		m.SetVersion(version)
		f.Add(format.AppendRequest(nil, m, 1))
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &byteFrames{r: bytes.NewReader(data)}
		for {
			var head [4]byte
			if in.ReadFull(head[:]) != nil {
				return
			}
			size := int32(binary.BigEndian.Uint32(head[:]))
			if size < 8 || size > 100<<20 {
				return
			}
			in.reserved = 0
			b, err := ReadFrame(in, int(size), 0)
			if in.reserved > max(FirstGrowth, 4*len(data)) {
				t.Fatalf("%d bytes reserved for %d", in.reserved, len(data))
			}
			if err != nil {
				return
			}
			if h, err := ParseHeader(b.B); err == nil {
				req := &Request{Key: h.Key, Version: h.Version, Body: h.Body}
				switch {
				case h.Key == KeyProduce && h.Version >= 0 && h.Version <= 13:
					_, _ = req.Produce()
					if resp, _, err := UnsupportedProduce(req); err == nil {
						resp.Free()
					}
				case h.Key == KeyFetch && h.Version >= 4 && h.Version <= 18:
					_, _ = req.Fetch()
				default:
					_, _ = req.Decode()
				}
				req.Free()
			}
			b.Free()
		}
	})
}
