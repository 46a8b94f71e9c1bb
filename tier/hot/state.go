package hot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/topic"
)

// stateFile, in the log directory, says up to where each log is known to be whole and durable. After a clean stop
// (see cleanFile) that is all of it, so opening ten thousand logs reads one file. After a crash it is where
// recovery begins: what is below is not read again, unless a power cut took index entries of it that had been written
// and not synced. Then recovery begins at the point up to which they had been (logState.Indexed, see checkpoint). Without
// the file everything is read.
//
// It is text: a line {"version":3,"logs":N}, N lines of a logState each, and a line with the CRC-32C of everything
// before, in 8 hexadecimal digits. Version 2 had no logState.Producers, version 1 no logState.Indexed either; both are read.
const (
	stateFile    = "firn-state"
	stateVersion = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type stateHeader struct {
	Version int `json:"version"`
	Logs    int `json:"logs"`
}

// logState is one log in the state file.
type logState struct {
	Topic      string        `json:"topic"`
	Index      int32         `json:"partition"`
	ID         topic.ID      `json:"id"`
	Segments   []segState    `json:"segments"`           // oldest first; the last may have grown since
	Epochs     []epoch.Entry `json:"epochs"`             // of use after a clean stop only
	SinceIndex int64         `json:"since"`              // these three: see point
	FirstTime  int64         `json:"first"`              // …
	TimeAdded  int64         `json:"added"`              // …
	Start      int64         `json:"start,omitzero"`     // log start; of use after a clean stop only
	Damaged    bool          `json:"damaged,omitzero"`   // not opened for ErrDamaged: read it all next time
	Indexed    *pointState   `json:"indexed,omitzero"`   // up to where the indexes are durable, too; nil: where the last segment begins
	Producers  *producersAt  `json:"producers,omitzero"` // what was known of them at an offset of Segments; nil: see noted.go

	// Of a log that is not open (see unopened.go); a firn that does not know them passes over them.
	Unchecked bool        `json:"unchecked,omitzero"` // nobody opened it since a crash, or another kernel: no clean stop vouches for it
	Journal   *boundState `json:"journal,omitzero"`   // what the flush journal said of it since
}

// pointState is a point in the state file.
type pointState struct {
	Base          int64 `json:"base"`
	Next          int64 `json:"next"`
	Size          int64 `json:"size"`
	MaxTime       int64 `json:"max"`
	MaxTimeOffset int64 `json:"maxo"`
	Index         int   `json:"idx"`
	TimeIndex     int   `json:"tidx"`
	SinceIndex    int64 `json:"since"`
	FirstTime     int64 `json:"first"`
	TimeAdded     int64 `json:"added"`
}

// segState is a segment in the state file, up to where it is durable.
type segState struct {
	Base          int64 `json:"base"`
	Next          int64 `json:"next"`
	Size          int64 `json:"size"`
	MaxTime       int64 `json:"max"`
	MaxTimeOffset int64 `json:"maxo"`
	Modified      int64 `json:"mod"`
	Index         int   `json:"idx"`
	TimeIndex     int   `json:"tidx"`
}

func (st *logState) partition() topic.Partition {
	return topic.Partition{ID: st.ID, Topic: st.Topic, Index: st.Index}
}

// startOf is the point at which a segment begins.
func startOf(s *segment) point { return beginning(s.base) }

func beginning(base int64) point {
	t := noTime(base)
	return point{base: base, tail: t, firstTime: t.maxTime, timeAdded: t.maxTime}
}

// above reports whether p lies behind q in the log.
func (p *point) above(q *point) bool {
	return p.base > q.base || p.base == q.base && p.tail.size > q.tail.size
}

func (p *point) state() *pointState {
	return &pointState{Base: p.base, Next: p.tail.next, Size: p.tail.size, MaxTime: p.tail.maxTime, MaxTimeOffset: p.tail.maxTimeOffset,
		Index: p.index, TimeIndex: p.timeIndex, SinceIndex: p.sinceIndex, FirstTime: p.firstTime, TimeAdded: p.timeAdded}
}

// indexed is the point up to which the state says that the indexes are durable.
func (st *logState) indexed() point {
	p := st.Indexed
	if p == nil {
		return beginning(st.last().Base)
	}
	return point{base: p.Base, tail: segmentTail{size: p.Size, next: p.Next, maxTime: p.MaxTime, maxTimeOffset: p.MaxTimeOffset},
		index: p.Index, timeIndex: p.TimeIndex, sinceIndex: p.SinceIndex, firstTime: p.FirstTime, timeAdded: p.TimeAdded}
}

// stateOf is all that a log's state follows from.
type stateOf struct {
	segs      *[]*segment
	epochs    *epoch.Cache
	durable   point
	indexed   *point
	replacing *segment
	start     int64
	noted     noted
	changes   int // see changed
}

// stateLine is the log's line in the state file, as of now. With thousands of logs most did not change since the last time.
func (l *Log) stateLine() ([]byte, error) {
	l.mu.Lock()
	of := stateOf{l.segs.Load(), l.epochs.Load(), l.durable, l.indexed, l.replacing, l.logStart.Load(), l.noted, l.changes}
	if l.lineOf == of {
		defer l.mu.Unlock()
		return l.line, nil
	}
	st := l.stateLocked()
	l.mu.Unlock()
	line, err := st.encode()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.line, l.lineOf = line, of
	l.mu.Unlock()
	return line, nil
}

// changed has the line made anew. The caller does not hold mu.
func (l *Log) changed() {
	l.mu.Lock()
	l.changes++
	l.mu.Unlock()
}

// state describes the log up to where it is durable.
func (l *Log) state() *logState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stateLocked()
}

// stateLocked is state under mu. What it depends on is stateOf, and the number of index entries of full segments: whoever
// changes that takes the line back.
func (l *Log) stateLocked() *logState {
	at := l.durable
	if first := l.segments()[0]; at.base < first.base { // trimmed: what follows was flushed, too, but is read again
		at = startOf(first)
	}
	if s := l.replacing; s != nil && at.base >= s.base {
		at = startOf(s)
	}
	st := &logState{Topic: l.part.Topic, Index: l.part.Index, ID: l.part.ID, Epochs: l.epochs.Load().Entries(),
		SinceIndex: at.sinceIndex, FirstTime: at.firstTime, TimeAdded: at.timeAdded, Start: l.logStart.Load()}
	indexed := *l.indexed
	if first := l.segments()[0]; indexed.base < first.base {
		indexed = startOf(first)
	}
	if indexed.above(&at) {
		indexed = at // where one of the segments begins, for nothing else is below
	}
	if indexed.base != at.base || indexed.tail.size > 0 {
		st.Indexed = indexed.state()
	}
	for _, s := range l.segments() {
		if s.base > at.base {
			break
		}
		t, index, timeIndex := s.now(), s.idx.len(), s.tidx.len()
		if s.base == at.base {
			t, index, timeIndex = at.tail, at.index, at.timeIndex
		}
		st.Segments = append(st.Segments, segState{Base: s.base, Next: t.next, Size: t.size, MaxTime: t.maxTime,
			MaxTimeOffset: t.maxTimeOffset, Modified: t.modified, Index: index, TimeIndex: timeIndex})
	}
	st.Producers = l.noted.upTo(st.Segments[0].Base, st.end())
	return st
}

// check refuses what no log can have written, so that a damaged file cannot lead reads astray.
func (st *logState) check() error {
	if st.Topic == "" || st.Index < 0 || st.ID.IsZero() || len(st.Segments) == 0 {
		return errors.New("a log without name, id or segments")
	}
	for i, g := range st.Segments {
		// With a CRC over the file, only a fault of ours can make these; the worst would be a read far away.
		if g.Base < 0 || g.Next < g.Base || g.Size < 0 || g.Index < 0 || g.TimeIndex < 0 ||
			g.Index > math.MaxInt32 || g.TimeIndex > math.MaxInt32 || (i > 0 && g.Base < st.Segments[i-1].Next) {
			return fmt.Errorf("%s-%d: segment %d is impossible: %+v", st.Topic, st.Index, i, g)
		}
	}
	if p := st.Producers; p != nil && (p.Offset < st.Segments[0].Base || p.Offset > st.end()) {
		return fmt.Errorf("%s-%d: its producers are not known at offset %d", st.Topic, st.Index, p.Offset)
	}
	if b := st.Journal; b != nil && (b.Base < 0 || b.Size < 0) {
		return fmt.Errorf("%s-%d: the journal cannot have had it up to %+v", st.Topic, st.Index, *b)
	}
	p := st.Indexed
	if p == nil {
		return nil
	}
	for _, g := range st.Segments {
		if g.Base == p.Base && p.Size >= 0 && p.Size <= g.Size && p.Next >= p.Base && p.Next <= g.Next &&
			p.Index >= 0 && p.TimeIndex >= 0 && p.Index <= math.MaxInt32 && p.TimeIndex <= math.MaxInt32 {
			return nil
		}
	}
	return fmt.Errorf("%s-%d: it cannot be indexed up to %+v", st.Topic, st.Index, *p)
}

func (st *logState) last() *segState { return &st.Segments[len(st.Segments)-1] }

func (st *logState) end() int64 { return st.last().Next }

// lacks is how many bytes of a log that was opened the state does not vouch for: a recovery read them. No state vouches
// for nothing.
func (st *logState) lacks(l *Log) int64 {
	n := l.Bytes()
	if st == nil {
		return n
	}
	first := l.segments()[0].base
	for _, g := range st.Segments {
		if g.Base >= first {
			n -= g.Size
		}
	}
	return max(0, n)
}

// encode is the log's line.
func (st *logState) encode() ([]byte, error) {
	b, err := json.Marshal(st)
	return append(b, '\n'), err
}

// encodeState is the file with these lines, one a log.
func encodeState(lines [][]byte) ([]byte, error) {
	head, err := json.Marshal(stateHeader{Version: stateVersion, Logs: len(lines)})
	if err != nil {
		return nil, err
	}
	size := len(head) + 16
	for _, line := range lines {
		size += len(line)
	}
	b := append(append(make([]byte, 0, size), head...), '\n')
	for _, line := range lines {
		b = append(b, line...)
	}
	return fmt.Appendf(b, "%08x\n", crc32.Checksum(b, castagnoli)), nil
}

func decodeState(b []byte) ([]*logState, error) {
	const trailer = 9
	if len(b) < trailer || b[len(b)-1] != '\n' {
		return nil, errors.New("cut short")
	}
	body, sum := b[:len(b)-trailer], string(b[len(b)-trailer:len(b)-1])
	want, err := strconv.ParseUint(sum, 16, 32)
	if err != nil || uint32(want) != crc32.Checksum(body, castagnoli) {
		return nil, fmt.Errorf("CRC-32C %q does not match", sum)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	var h stateHeader
	if err := dec.Decode(&h); err != nil {
		return nil, err
	}
	if h.Version < 1 || h.Version > stateVersion {
		return nil, fmt.Errorf("version %d, this firn knows 1 to %d", h.Version, stateVersion)
	}
	if h.Logs < 0 || h.Logs > len(body) {
		return nil, fmt.Errorf("%d logs announced", h.Logs)
	}
	logs := make([]*logState, 0, h.Logs)
	for range h.Logs {
		l := new(logState)
		if err := dec.Decode(l); err != nil {
			return nil, err
		}
		if err := l.check(); err != nil {
			return nil, err
		}
		logs = append(logs, l)
	}
	return logs, nil
}

// saveState writes the state file, durably. Logs that were not opened stay as they stood in the last one.
func (d *Dir) saveState() error {
	return d.stateRuns.do(func() error { return d.withoutOrphans(d.writeState) })
}

// writeState is saveState for one at a time.
func (d *Dir) writeState() error {
	lines, err := d.stateLines()
	if err != nil {
		return err
	}
	b, err := encodeState(lines)
	if err != nil {
		return err
	}
	return disk.WriteFileSync(d.fs, filepath.Join(d.root, stateFile), b)
}

func (d *Dir) stateLines() ([][]byte, error) {
	d.mu.Lock()
	unopened := slices.Collect(maps.Values(d.unopened))
	logs := d.openLogs()
	d.mu.Unlock()
	noteProducers(logs, notedBytes)
	lines := make([][]byte, 0, len(unopened)+len(logs))
	for _, st := range unopened {
		line, err := st.unseen(d.rebooted).encode()
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	for _, l := range logs {
		if !l.Stored() {
			continue
		}
		line, err := l.stateLine()
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
		// Only now, so that what the state counts is written. Should it fail, a crash costs what lies above Indexed.
		if err := l.active().flushIndexes(); err != nil {
			d.logger.Warn("writing an index failed, it stays in memory", "partition", l.name, "error", err)
		}
	}
	return lines, nil
}

func (d *Dir) loadState() (map[string]*logState, error) {
	b, err := disk.ReadFile(d.fs, filepath.Join(d.root, stateFile))
	if err != nil {
		return nil, err
	}
	logs, err := decodeState(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", stateFile, err)
	}
	m := make(map[string]*logState, len(logs))
	for _, l := range logs {
		m[l.partition().String()] = l
	}
	return m, nil
}
