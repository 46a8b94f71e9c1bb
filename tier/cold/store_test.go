package cold_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/fault"
	"github.com/firnlog/firn/tier/segment"
)

// Many readers at once over a store with every fault: never a wrong byte, and the end is reached (I-22, I-25).
func TestFaultyStore(t *testing.T) {
	h := newHistory(t, 5, 500, 32<<10, segment.CompressionZstd)
	bad := fault.New(h.store, fault.Options{Seed: 7, StallFor: 20 * time.Millisecond, Rule: fault.Rule{
		fault.Get: {Error: .05, Throttle: .05, Stall: .02, Truncate: .1, Shorten: .1, Flip: .15, Slow: .05, Hang: .02}}})
	r := h.reader(cold.Options{Store: bad, CacheBytes: 64 << 10, GroupBytes: 12 << 10, StallTimeout: 200 * time.Millisecond})
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(9, uint64(n)))
			for o := int64(0); o < h.l.Next; {
				d, err := r.Read(context.Background(), h.p, h.l, o, 1+rnd.IntN(20<<10))
				if err != nil {
					continue // reported, and tried again
				}
				i := h.want(o)
				if !bytes.Equal(h.bytes[h.at[i]:h.at[i]+d.Bytes], content(t, d)) {
					t.Errorf("wrong bytes at offset %d", o)
				}
				o = d.Next
				d.Release()
			}
		})
	}
	wg.Wait()
	require.NotEmpty(t, bad.Struck()["get/flip"])
}

// flipping spoils one byte of every data GET as long as on is set, and counts.
type flipping struct {
	object.Store
	on    atomic.Bool
	gets  atomic.Int64
	bytes atomic.Int64  // asked for
	gate  chan struct{} // when set, Gets wait here
}

func (f *flipping) Get(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	f.gets.Add(1)
	f.bytes.Add(length)
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	body, err := f.Store.Get(ctx, key, off, length)
	if err != nil || !f.on.Load() || off > 1<<10 {
		return body, err
	}
	b, err := io.ReadAll(body)
	body.Close()
	if err != nil {
		return nil, err
	}
	b[len(b)/2] ^= 1
	return io.NopCloser(bytes.NewReader(b)), nil
}

// I-25: a chunk that is bad every time is reported with the object's name, never served; once the store is well
// again so are reads.
func TestBadChunkIsReportedNeverServed(t *testing.T) {
	h := newHistory(t, 6, 40, 1<<20, segment.CompressionNone)
	f := &flipping{Store: h.store}
	f.on.Store(true)
	r := h.reader(cold.Options{Store: f, GroupBytes: 1})
	_, err := r.Read(context.Background(), h.p, h.l, 0, 1<<20)
	require.ErrorIs(t, err, archive.ErrDamaged)
	require.ErrorContains(t, err, h.l.Recent[0].Key)
	f.on.Store(false)
	h.check(r, 0, 1<<20)
}

// I-22: a reader that gives up neither cancels the load of an index nor the fill of a group, nor wedges them.
func TestAbortedReadKeepsFilling(t *testing.T) {
	h := newHistory(t, 7, 40, 1<<20, segment.CompressionNone)
	f := &flipping{Store: h.store, gate: make(chan struct{})}
	r := h.reader(cold.Options{Store: f})
	for gets := range int64(2) { // given up while the index comes, then while the data comes
		ctx, cancel := context.WithCancel(context.Background())
		failed := make(chan error)
		go func() {
			_, err := r.Read(ctx, h.p, h.l, 0, 1000)
			failed <- err
		}()
		require.Eventually(t, func() bool { return f.gets.Load() == gets+1 }, 10*time.Second, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
		f.gate <- struct{}{} // the store answers
	}
	h.check(r, 0, 1000)
	require.EqualValues(t, 2, f.gets.Load(), "one GET for the index and one for data, both begun by readers that gave up")
}

// A hole is reported with the object's name.
func TestMissingObject(t *testing.T) {
	h := newHistory(t, 8, 200, 16<<10, segment.CompressionNone)
	require.NoError(t, h.store.Delete(context.Background(), []string{h.l.Recent[1].Key}))
	r := h.reader(cold.Options{})
	h.check(r, 0, 1000)
	_, err := r.Read(context.Background(), h.p, h.l, h.l.Recent[1].Base, 1000)
	require.ErrorIs(t, err, archive.ErrMissing)
	require.ErrorContains(t, err, h.l.Recent[1].Key)
	_, err = r.Read(context.Background(), h.p, h.l, h.l.Next, 1000)
	require.ErrorIs(t, err, cold.ErrOutOfRange)
}
