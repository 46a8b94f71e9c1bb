package hot

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/hot/flush"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/unpack"
)

// Files of a log directory beside the partitions' folders.
const (
	lockFile  = ".lock"
	cleanFile = ".kafka_cleanshutdown" // there only between a clean stop and the next start
)

// Suffixes of folders that are not, or not any more, a partition's.
const (
	newSuffix    = "-new"    // being made; removed at the next start
	deleteSuffix = "-delete" // being deleted; removed at the next start
	straySuffix  = "-stray"  // set aside; kept
)

// Options configure a Dir.
type Options struct {
	FS             disk.FS               // nil: disk.OS()
	Path           string                // the log directory; made if need be
	Logger         *slog.Logger          // nil: slog.Default()
	Now            func() time.Time      // nil: time.Now
	BootID         string                // "": the kernel's
	Config         Config                // of logs that are opened without one; zero: DefaultConfig()
	Registerer     prometheus.Registerer // nil: no metrics
	FlushParallel  int                   // fdatasyncs at once; 0: 16
	JournalBytes   int64                 // of a file of the flush journal, of which there are at most 4; 0: 64 MiB (see journalBytes); negative: no journal
	MaxOpenFiles   int                   // kept open while they are idle; 0: 4096
	IdleClose      time.Duration         // files that were not used for so long are closed; 0: 1 min
	SaveEvery      time.Duration         // how often the recovery points are saved; 0: 1 min
	Housekeep      time.Duration         // how often the housekeeping looks; 0: 1 s; negative: never (tests call it)
	Unpack         *unpack.Gate          // what decompressing a client's batch may take; nil: the default size
	ProducerExpiry time.Duration         // producer.id.expiration.ms; 0: 24 h
	OnOffline      func(error)           // called once, without locks, when the directory went offline

	journalInline   bool  // the journal's upkeep happens within flushes: tests that must repeat
	checkpointBytes int64 // see Log.checkpoint; 0: 4 MiB
}

// Stop says how a log directory was left by the process that had it before.
type Stop int

// The ways to stop.
const (
	StopNone    Stop = iota // the directory is new
	StopClean               // by Close
	StopKilled              // the process died, the kernel lives: what was written is there, if perhaps in its memory alone
	StopCrashed             // the kernel has started since: what was not flushed may be lost
)

func (s Stop) String() string {
	return [...]string{"new", "clean", "killed", "crashed"}[s]
}

// Dir is one log directory. Its methods may be called concurrently.
type Dir struct {
	o        Options
	fs       disk.FS
	root     string
	logger   *slog.Logger
	defaults *Config
	expiry   atomic.Int64 // ms
	lock     disk.File
	stop     Stop
	boot     string
	rebooted bool // the kernel is not the one of the last start, so what was not synced may be lost
	doubt    bool // see doubtMark; of earlier starts
	marks    marks
	flusher  *flush.Flusher
	journal  *flush.Journal // nil: none
	replayed int64          // bytes that the start found in the journal
	metrics  *metrics
	files    openFiles
	sweeps   atomic.Int64
	lookups  chan struct{} // a place for each batch that a lookup by time holds
	dirty    logSet
	offline  atomic.Pointer[error]
	moved    atomic.Bool  // a recovery point moved since the last save
	unsaved  atomic.Int64 // … by so many bytes
	keeper   housekeeper

	overlooked bool        // of a folder, the start could not read whose it is
	dropped    atomic.Bool // an fdatasync failed in the replay
	unfinished atomic.Bool // on this kernel, a recovery may not have come to its end; see recovery.again

	stateRuns          runs
	checkpointRuns     runs
	fullCheckpointRuns runs
	checkpointMu       sync.Mutex // serialises the runs of both
	rootRuns           runs
	starts             starts

	mu        sync.Mutex
	cond      sync.Cond                   // of mu: opening changed
	logs      map[string]*Log             // by folder name
	opening   map[string]bool             // folder names that somebody is at
	unopened  map[string]*logState        // what the state file says of logs that are not open yet
	onDisk    map[string]topic.Partition  // found at the start, not opened yet
	forgotten map[checkpoint.Key]struct{} // see forgetStarts
	vouched   map[string]place            // by folder name: how far the journal said that a segment is whole
	orphans   map[string]int              // by folder name: the count of orphanings when it became one; see adopt
	strays    []string
	closed    bool

	orphanings int              // calls of orphan
	unreadable map[string]error // by path: files of what the journal had kept that cannot be read
}

// OpenDir opens a log directory, making it if need be, and locks it against other processes (ErrLocked). It reads
// how it was left, but no log: those are recovered by Open, which may be called for many at once.
func OpenDir(o Options) (*Dir, error) {
	d := newDir(o)
	// A power cut must not take the directory away with all that is in it.
	if err := disk.MkdirAllSync(d.fs, d.root, 0o755); err != nil {
		return nil, err
	}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	if err := d.start(); err != nil {
		_ = d.lock.Close() // nothing was written that could be lost
		return nil, fmt.Errorf("log directory %s: %w", d.root, err)
	}
	return d, nil
}

func newDir(o Options) *Dir {
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Config == (Config{}) {
		o.Config = DefaultConfig()
	}
	o.FlushParallel = cmp.Or(o.FlushParallel, 16)
	o.JournalBytes = cmp.Or(o.JournalBytes, journalBytes())
	o.MaxOpenFiles = cmp.Or(o.MaxOpenFiles, 4096)
	o.IdleClose = cmp.Or(o.IdleClose, time.Minute)
	o.SaveEvery = cmp.Or(o.SaveEvery, time.Minute)
	o.checkpointBytes = cmp.Or(o.checkpointBytes, 4<<20)
	o.Housekeep = cmp.Or(o.Housekeep, time.Second)
	o.ProducerExpiry = cmp.Or(o.ProducerExpiry, 24*time.Hour)
	d := &Dir{o: o, fs: o.FS, root: filepath.Clean(o.Path), logger: o.Logger, defaults: &o.Config,
		lookups: make(chan struct{}, diskLanes), logs: map[string]*Log{}, opening: map[string]bool{},
		unopened: map[string]*logState{}, onDisk: map[string]topic.Partition{},
		forgotten: map[checkpoint.Key]struct{}{}, vouched: map[string]place{}, orphans: map[string]int{}, unreadable: map[string]error{}}
	d.SetProducerExpiry(o.ProducerExpiry)
	d.cond.L = &d.mu
	d.files.set = map[*file]struct{}{}
	d.metrics = newMetrics(d)
	return d
}

// journalBytes is how large a file of the flush journal is. In a build that loses power it is one that tests fill within a second:
// so that files are filled with zeros in more than one step, become full, are let go of and used again, and are replayed as several.
func journalBytes() int64 {
	if disk.Faults {
		return 8 << 20
	}
	return 64 << 20
}

// SetProducerExpiry changes how long a producer is remembered after its last batch (producer.id.expiration.ms).
func (d *Dir) SetProducerExpiry(after time.Duration) { d.expiry.Store(after.Milliseconds()) }

// ProducerExpiry is how long that is now.
func (d *Dir) ProducerExpiry() time.Duration {
	return time.Duration(d.expiry.Load()) * time.Millisecond
}

func (d *Dir) takeLock() error {
	f, err := d.fs.OpenFile(filepath.Join(d.root, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if of := f.OS(); of != nil {
		err := unix.Flock(int(of.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		if err != nil {
			_ = f.Close()
			return fmt.Errorf("%s: %w", d.root, err)
		}
	}
	d.lock = f
	return nil
}

// start reads what is there and marks the directory as in use.
func (d *Dir) start() error {
	d.boot = d.o.BootID
	if d.boot == "" {
		var err error
		if d.boot, err = disk.BootID(); err != nil {
			return err
		}
	}
	if err := d.howLeft(); err != nil {
		return err
	}
	if err := d.loadStarts(); err != nil {
		return err
	}
	if d.stop != StopNone {
		st, err := d.loadState()
		switch {
		case err == nil:
			d.unopened = st
		case d.stop == StopClean:
			d.stop = StopCrashed // without the state, nothing is known to be whole
			fallthrough
		default:
			if !errors.Is(err, fs.ErrNotExist) {
				d.logger.Warn("reading all logs, because their recovery points are not known", "error", err)
			}
		}
	}
	if err := d.replayAll(); err != nil {
		return err
	}
	if err := d.findPartitions(); err != nil {
		return err
	}
	d.noteUnopened()
	if err := d.endReplay(); err != nil {
		return err
	}
	// From here on a start that finds the clean marker would be wrong: it goes before anything is changed, and before the mark
	// says that the kernel is this one, whose page cache nobody has to doubt. So does a journal that was replayed: a second
	// replay would undo what happens now. If neither is there, a start before this may have failed before it was gone for good.
	if err := d.fs.Remove(filepath.Join(d.root, cleanFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.fs.SyncDir(d.root); err != nil {
		return err
	}
	if err := d.markStart(); err != nil {
		return err
	}
	if d.o.JournalBytes > 0 {
		d.journal = flush.NewJournal(flush.JournalOptions{FS: d.fs, Dir: d.root, Logger: d.logger, FileBytes: d.o.JournalBytes,
			Parallel: d.o.FlushParallel, OnError: d.fail, Inline: d.o.journalInline})
		d.metrics.journal(d.journal.Stats(), d.replayed)
	}
	d.flusher = flush.New(flush.Options{Journal: d.journal, Parallel: d.o.FlushParallel, OnError: d.fail})
	d.keeper.start(d)
	return nil
}

// findPartitions lists the partitions' folders and removes what was being made or deleted.
func (d *Dir) findPartitions() error {
	entries, err := d.fs.ReadDir(d.root)
	if err != nil {
		return err
	}
	folders := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		folders[name] = true
		path := filepath.Join(d.root, name)
		switch {
		case disk.IsTmp(name) && !e.IsDir():
			err = d.fs.Remove(path)
		case strings.HasSuffix(name, newSuffix) || strings.HasSuffix(name, deleteSuffix):
			err = d.fs.RemoveAll(path)
		case strings.HasSuffix(name, straySuffix):
			d.strays = append(d.strays, name)
		case e.IsDir():
			err = d.findPartition(name)
		}
		if err != nil {
			return err
		}
	}
	d.startsOnDisk(folders)
	for name := range d.unopened {
		if _, ok := d.onDisk[name]; !ok {
			delete(d.unopened, name)
			d.orphan(name)
		}
	}
	return nil
}

func (d *Dir) findPartition(name string) error {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return nil
	}
	index, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || index < 0 || strconv.FormatInt(index, 10) != name[i+1:] {
		return nil //nolint:nilerr // not a partition's name
	}
	if st := d.unopened[name]; st != nil && d.stop == StopClean {
		d.onDisk[name] = st.partition()
		return nil
	}
	id, err := checkpoint.ReadMetadata(d.fs, filepath.Join(d.root, name))
	if err != nil {
		// Open sets it aside if the partition belongs here; a folder that is nobody's is left alone.
		d.logger.Warn("a folder of the log directory has no usable partition.metadata", "folder", name, "error", err)
		d.overlooked = d.overlooked || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, checkpoint.ErrCorrupt)
		return nil
	}
	d.onDisk[name] = topic.Partition{ID: id, Topic: name[:i], Index: int32(index)}
	if st := d.unopened[name]; st != nil && st.ID != id {
		delete(d.unopened, name)
	}
	return nil
}

// LastStop says how the directory was left before this start.
func (d *Dir) LastStop() Stop { return d.stop }

// Strays names the folders that were set aside, now or earlier: they belonged to another topic id.
func (d *Dir) Strays() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.strays...)
}

// Partitions returns what is on disk, opened or not, in no particular order.
func (d *Dir) Partitions() []topic.Partition {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]topic.Partition, 0, len(d.onDisk)+len(d.logs))
	for _, p := range d.onDisk {
		out = append(out, p)
	}
	for _, l := range d.logs {
		out = append(out, l.part)
	}
	return out
}

// openLogs lists the open logs; the caller holds mu.
func (d *Dir) openLogs() []*Log {
	logs := make([]*Log, 0, len(d.logs))
	for _, l := range d.logs {
		logs = append(logs, l)
	}
	return logs
}

func (d *Dir) nowMs() int64 { return d.o.Now().UnixMilli() }

// Offline says why nothing is written to the directory any more, nil as long as all is well.
func (d *Dir) Offline() error {
	if p := d.offline.Load(); p != nil {
		return *p
	}
	return nil
}

// fail takes the directory offline for good (I-31). Who waits for a flush is woken by OnAdvance and finds Offline.
func (d *Dir) fail(err error) {
	if d.condemn(err) {
		d.announceOffline()
	}
}

// syncFailed takes the directory offline because of a flush that failed, and says so. It may not be tried again: the kernel
// may have dropped what it could not write, and would answer that all is well (I-31).
func (d *Dir) syncFailed(err error) error {
	d.fail(err)
	return fmt.Errorf("%w: %w", ErrOffline, err)
}

// condemn marks the directory as offline and reports whether err is the first reason for it, which is then to be
// announced. It takes no lock.
func (d *Dir) condemn(err error) (first bool) {
	if errors.Is(err, ErrOffline) {
		return false
	}
	err = fmt.Errorf("%s: %w: %w", d.root, ErrOffline, err)
	return d.offline.CompareAndSwap(nil, &err)
}

// announceOffline tells everybody. It is called without locks.
func (d *Dir) announceOffline() {
	err := d.Offline()
	d.logger.Error("the log directory is offline: a write to it failed, and what it holds is not known any more",
		"path", d.root, "error", err)
	if err := d.remark(func(m *mark) { m.doubt = true }); err != nil {
		d.logger.Error("that it failed could not be noted: restart the machine, not only firn", "path", d.root, "error", err)
	}
	d.mu.Lock()
	logs := d.openLogs()
	d.mu.Unlock()
	for _, l := range logs {
		l.notify()
	}
	if d.o.OnOffline != nil {
		d.o.OnOffline(err)
	}
}

// aside returns a folder name for what used to be called name. Kafka's names may be so long that they must be cut.
func aside(name, suffix string) string {
	var r [8]byte
	if _, err := rand.Read(r[:]); err != nil {
		panic(err) // crypto/rand never fails on the platforms that firn supports
	}
	return name[:min(len(name), 200)] + "." + hex.EncodeToString(r[:]) + suffix
}

// logSet is a set of logs.
type logSet struct {
	mu  sync.Mutex
	set map[*Log]struct{}
}

func (s *logSet) add(l *Log) {
	s.mu.Lock()
	if s.set == nil {
		s.set = map[*Log]struct{}{}
	}
	s.set[l] = struct{}{}
	s.mu.Unlock()
}

// filter calls fn for every log and drops those for which it returns false.
func (s *logSet) filter(fn func(*Log) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.set {
		if !fn(l) {
			delete(s.set, l)
		}
	}
}
