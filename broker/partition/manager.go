package partition

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/broker/lanes"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/unpack"
)

// Options of a Manager. BrokerID, Disk, Metadata and Settings are needed.
type Options struct {
	BrokerID int32
	Disk     Disk
	Metadata Metadata
	Archive  Archive // nil: no object store
	Uploads  Uploads // nil: nothing is uploaded
	// Unpack bounds what decompressing a producer's batch takes. nil: the default size.
	Unpack *unpack.Gate
	// Settings says what a topic's configs mean. It is called once for each change of a topic and must not fail:
	// what is in the image was validated.
	Settings func(t *metadata.Topic) *Settings
	// Space says how full the disk of the local logs is. nil: the disk-share rule and the reserve are off.
	Space func() (SpaceInfo, error)
	// Beside tells the bytes that firn uses on that disk besides the local logs, as far as it knows: the chunk cache.
	// nil: none.
	Beside       func() int64
	Tuning       Tuning        // what may change later, see SetTuning
	Interval     time.Duration // between two rounds of housekeeping, 0: 10 s
	OpenTimeout  time.Duration // for what opening a log asks of metadata and archive, 0: 10 s
	ColdWorkers  int           // cold reads of fetches and lookups at once, 0: 16
	ColdParts    int           // cold partitions read for one fetch, 0: 16
	ColdGrace    time.Duration // how long the others wait once something can be answered, 0: 25 ms
	OpenParallel int           // logs opened at once at the start, 0: 4
	// DiskWaits is how many fetches at once wait for the local disk to find their records, and how many more read the
	// archive's cache; 0: 32.
	DiskWaits int

	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
}

func (o Options) withDefaults() Options {
	o.Interval = cmp.Or(o.Interval, 10*time.Second)
	o.OpenTimeout = cmp.Or(o.OpenTimeout, 10*time.Second)
	o.ColdWorkers = cmp.Or(o.ColdWorkers, 16)
	o.DiskWaits = cmp.Or(o.DiskWaits, 32)
	o.ColdParts = cmp.Or(o.ColdParts, 16)
	o.ColdGrace = cmp.Or(o.ColdGrace, 25*time.Millisecond)
	o.OpenParallel = cmp.Or(o.OpenParallel, 4)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Manager holds the partitions of one broker. All methods may be called concurrently.
type Manager struct {
	o        Options
	ctx      context.Context // of everything that runs here; ends with Close
	stop     context.CancelFunc
	waits    context.Context // of fetches that wait for records; ends with Drain
	drain    context.CancelFunc
	running  sync.WaitGroup
	cold     chan struct{} // a place for each cold read
	coldJobs chan coldJob  // of fetches, for the workers that Start begins
	disk     chan struct{} // a place for each fetch that waits for the local disk to find its records
	diskCold chan struct{} // and for each that reads what the cache of the archive has
	space    space
	produced lately
	tuning   atomic.Pointer[Tuning]
	metrics  *metrics
	panics   atomic.Int64 // that were caught

	applyMu  sync.Mutex // one image at a time
	applied  int64      // revision, guarded by applyMu
	topics   map[topic.ID]*metadata.Topic
	unwatch  func()
	removing sync.Map // folder name → removal

	fetchRing
	fetches sync.Pool // of *fetch
	teller  teller
	crew    crew

	reopening atomic.Bool                                            // by reopen
	notes     atomic.Pointer[func(p topic.Partition) (say []string)] // see SetArchiveNotes

	mu    sync.RWMutex
	parts map[topic.ID][]*Partition // by index; guarded by mu
	off   error                     // why the log directory is offline; guarded by mu
	stuck []topic.Partition         // logs of deleted topics that could not be removed; guarded by mu
}

// New makes a Manager. It serves what the image names once Start was called.
func New(o Options) *Manager {
	o = o.withDefaults()
	m := &Manager{o: o, topics: map[topic.ID]*metadata.Topic{}, parts: map[topic.ID][]*Partition{},
		cold: make(chan struct{}, o.ColdWorkers), coldJobs: make(chan coldJob),
		disk: make(chan struct{}, o.DiskWaits), diskCold: make(chan struct{}, o.DiskWaits)}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.waits, m.drain = context.WithCancel(context.Background())
	m.init()
	m.crew.init()
	m.teller.init(&m.crew)
	m.SetTuning(o.Tuning)
	m.space = space{o: &m.o, tuning: &m.tuning}
	m.metrics = newMetrics(o.Registerer, m)
	return m
}

// Start takes over what the image and the disk say, follows the image from there, and begins housekeeping. Logs that
// are on disk are opened in the background, so that what they hold beyond the archive is uploaded.
func (m *Manager) Start() error {
	if err := m.o.Disk.Offline(); err != nil {
		return fmt.Errorf("log directory: %w", err)
	}
	if m.o.Space != nil {
		m.space.look(0) // until then there would seem to be no room
	}
	m.unwatch = m.o.Metadata.Watch(m.apply)
	m.running.Add(2)
	go m.openAll(m.o.Disk.Partitions())
	go m.housekeeping()
	if m.o.Archive != nil {
		for range m.o.ColdWorkers {
			m.running.Go(m.readColds)
		}
	}
	return nil
}

// Drain answers the fetches that wait for records with what there is, and lets none wait from here on: a clean stop
// must not take as long as the most patient client.
func (m *Manager) Drain() {
	m.drain()
	m.wakeAll()
}

// Close fails everything that waits with NOT_LEADER_OR_FOLLOWER, so that clients ask again elsewhere, and ends the
// background work: whoever waited has been told when it returns. A fetch that waits for the disk is answered when the disk has
// answered. It does not close the logs: their Dir does.
func (m *Manager) Close() {
	if m.unwatch != nil {
		m.unwatch()
	}
	m.applyMu.Lock() // no removal begins from here on
	m.stop()
	m.applyMu.Unlock()
	m.running.Wait()
	for _, p := range m.All() {
		p.fail(kerr.NotLeaderForPartition.Code)
	}
	m.Drain()
	m.crew.wait()
	m.metrics.close()
}

// Offline fails every partition with KAFKA_STORAGE_ERROR: the log directory took a failed write or flush (I-02).
// It is meant for hot.Options.OnOffline.
func (m *Manager) Offline(err error) {
	m.mu.Lock()
	if m.off == nil {
		m.off = err
	}
	m.mu.Unlock()
	for _, p := range m.All() {
		p.fail(kerr.KafkaStorageError.Code)
	}
}

// All lists the partitions hosted here, in no order.
func (m *Manager) All() []*Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var all []*Partition
	for _, ps := range m.parts {
		all = append(all, ps...)
	}
	return all
}

// ByName finds a partition. Errors: UNKNOWN_TOPIC_OR_PARTITION.
func (m *Manager) ByName(name string, index int32) (*Partition, error) {
	t := m.o.Metadata.Image().TopicByName(name)
	if t == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	return m.find(t, index)
}

// ByID finds a partition by topic id. Errors: UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION.
func (m *Manager) ByID(id topic.ID, index int32) (*Partition, error) {
	t := m.o.Metadata.Image().TopicByID(id)
	if t == nil {
		return nil, kerr.UnknownTopicID
	}
	return m.find(t, index)
}

// find looks the partition up, and catches up with the image first when it knows the topic and we do not: a client that
// was told of a topic must not be told that nobody leads it.
func (m *Manager) find(t *metadata.Topic, index int32) (*Partition, error) {
	if index < 0 || int(index) >= len(t.Partitions) {
		return nil, kerr.UnknownTopicOrPartition
	}
	if p := m.lookup(t.ID, index); p != nil {
		return p, nil
	}
	m.apply(m.o.Metadata.Image())
	if p := m.lookup(t.ID, index); p != nil {
		return p, nil
	}
	return nil, kerr.NotLeaderForPartition // deleted this moment
}

func (m *Manager) lookup(id topic.ID, index int32) *Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if ps := m.parts[id]; int(index) < len(ps) {
		return ps[index]
	}
	return nil
}

// apply brings the partitions in line with an image. Images that are not newer than the last one change nothing.
func (m *Manager) apply(img *metadata.Image) {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if img.Revision <= m.applied && m.applied != 0 || m.ctx.Err() != nil {
		return
	}
	m.applied = img.Revision
	for id, t := range m.topics {
		if img.TopicByID(id) == nil {
			delete(m.topics, id)
			m.drop(t)
		}
	}
	for _, t := range img.Topics() {
		if old := m.topics[t.ID]; old != t {
			m.topics[t.ID] = t
			m.take(old, t)
		}
	}
}

// take applies a new or changed topic. Caller holds applyMu.
func (m *Manager) take(old, t *metadata.Topic) {
	m.mu.RLock()
	ps := m.parts[t.ID]
	off := m.off
	m.mu.RUnlock()
	var settings *Settings
	if old != nil && old.Version == t.Version && len(ps) > 0 {
		settings = ps[0].Settings()
	} else {
		settings = m.o.Settings(t)
	}
	next := ps[:len(ps):len(ps)]
	for i, state := range t.Partitions {
		n := &news{state: state, settings: settings, leader: state.Leader == m.o.BrokerID}
		if i < len(ps) {
			ps[i].apply(n)
			continue
		}
		p := &Partition{m: m, id: t.Partition(int32(i))}
		p.core.epoch = -1
		p.epochSet.Store(-1)
		p.news.Store(n)
		p.apply(n)
		if off != nil {
			p.fail(kerr.KafkaStorageError.Code)
		}
		next = append(next, p)
	}
	m.mu.Lock()
	m.parts[t.ID] = next
	m.mu.Unlock()
}

// drop ends the partitions of a deleted topic and removes their logs in the background. Caller holds applyMu.
func (m *Manager) drop(t *metadata.Topic) {
	m.mu.Lock()
	ps := m.parts[t.ID]
	delete(m.parts, t.ID)
	m.mu.Unlock()
	for _, p := range ps {
		p.fail(kerr.UnknownTopicOrPartition.Code)
	}
	ids := make([]topic.Partition, len(ps))
	for i, p := range ps {
		ids[i] = p.id
	}
	m.remove(ids, ps, false)
}

// remove deletes folders in the background. Opening a partition with the same folder waits for it (waitRemoved). again says
// that it is known which cannot be removed: how many still cannot is enough.
func (m *Manager) remove(ids []topic.Partition, ps []*Partition, again bool) {
	done := make(chan struct{})
	for _, id := range ids {
		m.removing.Store(id.String(), removal{id.ID, done})
	}
	m.running.Add(1)
	go func() {
		defer m.running.Done()
		failed := make([]error, len(ids))
		inLanes(len(ids), func(i int) {
			if ps != nil { // an opening under way ends first
				ps[i].openMu.Lock()
				defer ps[i].openMu.Unlock()
			}
			err := m.o.Disk.Remove(ids[i])
			if err == nil {
				return
			}
			failed[i] = err
			if !again {
				m.o.Logger.Error("cannot remove the log of a deleted topic; it is tried again, and set aside when the name is used before",
					"partition", ids[i], "id", ids[i].ID, "error", err)
			}
			m.mu.Lock()
			m.stuck = append(m.stuck, ids[i])
			m.mu.Unlock()
		})
		failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
		if again && len(failed) > 0 {
			m.o.Logger.Warn("logs of deleted topics still cannot be removed; they are tried again", "partitions", len(failed), "error", failed[0])
		}
		for _, id := range ids {
			m.removing.CompareAndDelete(id.String(), removal{id.ID, done})
		}
		close(done)
	}()
}

// removeAgain tries again what could not be removed, on a full disk for one.
func (m *Manager) removeAgain() {
	if m.ctx.Err() != nil || m.o.Disk.Offline() != nil {
		return
	}
	m.mu.Lock()
	ids := m.stuck
	m.stuck = nil
	m.mu.Unlock()
	if len(ids) > 0 {
		m.remove(ids, nil, true)
	}
}

// prepareLanes is how many logs are opened, made or removed at once for one request or topic: each waits for the disk, and
// what waits together is made durable together.
const prepareLanes = 16

// Prepare opens the logs of partitions that are about to be appended to, and makes the folders of those that have none
// yet, some at once; one after another, a request for a hundred partitions would wait for the disk a few hundred times.
// What fails is told by the append.
func (m *Manager) Prepare(ps []*Partition) {
	if m.space.full.Load() {
		return
	}
	inLanes(len(ps), func(i int) {
		if log, err := ps[i].serve(-1); err == nil && !log.Stored() {
			_ = log.Make()
		}
	})
}

// inLanes calls fn for 0 to n-1, some at once, and returns when all have.
func inLanes(n int, fn func(int)) {
	all := lanes.New(prepareLanes)
	for i := range n {
		all.Go(func() { fn(i) })
	}
	all.Wait()
}

// Ready reports whether an append finds the log open and on disk; see Manager.Prepare.
func (p *Partition) Ready() bool {
	l := p.log.Load()
	return l != nil && (*l).Stored()
}

// removal is a folder on its way out: whose it was, and when it is gone.
type removal struct {
	id   topic.ID
	done chan struct{}
}

// waitRemoved waits until the folder of the topic's former life is gone (I-38).
func (m *Manager) waitRemoved(p topic.Partition) {
	if r, ok := m.removing.Load(p.String()); ok && r.(removal).id != p.ID {
		<-r.(removal).done
	}
}

// openAll opens what is on disk. A folder whose topic was deleted while this broker was away is removed; one of a
// topic that nobody knows is left alone and reported, because unknown does not mean dead.
func (m *Manager) openAll(onDisk []topic.Partition) {
	defer m.running.Done()
	img := m.o.Metadata.Image()
	var dead []topic.Partition
	var known []*Partition
	for _, id := range onDisk {
		switch {
		case img.TopicByID(id.ID) != nil:
			if p := m.lookup(id.ID, id.Index); p != nil {
				known = append(known, p)
			}
		case img.Tombstone(id.ID) != nil:
			dead = append(dead, id)
		default:
			m.o.Logger.Warn("a log belongs to a topic that the metadata does not know; it is left alone", "partition", id, "id", id.ID)
		}
	}
	if len(dead) > 0 && m.ctx.Err() == nil {
		m.remove(dead, nil, false)
	}
	m.openEach(known)
}
