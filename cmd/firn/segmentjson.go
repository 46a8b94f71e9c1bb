package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
)

// The lines of `firn segment dump -o json`: one object a line, told apart by their type. Times are in ms since 1970,
// as they are stored; -1 is none.
type (
	jsonSegment struct {
		Type      string         `json:"type"` // segment: the first line of an archived one
		Cluster   string         `json:"cluster"`
		Topic     string         `json:"topic"`
		TopicID   string         `json:"topicId"`
		Partition int32          `json:"partition"`
		Base      int64          `json:"baseOffset"`
		Last      int64          `json:"lastOffset"`
		Epoch     int32          `json:"leaderEpoch"`
		Bytes     int64          `json:"bytes"`
		Index     int64          `json:"indexBytes"`
		Data      int64          `json:"dataBytes"`
		MinTime   int64          `json:"minTimestampMs"`
		MaxTime   int64          `json:"maxTimestampMs"`
		Epochs    []jsonEpoch    `json:"epochs,omitempty"`
		Producers []jsonProducer `json:"producers,omitempty"`
		Aborted   []jsonAborted  `json:"aborted,omitempty"`
	}
	jsonEpoch struct {
		Epoch int32 `json:"epoch"`
		Start int64 `json:"startOffset"`
	}
	jsonProducer struct {
		ID       int64 `json:"id"`
		Epoch    int16 `json:"epoch"`
		LastTime int64 `json:"lastTimestampMs"`
		LastSeq  int32 `json:"lastSequence"` // -1: none
	}
	jsonAborted struct {
		ProducerID int64 `json:"producerId"`
		First      int64 `json:"firstOffset"`
		Last       int64 `json:"lastOffset"`
		Stable     int64 `json:"lastStableOffset"`
	}
	jsonChunk struct {
		Type     string `json:"type"` // chunk
		Chunk    int    `json:"chunk"`
		Base     int64  `json:"baseOffset"`
		Last     int64  `json:"lastOffset"`
		Position int64  `json:"position"`
		Bytes    int    `json:"bytes"`
		Data     int    `json:"dataBytes"`
		Zstd     bool   `json:"compressed"`
		CRC      uint32 `json:"crc32c"`
		MinTime  int64  `json:"minTimestampMs"`
		MaxTime  int64  `json:"maxTimestampMs"`
		Fault    string `json:"fault,omitempty"`
	}
	jsonBatch struct {
		Type          string `json:"type"` // batch
		Base          int64  `json:"baseOffset"`
		Last          int64  `json:"lastOffset"`
		Count         int32  `json:"count"`
		Position      int64  `json:"position"` // in the file, or in the chunk's batches
		Bytes         int    `json:"bytes"`
		Epoch         int32  `json:"leaderEpoch"`
		Codec         string `json:"codec"`
		MaxTime       int64  `json:"maxTimestampMs"`
		TimestampType string `json:"timestampType"`
		ProducerID    int64  `json:"producerId"`
		ProducerEpoch int16  `json:"producerEpoch"`
		BaseSequence  int32  `json:"baseSequence"`
		Transactional bool   `json:"transactional,omitempty"`
		Control       bool   `json:"control,omitempty"`
		CRC           uint32 `json:"crc"`
		Fault         string `json:"fault,omitempty"`
	}
	jsonDumped struct {
		Type   string `json:"type"` // record
		Offset int64  `json:"offset"`
		Time   int64  `json:"timestampMs"`
		jsonContent
	}
	jsonFault struct {
		Type     string `json:"type"` // fault: what follows it cannot be read
		Position int64  `json:"position"`
		Fault    string `json:"fault"`
	}
)

// jsonDump writes what the text dumps of record and segment write, for scripts.
type jsonDump struct {
	w    io.Writer
	deep bool
}

// segment dumps an archived segment. Like segment.Dump it passes over damaged chunks and returns the first fault.
func (d jsonDump) segment(r io.ReaderAt, size int64) error {
	ix, err := segment.Open(r, size)
	if err != nil {
		return err
	}
	if err := printJSON(d.w, describeSegment(ix)); err != nil {
		return err
	}
	var first error
	for i, c := range ix.Chunks() {
		line := jsonChunk{Type: "chunk", Chunk: i, Base: c.Base, Last: c.Next - 1, Position: c.Position, Bytes: c.Length, Data: c.RawLength,
			Zstd: c.Compressed, CRC: c.CRC32C, MinTime: c.MinTimestamp, MaxTime: c.MaxTimestamp}
		var batches []byte
		if d.deep {
			if batches, err = readChunk(r, c); err != nil {
				line.Fault = err.Error()
				if first == nil {
					first = fmt.Errorf("chunk %d: %w", i, err)
				}
			}
		}
		if err := printJSON(d.w, line); err != nil {
			return err
		}
		if err := d.batches(batches, 0); errors.Is(err, errUnreadable) && first == nil {
			first = fmt.Errorf("chunk %d: its batches %w", i, err)
		} else if err != nil && !errors.Is(err, errUnreadable) {
			return err
		}
	}
	return first
}

func readChunk(r io.ReaderAt, c segment.Chunk) ([]byte, error) {
	stored := make([]byte, c.Length)
	if n, err := r.ReadAt(stored, c.Position); err != nil && (err != io.EOF || n < len(stored)) {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	return segment.DecodeChunk(nil, stored, c)
}

func describeSegment(ix *segment.Index) jsonSegment {
	m, s := ix.Meta(), ix.Summary()
	line := jsonSegment{Type: "segment", Cluster: m.ClusterID, Topic: m.Topic.Topic, TopicID: m.Topic.ID.String(), Partition: m.Topic.Index,
		Base: m.Base, Last: m.Next - 1, Epoch: m.Epoch, Bytes: s.Length, Index: s.IndexLength, Data: s.DataBytes,
		MinTime: s.MinTimestamp, MaxTime: s.MaxTimestamp}
	for _, e := range ix.Epochs() {
		line.Epochs = append(line.Epochs, jsonEpoch{e.Epoch, e.Start})
	}
	for _, p := range ix.Producers() {
		last := int32(-1)
		if n := len(p.Batches); n > 0 {
			last = p.Batches[n-1].LastSeq
		}
		line.Producers = append(line.Producers, jsonProducer{p.ID, p.Epoch, p.LastTimestamp, last})
	}
	for _, t := range ix.Aborted() {
		line.Aborted = append(line.Aborted, jsonAborted{t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset})
	}
	return line
}

// log dumps a .log file, one batch in memory at a time; what cannot be passed over ends it with a fault line.
func (d jsonDump) log(r io.ReaderAt, size int64) error {
	var buf []byte
	for pos := int64(0); pos < size; {
		n := int64(record.HeaderSize)
		head := make([]byte, min(n, size-pos))
		if _, err := r.ReadAt(head, pos); err != nil && err != io.EOF {
			return fmt.Errorf("reading the batch at %d: %w", pos, err)
		}
		if h, err := record.ParseHeader(head); err == nil && h.Magic == record.Magic {
			n = max(n, int64(h.Size()))
		}
		n = min(n, size-pos) // a batch that is cut short is for batches to report
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := r.ReadAt(buf, pos); err != nil && err != io.EOF {
			return fmt.Errorf("reading the batch at %d: %w", pos, err)
		}
		if err := d.batches(buf, pos); errors.Is(err, errUnreadable) {
			return nil // the fault line has said why
		} else if err != nil {
			return err
		}
		pos += n
	}
	return nil
}

// errUnreadable says that batches ended in a fault line.
var errUnreadable = errors.New("cannot be read on")

// batches dumps whole batches of which the first begins at position.
func (d jsonDump) batches(b []byte, position int64) error {
	it := record.Batches(b)
	for it.Next() {
		if err := d.batch(it.Header(), it.Bytes(), position+int64(it.Position())); err != nil {
			return err
		}
	}
	if it.Err() == nil {
		return nil
	}
	if err := printJSON(d.w, jsonFault{"fault", position + int64(it.Consumed()), it.Err().Error()}); err != nil {
		return err
	}
	return errUnreadable
}

func (d jsonDump) batch(h record.Header, b []byte, position int64) error {
	line := jsonBatch{Type: "batch", Base: h.BaseOffset, Last: h.LastOffset(), Count: h.Count, Position: position, Bytes: len(b),
		Epoch: h.LeaderEpoch, Codec: fmt.Sprint(h.Codec()), MaxTime: h.MaxTimestamp, TimestampType: fmt.Sprint(h.TimestampType()),
		ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch, BaseSequence: h.BaseSequence,
		Transactional: h.IsTransactional(), Control: h.IsControl(), CRC: h.CRC}
	if _, err := record.CheckStored(b); err != nil {
		line.Fault = err.Error()
	}
	if err := printJSON(d.w, line); err != nil || !d.deep {
		return err
	}
	var refused error
	err := record.Records(b, record.DefaultMaxDecoded, func(_ int, r *record.Record) error {
		refused = printJSON(d.w, jsonDumped{"record", h.Offset(r), h.Timestamp(r), contentOf(r.Key, r.Value, r.Headers)})
		return refused
	})
	if refused != nil || err == nil {
		return refused
	}
	return printJSON(d.w, jsonFault{"fault", position, err.Error()})
}
