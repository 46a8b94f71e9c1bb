package partition

import (
	"fmt"
	"sync"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

// source is a partition as the uploader sees it. It is registered once the log is open.
type source struct{ p *Partition }

var _ upload.Source = source{}

func (s source) log() Log { return *s.p.log.Load() }

func (s source) Partition() topic.Partition { return s.p.id }

func (s source) Epoch() int32 {
	n := s.p.news.Load()
	if !n.leader || s.p.failure() != 0 {
		return -1
	}
	return n.state.LeaderEpoch
}

// Stable is the last stable offset; without transactions, the high watermark.
func (s source) Stable() int64 { return s.p.hw.Load() }

func (s source) LocalStart() int64 { return s.log().LocalStart() }

func (s source) LogStart() int64 { return s.log().LogStart() }

func (s source) Read(off, limit int64, max int) (upload.Batches, error) {
	d, err := s.log().Read(off, limit, max, true)
	if err != nil {
		return upload.Batches{}, err
	}
	return upload.Batches{Regions: d.Regions, Bytes: d.Bytes, Release: d.Release}, nil
}

// segmentLists are used again: the uploader asks for the segments of each busy partition a few times a second.
var segmentLists = sync.Pool{New: func() any { return new([]hot.SegmentInfo) }}

// segments describes the segments of the local log in a list that goes back to segmentLists.
func (s source) segments() *[]hot.SegmentInfo {
	list := segmentLists.Get().(*[]hot.SegmentInfo)
	*list = s.log().AppendSegments((*list)[:0])
	return list
}

// PendingBytes counts whole segments above from, and of the one that from lies in its proportion.
func (s source) PendingBytes(from int64) int64 {
	segs := s.segments()
	defer segmentLists.Put(segs)
	var n int64
	for _, seg := range *segs {
		switch {
		case seg.Next <= from:
		case seg.Base >= from:
			n += seg.Bytes
		default:
			n += int64(float64(seg.Bytes) * float64(seg.Next-from) / float64(seg.Next-seg.Base))
		}
	}
	return n
}

// PendingSince is the last change of the closed segment that from lies in: the record cannot be younger. In the
// segment that is being written the last change says nothing; the uploader then goes by when it noticed.
func (s source) PendingSince(from int64) (int64, bool) {
	segs := s.segments()
	defer segmentLists.Put(segs)
	for i, seg := range *segs {
		if seg.Next > from {
			return seg.Modified, seg.Modified > 0 && i < len(*segs)-1
		}
	}
	return 0, false
}

func (s source) ProducersAt(off int64) ([]upload.ProducerEntry, error) {
	entries, err := s.log().ProducersAt(off)
	if err != nil {
		return nil, fmt.Errorf("producers of %s at offset %d: %w", s.p.id, off, err)
	}
	out := make([]upload.ProducerEntry, len(entries))
	for i, e := range entries {
		out[i] = archivedProducer(e)
	}
	return out, nil
}

func (s source) Epochs() []upload.EpochEntry {
	var out []upload.EpochEntry
	for _, e := range s.log().Epochs() {
		out = append(out, upload.EpochEntry{Epoch: e.Epoch, Start: e.Start})
	}
	return out
}

// AbortedTxns is empty until there are transactions.
func (s source) AbortedTxns(_, _ int64) ([]upload.AbortedTxn, error) { return nil, nil }

func (s source) Config() upload.Config { return s.p.Settings().Upload }

// Archived notes what may be trimmed; housekeeping does it.
func (s source) Archived(to int64) {
	for {
		old := s.p.archived.Load()
		if to <= old || s.p.archived.CompareAndSwap(old, to) {
			return
		}
	}
}

func archivedProducer(e producer.Entry) upload.ProducerEntry {
	out := upload.ProducerEntry{ID: e.ID, Epoch: e.Epoch, CoordinatorEpoch: e.CoordinatorEpoch,
		LastTimestamp: e.LastTimestamp, CurrentTxnFirstOffset: e.CurrentTxnFirstOffset}
	for _, b := range e.Batches() {
		out.Batches = append(out.Batches, segment.ProducerBatch{FirstSeq: b.FirstSeq(), LastSeq: b.LastSeq,
			LastOffset: b.LastOffset, Timestamp: b.Timestamp})
	}
	return out
}

// localProducer is the way back, for a log that goes on from its archive.
func localProducer(e upload.ProducerEntry) producer.Entry {
	out := producer.NewEntry(e.ID)
	out.Epoch, out.CoordinatorEpoch = e.Epoch, e.CoordinatorEpoch
	out.LastTimestamp, out.CurrentTxnFirstOffset = e.LastTimestamp, e.CurrentTxnFirstOffset
	for _, b := range e.Batches {
		delta := int32((int64(b.LastSeq) - int64(b.FirstSeq)) & (1<<31 - 1))
		out.Add(producer.Batch{LastOffset: b.LastOffset, Timestamp: b.Timestamp, LastSeq: b.LastSeq, Delta: delta})
	}
	return out
}

// HotBytesFrom tells the bytes of the local log at and above an offset; 0 while the log is not open. The archive's
// retention by size counts them once (I-13).
func (p *Partition) HotBytesFrom(offset int64) int64 {
	if !p.IsOpen() {
		return 0
	}
	return source{p}.PendingBytes(offset)
}
