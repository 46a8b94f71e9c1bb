package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
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
	writeBytes  = 1 << 20 // written to the spool at a time
	memoryBytes = 8 << 20 // data of a segment that is built in memory because the disk is full
)

// build makes the segment that d asks for: in a spool file, or, when the disk is full, a smaller one in memory,
// because uploading is what makes room again.
func (m *Manager) build(ctx context.Context, h *Handle, d Decision) (*built, error) {
	b, err := m.buildIn(ctx, h, d, m.newSpoolFile)
	if errors.Is(err, syscall.ENOSPC) {
		d.MaxBytes = min(d.MaxBytes, memoryBytes)
		b, err = m.buildIn(ctx, h, d, func() (spool, error) { return &memory{}, nil })
	}
	return b, err
}

// spool takes a segment under construction.
type spool interface {
	io.Writer
	io.ReaderAt
	done() error // all is written
	discard()
}

func (m *Manager) buildIn(ctx context.Context, h *Handle, d Decision, open func() (spool, error)) (b *built, err error) {
	epoch := h.src.Epoch()
	if epoch < 0 {
		return nil, errors.New("leadership was lost")
	}
	out, err := open()
	if err != nil {
		return nil, err
	}
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
		ChunkBytes: m.o.ChunkBytes, Compression: compression,
	})
	if err := fill(ctx, h.src, w, d); err != nil {
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
	if err := out.done(); err != nil {
		return nil, err
	}
	if err := verify(out, sum); err != nil {
		return nil, err
	}
	return &built{body: out, close: out.discard, seg: ledger.Segment{
		Base: sum.Base, Next: sum.Next, Length: sum.Length, CRC32C: sum.CRC32C, DataBytes: sum.DataBytes,
		IndexLength: sum.IndexLength, MinTimestamp: sum.MinTimestamp, MaxTimestamp: sum.MaxTimestamp,
		MaxTimestampOffset: sum.MaxTimestampOffset,
	}}, nil
}

// fill adds batches from d.From on until d.MaxBytes or d.Limit is reached.
func fill(ctx context.Context, src Source, w *segment.Writer, d Decision) error {
	for taken := int64(0); w.Next() < d.Limit && taken < d.MaxBytes; {
		if err := ctx.Err(); err != nil {
			return err
		}
		batches, err := src.ReadBytes(w.Next(), d.Limit, int(min(readBytes, d.MaxBytes-taken)))
		if err != nil {
			return fmt.Errorf("read the local log at offset %d: %w", w.Next(), err)
		}
		if len(batches) == 0 { // the last batch below the limit was the last one
			break
		}
		if err := w.Add(batches); err != nil {
			return err
		}
		if w.Next() > d.Limit { // I-08, whatever the Source does
			return fmt.Errorf("the local log gave records up to offset %d, above the last stable offset %d", w.Next(), d.Limit)
		}
		taken += int64(len(batches))
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

// spoolFile is an unlinked file: whatever happens, it leaves nothing behind.
type spoolFile struct {
	f       disk.File
	buf     []byte
	written int64
}

var spoolNumber atomic.Int64

func (m *Manager) newSpoolFile() (spool, error) {
	name := filepath.Join(m.o.SpoolDir, fmt.Sprintf("segment-%d", spoolNumber.Add(1)))
	f, err := m.o.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := m.o.FS.Remove(name); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	return &spoolFile{f: f, buf: make([]byte, 0, writeBytes)}, nil
}

// Write implements io.Writer.
func (s *spoolFile) Write(b []byte) (int, error) {
	if len(s.buf)+len(b) > cap(s.buf) {
		if err := s.done(); err != nil {
			return 0, err
		}
		if len(b) >= cap(s.buf) {
			n, err := s.f.WriteAt(b, s.written)
			s.written += int64(n)
			return n, err
		}
	}
	s.buf = append(s.buf, b...)
	return len(b), nil
}

func (s *spoolFile) done() error {
	n, err := s.f.WriteAt(s.buf, s.written)
	s.written += int64(n)
	s.buf = s.buf[:0]
	return err
}

// ReadAt implements io.ReaderAt.
func (s *spoolFile) ReadAt(p []byte, off int64) (int, error) { return s.f.ReadAt(p, off) }

func (s *spoolFile) discard() { _ = s.f.Close() }

// memory is a spool for when the disk is full.
type memory struct{ b []byte }

// Write implements io.Writer.
func (s *memory) Write(b []byte) (int, error) {
	s.b = append(s.b, b...)
	return len(b), nil
}

// ReadAt implements io.ReaderAt.
func (s *memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(s.b).ReadAt(p, off)
}

func (s *memory) done() error { return nil }
func (s *memory) discard()    {}
