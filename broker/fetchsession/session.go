// Package fetchsession remembers what a client fetches, so that a fetch names only what changed and an
// answer carries only what is new (KIP-227; Kafka's class is kafka.server.FetchManager/FetchSession).
//
// It owns the sessions' lists of partitions, their epochs, the order in which partitions are served, and a
// cache of bounded size with Kafka's rules of eviction. Invariants: a session's epoch grows by one with every
// fetch that is accepted; a fetch with another epoch changes nothing; a partition whose last answer was an
// error is answered again until it is not; a partition that has just delivered records is served last in the
// next fetch, so that one busy partition starves nobody. It reads no log, holds no records, starts no
// goroutine, and forgets everything at a restart, as Kafka does: clients then begin a new session.
package fetchsession

import (
	"math"
	"sync"
	"time"

	"github.com/firnlog/firn/tier/topic"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Epochs with a meaning of their own (KIP-227).
const (
	FinalEpoch   int32 = -1 // a full fetch that wants no session; it closes the one it names
	InitialEpoch int32 = 0  // a full fetch that asks for a new session
)

// Key names a partition as the client does: by name up to Fetch version 12, by id from 13 on. The other is
// left zero.
type Key struct {
	Topic     string
	ID        topic.ID
	Partition int32
}

// Partition is what the client wants of one partition.
type Partition struct {
	Key
	Offset           int64 // first offset wanted
	LeaderEpoch      int32 // leader epoch that the client believes in, -1 for none
	LastFetchedEpoch int32 // epoch of the last record that it holds, -1 for none
	LogStart         int64 // a follower's log start offset, -1 from consumers
	MaxBytes         int32
}

// Request is the part of a Fetch request that sessions are about.
type Request struct {
	ID, Epoch  int32
	UsesIDs    bool // topics are named by id (version 13 and later)
	Follower   bool // sent by a replica: it may push out a consumer's session
	Partitions []Partition
	Forgotten  []Key
	// Reserve takes memory for more partitions than the request names, before they are listed; it may wait. nil: they are
	// not counted.
	Reserve func(partitions int) error
}

// Outcome is what a fetch found of one partition, in the order of Fetch.Partitions.
type Outcome struct {
	Error         int16 // Kafka's error code, 0 for none
	Bytes         int   // record bytes in the answer
	HighWatermark int64
	LogStart      int64
	Always        bool // answer even if nothing changed (diverging epoch, preferred replica)
}

// Options bound a Cache. Zero values take Kafka's defaults.
type Options struct {
	MaxSessions   int           // max.incremental.fetch.session.cache.slots, 1000
	MaxPartitions int           // partitions in all sessions together, 1,000,000; Kafka has no such bound
	EvictAfter    time.Duration // a session this long unused may be pushed out by any other, 2 min
	Now           func() time.Time
	Random        func() int32 // draws session ids; a positive number
}

// Cache holds the sessions of one broker. Its methods may be called concurrently.
type Cache struct {
	o Options

	mu         sync.Mutex
	sessions   map[int32]*session // guarded by mu
	partitions int                // in all sessions, guarded by mu
	evictions  int64              // guarded by mu
}

// session is one client's list. Its partitions stand in serving order in a ring around root.
type session struct {
	id       int32
	usesIDs  bool
	follower bool
	created  time.Time
	used     time.Time // guarded by Cache.mu
	size     int       // what Cache.partitions counts for it, guarded by Cache.mu

	mu    sync.Mutex
	epoch int32          // the epoch that the next fetch must carry; guarded by mu
	byKey map[Key]*entry // guarded by mu
	root  entry          // guarded by mu
	gone  bool           // evicted or closed; guarded by mu
}

// entry is one partition of a session and what the client was last told of it.
type entry struct {
	Partition
	hw, logStart int64 // as last answered; hw -1 means that the next answer must carry the partition
	prev, next   *entry
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

func (s *session) pushBack(e *entry) {
	e.prev, e.next = s.root.prev, &s.root
	e.prev.next, s.root.prev = e, e
}

// New makes an empty cache.
func New(o Options) *Cache {
	if o.MaxSessions == 0 {
		o.MaxSessions = 1000
	}
	if o.MaxPartitions == 0 {
		o.MaxPartitions = 1_000_000
	}
	if o.EvictAfter == 0 {
		o.EvictAfter = 2 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = randomID
	}
	return &Cache{o: o, sessions: map[int32]*session{}}
}

// Stats are the cache's figures for metrics.
type Stats struct {
	Sessions, Partitions int
	Evictions            int64
}

// Stats returns the figures of now.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{len(c.sessions), c.partitions, c.evictions}
}

// Fetch is one fetch on its way: the partitions to serve, and how to answer. It may be used again for another.
type Fetch struct {
	Partitions []Partition // in the order in which they are to be served

	cache       *Cache
	session     *session // nil for a fetch without a session
	incremental bool
	include     []bool
	at          map[Key]int // where a full fetch mentions a partition; empty between two fetches
}

// Begin settles which partitions a request is about, and makes f the fetch of them. The code is 0 or one of
// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH and FETCH_SESSION_TOPIC_ID_ERROR, which are answered at the
// top level with no partitions. The error is that of Reserve: the session, too wide to be served, is closed then. What r
// points to may be used again afterwards.
func (c *Cache) Begin(f *Fetch, r *Request) (code int16, err error) {
	f.cache, f.session, f.incremental, f.Partitions = c, nil, false, f.Partitions[:0]
	if r.Epoch == FinalEpoch || r.Epoch == InitialEpoch {
		c.beginFull(f, r)
		return 0, nil
	}
	c.mu.Lock()
	s := c.sessions[r.ID]
	if s != nil {
		s.used = c.o.Now()
	}
	c.mu.Unlock()
	if s == nil {
		return kerr.FetchSessionIDNotFound.Code, nil
	}
	was, size, code := s.update(r)
	if code != 0 {
		return code, nil
	}
	if size != was {
		c.resize(s)
	}
	if size, err = s.list(f, r, size); err != nil {
		c.remove(r.ID)
		return 0, err
	}
	f.session, f.incremental = s, true
	if size == 0 {
		c.remove(r.ID) // nothing left to remember: Kafka answers without a session, too
		f.session = nil
	}
	return 0, nil
}

func (c *Cache) beginFull(f *Fetch, r *Request) {
	if r.ID != 0 {
		c.remove(r.ID)
	}
	f.dedupe(r.Partitions)
	if r.Epoch == InitialEpoch && len(f.Partitions) > 0 {
		f.session = c.create(r, f.Partitions)
	}
}

// dedupe keeps the last mention of each partition, in the order of the first.
func (f *Fetch) dedupe(ps []Partition) {
	if len(ps) < 2 {
		f.Partitions = append(f.Partitions, ps...)
		return
	}
	if f.at == nil {
		f.at = make(map[Key]int, len(ps))
	}
	for i := range ps {
		if j, ok := f.at[ps[i].Key]; ok {
			f.Partitions[j] = ps[i]
			continue
		}
		f.at[ps[i].Key] = len(f.Partitions)
		f.Partitions = append(f.Partitions, ps[i])
	}
	clear(f.at)
}

// update works what a request changes into the session, and tells how many partitions this had and has.
func (s *session) update(r *Request) (was, size int, code int16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
		return 0, 0, kerr.FetchSessionIDNotFound.Code
	case s.epoch != r.Epoch:
		return 0, 0, kerr.InvalidFetchSessionEpoch.Code
	case s.usesIDs != r.UsesIDs:
		return 0, 0, kerr.FetchSessionTopicIDError.Code
	}
	was = len(s.byKey)
	s.epoch = nextEpoch(s.epoch)
	for i := range r.Partitions {
		s.put(&r.Partitions[i])
	}
	for _, k := range r.Forgotten {
		if e := s.byKey[k]; e != nil {
			e.unlink()
			delete(s.byKey, k)
		}
	}
	return was, len(s.byKey), 0
}

// list gives f the partitions of the session, size of them as far as is known, once there is memory for those that the
// request does not name. That may be waited for, so the session is not locked meanwhile, and when others have added to it
// there has to be more. It tells how many there are.
func (s *session) list(f *Fetch, r *Request, size int) (int, error) {
	for room := len(r.Partitions); ; {
		if more := size - room; more > 0 && r.Reserve != nil {
			if err := r.Reserve(more); err != nil {
				return 0, err
			}
		}
		room = max(room, size)
		if size = s.copyTo(f, room); size <= room {
			return size, nil
		}
	}
}

// copyTo gives f the partitions of the session if there are no more than so many, and tells how many there are.
func (s *session) copyTo(f *Fetch, most int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byKey) > most {
		return len(s.byKey)
	}
	for e := s.root.next; e != &s.root; e = e.next {
		f.Partitions = append(f.Partitions, e.Partition)
	}
	return len(s.byKey)
}

func (s *session) put(p *Partition) {
	if e := s.byKey[p.Key]; e != nil {
		e.Partition = *p
		return
	}
	e := &entry{Partition: *p, hw: -1, logStart: -1}
	s.byKey[p.Key] = e
	s.pushBack(e)
}

// nextEpoch skips the two special values when it wraps.
func nextEpoch(e int32) int32 {
	if e == math.MaxInt32 {
		return 1
	}
	return e + 1
}

// Finish notes what was found and says what to answer: the session's id (0 for none) and, for each partition
// of f.Partitions, whether the answer carries it; the list is the fetch's. outcomes has the length of f.Partitions.
func (f *Fetch) Finish(outcomes []Outcome) (id int32, include []bool) {
	s := f.session
	f.include = f.include[:0]
	for range outcomes {
		f.include = append(f.include, !f.incremental || s == nil)
	}
	include = f.include
	if s == nil {
		return 0, include
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range outcomes {
		e := s.byKey[f.Partitions[i].Key]
		if e == nil { // forgotten by a later fetch that overtook this one
			include[i] = true
			continue
		}
		if o.Bytes > 0 || o.Error != 0 || o.Always || e.hw != o.HighWatermark || e.logStart != o.LogStart {
			include[i] = true
		}
		e.hw, e.logStart = o.HighWatermark, o.LogStart
		if o.Error != 0 || o.Always {
			e.hw = -1
		}
		if o.Bytes > 0 {
			e.unlink()
			s.pushBack(e)
		}
	}
	return s.id, include
}
