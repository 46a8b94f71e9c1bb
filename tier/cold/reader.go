package cold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/unpack"
)

// Errors of a Reader. Objects that are missing or damaged are archive.ErrMissing and archive.ErrDamaged, which name
// the object.
var (
	ErrClosed     = errors.New("cold reader is closed")
	ErrOutOfRange = errors.New("offset is not in the archive") // outside [ledger start, ledger next)
)

// Options of New. Store and CacheDir are needed; zero values elsewhere mean the defaults.
type Options struct {
	Store object.Store
	FS    disk.FS // of the cache; nil: disk.OS()
	// CacheDir is a folder of the Reader's own; what is in it is deleted by New.
	CacheDir   string
	CacheBytes int64 // decoded data kept in files; 0: 1 GiB. Demand may go over it for a while (I-23)

	// MemoryBytes bounds what is kept in memory instead when the disk is full; 0: 64 MiB.
	MemoryBytes int64
	// Room tells whether the disk may take n more bytes; without room, groups are evicted and, if that does not
	// help, kept in memory. nil: always, until the disk says ENOSPC.
	Room func(n int64) bool

	GroupBytes    int64 // the unit of caching, about, of which one GET fetches a few; 0: 4 MiB
	Workers       int   // GETs at once; 0: 16
	InFlightBytes int64 // chunks in memory while they are decoded, all GETs together; 0: 256 MiB
	// ReadAheadBytes is the furthest that one sequential reader is read ahead; 0: 128 MiB. All together are read ahead at
	// most a quarter of CacheBytes, about.
	ReadAheadBytes int64
	IndexBytes     int64 // segment indexes and folds kept in memory; 0: 64 MiB

	StallTimeout time.Duration // a GET that moves no byte for so long is given up and tried again; 0: 20 s
	RetryPause   time.Duration // before a failed GET is tried again, growing; 0: 100 ms

	// Producing tells whether producers write just now: then reads leave them a part of the processors, see Turn. It is
	// called often, concurrently. nil: never.
	Producing func() bool

	Unpack     *unpack.Gate          // what decompressing a batch may take; nil: the default size
	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: no metrics
}

func (o Options) withDefaults() Options {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.CacheBytes, 1<<30)
	def(&o.MemoryBytes, 64<<20)
	def(&o.GroupBytes, 4<<20)
	def(&o.InFlightBytes, 256<<20)
	def(&o.ReadAheadBytes, 128<<20)
	def(&o.IndexBytes, 64<<20)
	if o.Workers <= 0 {
		o.Workers = 16
	}
	if o.StallTimeout <= 0 {
		o.StallTimeout = 20 * time.Second
	}
	if o.RetryPause <= 0 {
		o.RetryPause = 100 * time.Millisecond
	}
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Reader reads archived partitions. All methods may be called concurrently.
type Reader struct {
	o        Options
	maxRaw   int64 // decoded bytes of a group, about
	metrics  *metrics
	ctx      context.Context // of fills and loads: they outlive the reads that began them
	cancel   context.CancelFunc
	fills    sync.WaitGroup
	slots    chan struct{} // a token for each GET
	ahead    chan struct{} // … of those that read ahead: some slots stay free for demand
	working  chan struct{} // a token for each fill that uses a processor
	modest   chan struct{} // … while producers write: half as many
	inFlight *semaphore.Weighted
	yielder  *yielder
	indexes  *loader[groupKey, *archived]
	folds    *loader[string, []ledger.Segment]

	// mu guards the groups' mutable fields, too. No I/O happens under it.
	mu      sync.Mutex
	closed  bool
	groups  map[groupKey]*group
	policy  *policy
	streams *streams
	memUsed int64 // bytes of groups in memory
}

// New makes a Reader and empties its folder.
func New(o Options) (*Reader, error) {
	o = o.withDefaults()
	if err := disk.EmptyDir(o.FS, o.CacheDir); err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	o.Store = archive.Timed(o.Store, o.StallTimeout)
	r := &Reader{
		o: o, maxRaw: min(4*o.GroupBytes, max(o.CacheBytes/8, 1)),
		slots: make(chan struct{}, o.Workers), ahead: make(chan struct{}, max(o.Workers*3/4, 1)),
		working:  make(chan struct{}, runtime.GOMAXPROCS(0)),
		modest:   make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 1)),
		inFlight: semaphore.NewWeighted(o.InFlightBytes),
		groups:   make(map[groupKey]*group), policy: newPolicy(o.CacheBytes), streams: newStreams(10_000),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.indexes = newLoader[groupKey, *archived](r.ctx, &r.fills, o.IndexBytes*3/4)
	r.folds = newLoader[string, []ledger.Segment](r.ctx, &r.fills, o.IndexBytes/4)
	r.metrics = newMetrics(o.Registerer, r)
	r.yielder = newYielder(o.Producing)
	return r, nil
}

// SetCacheBytes changes the cache's budget. What is above it goes as it is let go.
func (r *Reader) SetCacheBytes(n int64) {
	r.mu.Lock()
	r.policy.budget = n
	victims, _ := r.policy.evict(0)
	free := r.evicted(victims)
	r.mu.Unlock()
	free()
}

// CacheBytes is the cache's budget.
func (r *Reader) CacheBytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.policy.budget
}

// Close ends all fills and gives the cache up; what was handed out stays readable until it is released.
func (r *Reader) Close() error {
	r.cancel()
	r.mu.Lock()
	r.closed = true // no fill or load begins any more
	r.mu.Unlock()
	r.fills.Wait()
	r.mu.Lock()
	var out []*group
	for _, g := range r.groups {
		r.policy.drop(g)
		out = append(out, g)
	}
	clear(r.groups)
	free := r.freeable(out)
	r.mu.Unlock()
	free()
	r.metrics.close()
	return nil
}

// Data is what a read found: whole batches, in order. It must not be copied.
type Data struct {
	Regions []disk.Region
	First   int64 // base offset of the first batch, which may be below the offset asked for; Next without one
	Next    int64 // where to go on: above all offsets that were covered, gaps included
	Bytes   int
	Aborted []segment.AbortedTxn // the aborted transactions that overlap what was read

	r    *Reader
	pins []*group
	now  bool // it must not wait for the local disk
	// Most reads stay in a few groups. What a longer one needs is kept for the next.
	someRegions [4]disk.Region
	somePins    [4]*group
	head        [record.HeaderSize]byte // scratch
}

// reset makes d ready for a read: it has nothing, and would go on at next.
func (d *Data) reset(r *Reader, next int64) {
	d.r, d.First, d.Next, d.Bytes, d.now = r, next, next, 0, false
	if d.pins == nil {
		d.Regions, d.pins = d.someRegions[:0], d.somePins[:0]
	}
	d.Regions, d.pins, d.Aborted = d.Regions[:0], d.pins[:0], d.Aborted[:0]
}

// Release must be called once the regions are not used any more.
func (d *Data) Release() {
	for _, g := range d.pins {
		d.r.unpin(g)
	}
	clear(d.pins) // they keep groups and files from being freed
	clear(d.Regions)
	d.Regions, d.pins = d.Regions[:0], d.pins[:0]
}

// Read gives the batches from the first one that ends above offset, which must be in [l.Start, l.Next), otherwise
// the error is ErrOutOfRange: as many as are at hand and fit in maxBytes, but at least one (I-21). It waits until the first one
// has been fetched or ctx ends. Only where no batch is left up to l.Next is there none, and Next is l.Next (I-17).
func (r *Reader) Read(ctx context.Context, p topic.Partition, l *ledger.Ledger, offset int64, maxBytes int) (*Data, error) {
	if offset < l.Start || offset >= l.Next {
		return nil, fmt.Errorf("%w: %s offset %d, the archive holds %d to %d", ErrOutOfRange, p, offset, l.Start, l.Next)
	}
	d := new(Data)
	d.reset(r, l.Next)
	if err := r.readFirst(ctx, l, d, offset, int64(maxBytes)); err != nil {
		d.Release()
		return nil, fmt.Errorf("read %s from the archive at offset %d: %w", p, offset, err)
	}
	r.readRest(p, l, d, offset, maxBytes)
	return d, nil
}

// readRest adds what is at hand behind the first batches, up to maxBytes in all.
func (r *Reader) readRest(p topic.Partition, l *ledger.Ledger, d *Data, offset int64, maxBytes int) {
	for d.Bytes > 0 && d.Bytes < maxBytes && d.Next < l.Next {
		more, err := r.readMore(l, d, int64(maxBytes-d.Bytes))
		if more = more && err == nil; !more {
			break // what was found is good; the next read meets the error
		}
	}
	r.metrics.bytes.Add(float64(d.Bytes))
	r.follow(p, l, offset, d)
}

// readFirst adds the first batch at or after offset, and those that follow it in its group, waiting for it.
func (r *Reader) readFirst(ctx context.Context, l *ledger.Ledger, d *Data, offset, limit int64) error {
	for at := offset; at < l.Next; {
		a, err := r.find(ctx, l, at)
		if err != nil {
			return err
		}
		chunks := a.ix.Chunks()
		for c, ok := a.ix.FindOffset(at); ok && c < len(chunks); c++ {
			found, err := r.readGroup(ctx, a, c, at, limit, d)
			if found || err != nil {
				return err
			}
		}
		at = a.seg.Next // nothing was left from at on: compaction removed it (I-17)
	}
	return nil
}

// readGroup adds what chunk c's group has from offset at on; false when chunk c has no batch there.
func (r *Reader) readGroup(ctx context.Context, a *archived, c int, at, limit int64, d *Data) (bool, error) {
	v, i, err := r.waitFor(ctx, a, c)
	if err != nil {
		return false, err
	}
	return r.take(&v, i, at, limit, true, d)
}

// waitFor gives chunk c's group, pinned, as soon as that chunk, number i of the group, can be read.
func (r *Reader) waitFor(ctx context.Context, a *archived, c int) (v view, i int, err error) {
	for {
		g, err := r.acquire(a, a.groupOf(c))
		if err != nil {
			return v, 0, err
		}
		i := c - g.span.first
		v, err = r.await(ctx, g, i)
		if err == nil {
			return v, i, nil
		}
		r.unpin(g)
		if !errors.Is(err, errNoRoom) || ctx.Err() != nil {
			return v, 0, err
		}
		// Somebody read ahead and got no memory; who waits does.
	}
}

// take adds what a view has from offset at in chunk i on, and reports whether that is anything. The view's pin is d's from
// then on, or given up.
func (r *Reader) take(v *view, i int, at, limit int64, atLeastOne bool, d *Data) (found bool, err error) {
	defer func() {
		if !found {
			r.unpin(v.g)
		}
	}()
	v.head, v.now = d.head[:], d.now
	pos, h, ok, err := v.batchAt(i, at)
	if err != nil || !ok {
		return false, err
	}
	to, next, err := v.cut(pos, h, limit, atLeastOne)
	if err != nil || to == pos {
		return false, err
	}
	if d.Bytes == 0 {
		d.First = h.BaseOffset
	}
	d.Regions = append(d.Regions, v.region(pos, to))
	d.Bytes += int(to - pos)
	d.Next = next
	d.Aborted = appendAborted(d.Aborted, v.g.a.ix.AbortedIn(h.BaseOffset, next))
	r.mu.Lock()
	if pos < v.g.seen {
		r.policy.touched(v.g)
	}
	v.g.seen, v.g.unread = max(v.g.seen, to), false
	r.mu.Unlock()
	d.pins = append(d.pins, v.g) // last: below a panic it is unpinned here, and d, which whoever catches it releases, has not got it
	return true, nil
}

// appendAborted adds those that are not there yet: a transaction that spans segments is in the index of each.
func appendAborted(have, more []segment.AbortedTxn) []segment.AbortedTxn {
next:
	for _, t := range more {
		for _, h := range have {
			if h == t {
				continue next
			}
		}
		have = append(have, t)
	}
	return have
}

// readMore adds what follows d if it is at hand without waiting.
func (r *Reader) readMore(l *ledger.Ledger, d *Data, limit int64) (bool, error) {
	a, ok := r.peek(l, d.Next)
	if !ok {
		return false, nil
	}
	c, ok := a.ix.FindOffset(d.Next)
	if !ok {
		return false, nil
	}
	v, ok := r.resident(a, c)
	if !ok {
		return false, nil
	}
	return r.take(&v, c-v.g.span.first, d.Next, limit, false, d)
}

// find opens the segment that holds offset, or the next one.
func (r *Reader) find(ctx context.Context, l *ledger.Ledger, offset int64) (*archived, error) {
	f, ok := l.Find(offset)
	if !ok {
		return nil, fmt.Errorf("%w: no entry of the ledger holds offset %d", ErrOutOfRange, offset)
	}
	seg := f.Segment
	if f.Fold != nil {
		segs, err := r.fold(ctx, *f.Fold)
		if err != nil {
			return nil, err
		}
		if seg, ok = ledger.FindIn(segs, offset); !ok {
			return nil, fmt.Errorf("%w: fold %s has no segment for offset %d", archive.ErrDamaged, f.Fold.Key, offset)
		}
	}
	return r.open(ctx, seg)
}

// peek is find without waiting.
func (r *Reader) peek(l *ledger.Ledger, offset int64) (*archived, bool) {
	f, ok := l.Find(offset)
	if !ok {
		return nil, false
	}
	seg := f.Segment
	if f.Fold != nil {
		segs, ok := r.folds.peek(f.Fold.Key)
		if !ok {
			return nil, false
		}
		if seg, ok = ledger.FindIn(segs, offset); !ok {
			return nil, false
		}
	}
	return r.indexes.peek(groupKey{object: seg.Key, position: seg.Position})
}

// fold loads the segments of a fold.
func (r *Reader) fold(ctx context.Context, ref ledger.FoldRef) ([]ledger.Segment, error) {
	if segs, ok := r.folds.peek(ref.Key); ok {
		return segs, nil
	}
	return r.folds.get(ctx, ref.Key, func(ctx context.Context) ([]ledger.Segment, int64, error) {
		segs, err := archive.Fold(ctx, r.o.Store, ref)
		return segs, 2 * ref.Length, err
	})
}

// open loads a segment's index, with one GET.
func (r *Reader) open(ctx context.Context, seg ledger.Segment) (*archived, error) {
	k := groupKey{object: seg.Key, position: seg.Position}
	if a, ok := r.indexes.peek(k); ok {
		return a, nil
	}
	return r.indexes.get(ctx, k, func(ctx context.Context) (*archived, int64, error) {
		ix, err := archive.Index(ctx, r.o.Store, seg)
		if err != nil {
			return nil, 0, err
		}
		r.metrics.indexes.Inc()
		return &archived{seg: seg, ix: ix, groups: cutGroups(ix.Chunks(), r.o.GroupBytes, r.maxRaw)}, 2*seg.IndexLength + 512, nil
	})
}

// Segments lists the archived segments that reach above offset from, oldest first, loading folds as needed.
func (r *Reader) Segments(ctx context.Context, l *ledger.Ledger, from int64) ([]ledger.Segment, error) {
	var out []ledger.Segment
	for _, f := range l.Folds {
		if f.Next <= from {
			continue
		}
		segs, err := r.fold(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, s := range segs {
			if s.Next > from {
				out = append(out, s)
			}
		}
	}
	for _, s := range l.Recent {
		if s.Next > from {
			out = append(out, s)
		}
	}
	return out, nil
}
