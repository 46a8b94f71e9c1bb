package hot

import (
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/topic"
)

// Log is one partition's log. Its methods may be called concurrently.
//
// Locks, in the order in which they are taken: walks, trimMu, syncMu, mu, then the mutexes of segments, indexes and files.
// No file is read, written or synced under mu; readers take none of these but those of segments and files.
type Log struct {
	dir  *Dir
	part topic.Partition
	name string // Kafka's topic-partition

	cfg       atomic.Pointer[Config]
	onAdvance atomic.Pointer[func()]
	path      atomic.Pointer[string]      // the folder
	segs      atomic.Pointer[[]*segment]  // by base, never empty; replaced, never changed, under mu
	epochs    atomic.Pointer[epoch.Cache] // replaced under trimMu

	end        atomic.Int64 // offset after the last batch written
	flushed    atomic.Int64 // offset after the last batch known to be durable
	stable     atomic.Int64 // see Stable
	logStart   atomic.Int64
	wantStart  atomic.Int64 // log start that is being made durable, or was
	wantLocal  atomic.Int64 // local start, likewise
	localStart atomic.Int64

	hints hints

	// unmade: nothing was ever written, and there is no folder. See make.go. Set and cleared under trimMu by the writer.
	unmade atomic.Bool
	marked atomic.Bool // in the flusher's next round
	// wantSync: the next flush is to be one of the files themselves, so that they can be closed.
	wantSync atomic.Bool
	// collected is the point up to which the journal's frame that is being written goes. Owned by the journal's writer.
	collected point

	walks   sync.Mutex // serialises walks to producer states, of which one goes on where the last ended
	indexMu sync.Mutex // serialises rebuilding of indexes
	trimMu  sync.Mutex // serialises what changes anything but the end
	syncMu  sync.Mutex // serialises Sync
	todo    []unsynced // memory for what is to be synced; guarded by syncMu

	mu        sync.Mutex
	cond      sync.Cond // of mu: a write ended, writer or frozen changed
	writing   bool      // somebody is the writer
	frozen    bool      // nothing may be enqueued
	closed    error     // why nothing is possible any more
	queue     []*op     // appends with offsets that are not written yet
	written   []*op     // … that the writer is at: those from End on are not written yet, either
	spare     []*op     // an empty slice to exchange with queue
	next      int64     // offset of the next append: end plus what is queued
	plan      plan      // what the active segment will look like once the queue is written
	producers producer.State
	loaded    bool // producers holds the state, and past what led to it
	past      history
	noted     noted    // of the producers, for the state file
	point     point    // as of the last write
	durable   point    // what the files have, as of the last Sync
	indexed   *point   // up to where the indexes are durable, too; replaced, never changed. See checkpoint
	acked     place    // where flushed is
	dirtyFrom int64    // ms: the oldest unflushed write, 0 if there is none
	replacing *segment // being replaced, with those after it: the state file does not vouch for them
	line      []byte   // the log's in the state file, as of lineOf
	lineOf    stateOf
	changes   int // calls of changed
}

// point is a place in the log up to which everything is known: recovery can begin there.
type point struct {
	base       int64 // of the active segment
	tail       segmentTail
	index      int // entries of its indexes for the batches below
	timeIndex  int
	sinceIndex int64
	firstTime  int64
	timeAdded  int64
}

func newLog(d *Dir, p topic.Partition, cfg *Config) *Log {
	l := &Log{dir: d, part: p, name: p.String()}
	l.cond.L = &l.mu
	l.cfg.Store(cfg)
	folder := filepath.Join(d.root, l.name)
	l.path.Store(&folder)
	l.epochs.Store(&epoch.Cache{})
	return l
}

// Partition returns the partition whose log this is.
func (l *Log) Partition() topic.Partition { return l.part }

// Folder returns the path of the partition's folder, which is there once Stored.
func (l *Log) Folder() string { return l.folder() }

func (l *Log) folder() string  { return *l.path.Load() }
func (l *Log) config() *Config { return l.cfg.Load() }

// SetConfig makes c the log's configuration from the next append on. The caller must not change c any more.
func (l *Log) SetConfig(c *Config) {
	l.cfg.Store(c)
	if c.flushMode() && l.flushed.Load() < l.end.Load() {
		l.mark()
	}
	if l.raiseStable() {
		l.notify()
	}
}

// LocalStart returns the first offset that can be read here.
func (l *Log) LocalStart() int64 { return l.localStart.Load() }

// LogStart returns the log start offset as far as this package knows it: what AdvanceStart said and, without
// remote storage, what was trimmed. With remote storage the archive's ledger is the authority.
func (l *Log) LogStart() int64 { return l.logStart.Load() }

// End returns the log end offset: the one after the last batch that was written. Batches below it can be read,
// but may not be durable; see Flushed.
func (l *Log) End() int64 { return l.end.Load() }

// Flushed returns the offset below which everything survives a power cut.
func (l *Log) Flushed() int64 { return l.flushed.Load() }

// Stable returns the offset below which this replica has what it may answer for: Flushed in flush mode
// (FlushMessages 1), else End. It is the high watermark of an ISR of one. It does not go back, whatever SetConfig
// says, but for Truncate and Reset.
func (l *Log) Stable() int64 { return l.stable.Load() }

// OnAdvance sets the function that is called, from any goroutine and without locks, after End, Flushed or Stable
// moved, and when the Dir went offline, after which Stable does not move any more: waiters look at Dir.Offline. It
// must not block. Set it once, before the first append.
func (l *Log) OnAdvance(fn func()) { l.onAdvance.Store(&fn) }

func (l *Log) notify() {
	if fn := l.onAdvance.Load(); fn != nil {
		(*fn)()
	}
}

// raiseStable lets Stable follow what it is made of and reports whether it moved.
func (l *Log) raiseStable() bool {
	v := l.flushed.Load()
	if !l.config().flushMode() {
		v = l.end.Load()
	}
	for {
		old := l.stable.Load()
		if v <= old {
			return false
		}
		if l.stable.CompareAndSwap(old, v) {
			return true
		}
	}
}

// Bytes returns the size of all segments in bytes, without their indexes.
func (l *Log) Bytes() int64 {
	var n int64
	for _, s := range l.segments() {
		n += s.now().size
	}
	return n
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Base, Next   int64 // first offset, and the one after the last
	Bytes        int64 // of the .log file
	IndexBytes   int64 // of both index files
	TimeIndex    int64 // of IndexBytes, those of the .timeindex
	MaxTimestamp int64 // greatest record timestamp in ms, -1 if there is none
	Modified     int64 // ms: when it was last appended to
}

// Segments describes the segments, oldest first; the last one is active.
func (l *Log) Segments() []SegmentInfo { return l.AppendSegments(nil) }

// AppendSegments appends to out what Segments returns, for who asks so often that the memory counts.
func (l *Log) AppendSegments(out []SegmentInfo) []SegmentInfo {
	segs := l.segments()
	out = slices.Grow(out, len(segs))
	for _, s := range segs {
		t := s.now()
		out = append(out, SegmentInfo{Base: s.base, Next: t.next, Bytes: t.size, IndexBytes: s.idx.bytes() + s.tidx.bytes(),
			TimeIndex: s.tidx.bytes(), MaxTimestamp: t.maxTime, Modified: t.modified})
	}
	return out
}

func (l *Log) segments() []*segment { return *l.segs.Load() }

// active returns the segment that grows.
func (l *Log) active() *segment {
	segs := l.segments()
	return segs[len(segs)-1]
}

// segmentAt returns the index of the segment that holds the offset, or would: the last one with a base at or below
// it; -1 below the first.
func segmentAt(segs []*segment, offset int64) int {
	return sort.Search(len(segs), func(i int) bool { return segs[i].base > offset }) - 1
}

// usable says why the log cannot be changed, if so.
func (l *Log) usable() error {
	if l.closed != nil {
		return l.closed
	}
	return l.dir.Offline()
}

// exclusive runs fn as the log's only writer: what was queued is written before, nothing is enqueued meanwhile. fn
// is called without mu. It does not run when the log is closed or offline.
func (l *Log) exclusive(fn func() error) error {
	l.mu.Lock()
	for l.frozen || l.writing {
		l.cond.Wait()
	}
	l.frozen, l.writing = true, true
	for len(l.queue) > 0 {
		l.writeQueue()
	}
	err := l.usable()
	l.mu.Unlock()
	if err == nil {
		err = fn()
	}
	l.mu.Lock()
	l.frozen, l.writing = false, false
	l.cond.Broadcast()
	l.mu.Unlock()
	l.notify()
	return err
}
