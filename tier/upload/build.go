package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/segment"
)

// built is a finished segment, ready to be stored. Key, Epoch and CommittedAt of seg are still to be filled in.
type built struct {
	seg   ledger.Segment
	body  io.ReaderAt
	close func()
}

const (
	readBytes   = 1 << 20 // taken from the log at a time
	memoryBytes = 8 << 20 // data of a segment that is built in memory because the disk is full
)

// build makes the segment that d asks for; when the disk is full, a smaller one in memory, because uploading is what
// makes room again.
func (m *Manager) build(ctx context.Context, h *Handle, d Decision) (*built, error) {
	b, err := m.buildIn(ctx, h, d, m.newSpoolFile)
	if errors.Is(err, syscall.ENOSPC) {
		d.MaxBytes = min(d.MaxBytes, memoryBytes)
		b, err = m.buildIn(ctx, h, d, nil)
	}
	return b, err
}

func (m *Manager) buildIn(ctx context.Context, h *Handle, d Decision, open func() (disk.File, error)) (b *built, err error) {
	epoch := h.src.Epoch()
	if epoch < 0 {
		return nil, errors.New("leadership was lost")
	}
	out := &body{spool: spool{open: open}}
	defer func() {
		if err != nil {
			out.discard()
		}
	}()
	cfg := h.src.Config()
	compression, ok := segment.ParseCompression(cfg.Compression)
	if !ok && cfg.Compression != "" {
		return nil, fmt.Errorf("firn.remote.compression=%s is not known: use none or zstd", cfg.Compression)
	}
	w := segment.NewWriter(out, segment.WriterOptions{
		Meta:       segment.Meta{ClusterID: m.o.Layout.ClusterID, Topic: h.p, Base: d.From, Epoch: epoch},
		ChunkBytes: m.o.ChunkBytes, Compression: compression, Futile: h.job.futile,
	})
	if err := fill(ctx, h.src, w, out, d); err != nil {
		return nil, err
	}
	st := segment.State{Epochs: epochsBelow(h.src.Epochs(), w.Next())}
	if st.Producers, err = h.src.ProducersAt(w.Next()); err != nil {
		return nil, fmt.Errorf("producer state at offset %d: %w", w.Next(), err)
	}
	if st.Aborted, err = h.src.AbortedTxns(d.From, w.Next()); err != nil {
		return nil, fmt.Errorf("aborted transactions: %w", err)
	}
	w.SetState(st)
	sum, err := w.Close()
	if err != nil {
		return nil, err
	}
	if err := verify(out, sum); err != nil {
		return nil, err
	}
	h.job.futile = w.Futile()
	return &built{body: out, close: out.discard, seg: ledger.Segment{
		Base: sum.Base, Next: sum.Next, Length: sum.Length, CRC32C: sum.CRC32C, DataBytes: sum.DataBytes,
		IndexLength: sum.IndexLength, MinTimestamp: sum.MinTimestamp, MaxTimestamp: sum.MaxTimestamp,
		MaxTimestampOffset: sum.MaxTimestampOffset,
	}}, nil
}

// buffers hold what is read from the log at a time.
var buffers = sync.Pool{New: func() any { b := make([]byte, readBytes); return &b }}

// fill adds batches from d.From on until d.MaxBytes or d.Limit is reached.
func fill(ctx context.Context, src Source, w *segment.Writer, out *body, d Decision) error {
	buf := buffers.Get().(*[]byte)
	defer func() {
		if len(*buf) <= 4*readBytes { // the buffer of a rare giant does not stay
			buffers.Put(buf)
		}
	}()
	for w.Next() < d.Limit && out.taken < d.MaxBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		batches, err := src.Read(w.Next(), d.Limit, int(min(readBytes, d.MaxBytes-out.taken)))
		if err != nil {
			return fmt.Errorf("read the local log at offset %d: %w", w.Next(), err)
		}
		out.take(batches)
		if batches.Bytes == 0 { // the last batch below the limit was the last one
			break
		}
		if len(*buf) < batches.Bytes {
			*buf = make([]byte, batches.Bytes)
		}
		if err := batches.copyTo((*buf)[:batches.Bytes]); err != nil {
			return fmt.Errorf("read the local log at offset %d: %w", w.Next(), err)
		}
		if err := w.Add((*buf)[:batches.Bytes]); err != nil {
			return err
		}
		if w.Next() > d.Limit { // I-08, whatever the Source does
			return fmt.Errorf("the local log gave records up to offset %d, above the last stable offset %d", w.Next(), d.Limit)
		}
	}
	return nil
}

// verify reads a finished segment back and holds its index against its data (I-16).
func verify(r io.ReaderAt, sum segment.Summary) error {
	ix, err := segment.Open(r, sum.Length)
	if err != nil {
		return fmt.Errorf("verify what was built: %w", err)
	}
	got := ix.Summary()
	got.CRC32C = sum.CRC32C
	if got != sum {
		return fmt.Errorf("verify what was built: the index says %+v, the writer %+v", got, sum)
	}
	if err := segment.VerifyIndex(ix, r); err != nil {
		return fmt.Errorf("verify what was built: %w", err)
	}
	return nil
}

// epochsBelow is the part of a lineage that begins below offset next.
func epochsBelow(all []EpochEntry, next int64) []EpochEntry {
	for i, e := range all {
		if e.Start >= next {
			return all[:i]
		}
	}
	return all
}
