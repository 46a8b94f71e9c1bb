package cold_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
)

var lay = layout.Layout{ClusterID: "cluster", Generation: "gen"}

// history is an archived partition and what was appended to it.
type history struct {
	t       *testing.T
	store   object.Store // counts and may be swapped by tests
	p       topic.Partition
	l       *ledger.Ledger
	batches []record.Header
	bytes   []byte
	at      []int // where each batch begins in bytes
	chunks  int   // bytes of a chunk
}

// newHistory archives n batches in segments of about segBytes, with chunks of 4 KiB.
func newHistory(t *testing.T, seed uint64, n, segBytes int, c segment.Compression) *history {
	store, err := dir.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	h := &history{t: t, store: store, p: topic.Partition{ID: topic.NewID(), Topic: "t", Index: 3}, chunks: 4 << 10}
	h.l = &ledger.Ledger{Topic: h.p.ID, Index: 3}
	rnd := rand.New(rand.NewPCG(seed, 1))
	next := int64(0)
	for i := range n {
		b := record.NewBuilder(record.None).LeaderEpoch(1)
		for j := range 1 + rnd.IntN(4) {
			v := bytes.Repeat([]byte{byte(rnd.Uint32()), byte(i)}, rnd.IntN(400))
			b.Append(1_000_000+int64(i)*10+int64(j)-rnd.Int64N(50), nil, v, nil)
		}
		raw := b.Build(next)
		record.Stamp(raw, next, 1)
		head, err := record.Check(raw)
		require.NoError(t, err)
		h.batches, h.at = append(h.batches, head), append(h.at, len(h.bytes))
		h.bytes = append(h.bytes, raw...)
		next = head.NextOffset()
	}
	for i := 0; i < n; {
		first := i
		for size := 0; i < n && size < segBytes; i++ {
			size += h.batches[i].Size()
		}
		end := len(h.bytes)
		if i < n {
			end = h.at[i]
		}
		h.archive(h.bytes[h.at[first]:end], h.batches[first].BaseOffset, c)
	}
	return h
}

func (h *history) archive(batches []byte, base int64, c segment.Compression) {
	var buf bytes.Buffer
	w := segment.NewWriter(&buf, segment.WriterOptions{Meta: segment.Meta{ClusterID: "cluster", Topic: h.p, Base: base, Epoch: 1},
		ChunkBytes: h.chunks, Compression: c, State: segment.State{Epochs: []segment.EpochEntry{{Epoch: 1}}}})
	require.NoError(h.t, w.Add(batches))
	sum, err := w.Close()
	require.NoError(h.t, err)
	key := lay.SegmentKey(h.p.ID, h.p.Index, base, 1)
	_, err = h.store.Put(context.Background(), key, bytes.NewReader(buf.Bytes()), sum.Length, object.PutOptions{})
	require.NoError(h.t, err)
	h.l, err = h.l.Apply(ledger.Append{Epoch: 1, Base: base, Fence: h.l.Fence, Segment: ledger.Segment{Base: base, Next: sum.Next, Key: key,
		Length: sum.Length, CRC32C: sum.CRC32C, DataBytes: sum.DataBytes, IndexLength: sum.IndexLength, Epoch: 1,
		MinTimestamp: sum.MinTimestamp, MaxTimestamp: sum.MaxTimestamp, MaxTimestampOffset: sum.MaxTimestampOffset, CommittedAt: 1}})
	require.NoError(h.t, err)
}

// fold puts the older segments into a fold, and tells its key.
func (h *history) fold() (key string) {
	inputs := h.l.PlanFold(2, 1)
	require.NotEmpty(h.t, inputs)
	key = lay.FoldKey(h.p.ID, h.p.Index, 0, h.l.Version)
	ref, b, err := ledger.NewFold(key, ledger.FoldFile{ClusterID: "cluster", Generation: "gen", Partition: h.p, Segments: inputs})
	require.NoError(h.t, err)
	_, err = h.store.Put(context.Background(), key, bytes.NewReader(b), int64(len(b)), object.PutOptions{})
	require.NoError(h.t, err)
	h.l, err = h.l.Apply(ledger.Fold{Ref: ref, Inputs: inputs})
	require.NoError(h.t, err)
	return key
}

// want is the batch that a read at offset begins with.
func (h *history) want(offset int64) int {
	for i, b := range h.batches {
		if b.NextOffset() > offset {
			return i
		}
	}
	return len(h.batches)
}

func (h *history) reader(o cold.Options) *cold.Reader {
	if o.Store == nil {
		o.Store = h.store
	}
	if o.CacheDir == "" {
		o.CacheDir = h.t.TempDir()
	}
	if o.RetryPause == 0 {
		o.RetryPause = time.Millisecond
	}
	r, err := cold.New(o)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { require.NoError(h.t, r.Close()) })
	return r
}

func content(t *testing.T, d *cold.Data) []byte {
	var out []byte
	for _, reg := range d.Regions {
		if reg.File == nil {
			out = append(out, reg.Bytes...)
			continue
		}
		b := make([]byte, reg.Length)
		_, err := reg.File.ReadAt(b, reg.Position)
		require.NoError(t, err)
		out = append(out, b...)
	}
	require.Len(t, out, d.Bytes)
	return out
}

// check reads at offset and compares.
func (h *history) check(r *cold.Reader, offset int64, maxBytes int) int64 {
	d, err := r.Read(context.Background(), h.p, h.l, offset, maxBytes)
	require.NoError(h.t, err, "offset %d", offset)
	defer d.Release()
	return h.matches(d, offset, maxBytes)
}

// matches compares what was read at offset.
func (h *history) matches(d *cold.Data, offset int64, maxBytes int) int64 {
	got := content(h.t, d)
	i := h.want(offset)
	require.NotEmpty(h.t, got)
	require.Equal(h.t, h.batches[i].BaseOffset, d.First)
	require.Equal(h.t, h.bytes[h.at[i]:h.at[i]+len(got)], got, "offset %d", offset)
	if len(got) > maxBytes {
		require.Equal(h.t, h.batches[i].Size(), len(got), "more than maxBytes must be a single batch (I-21)")
	}
	end := h.want(d.Next) // whole batches, and Next follows the last of them
	if end < len(h.at) {
		require.Equal(h.t, h.at[end], h.at[i]+len(got))
	} else {
		require.Equal(h.t, len(h.bytes), h.at[i]+len(got))
	}
	return d.Next
}
