package clean

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/topic"
)

// CheckpointFile has Kafka's name and format. It stands in the log directory.
const CheckpointFile = "cleaner-offset-checkpoint"

// marks says how far each log is clean. The file knows names only, so an offset that was read from it belongs to the
// topic id that was on disk when it was read (I-38).
type marks struct {
	dir *hot.Dir

	saveMu sync.Mutex // one writer of the file at a time; taken before mu

	mu    sync.Mutex
	clean map[topic.Partition]int64 // guarded by mu
	dirty bool                      // clean is not what the file says; guarded by mu
}

func loadMarks(d *hot.Dir, log *slog.Logger) *marks {
	m := &marks{dir: d, clean: map[topic.Partition]int64{}}
	offsets, err := checkpoint.ReadOffsets(d.FS(), m.path())
	if err != nil && !checkpoint.IsMissing(err) {
		log.Warn("how far logs are clean is not known, they are cleaned from their beginning", "error", err)
	}
	for _, p := range d.Partitions() {
		if o, ok := offsets[checkpoint.Key{Topic: p.Topic, Index: p.Index}]; ok {
			m.clean[p] = o
		}
	}
	m.dirty = len(m.clean) != len(offsets)
	return m
}

func (m *marks) path() string { return filepath.Join(m.dir.Path(), CheckpointFile) }

// get returns -1 for a partition that has no mark.
func (m *marks) get(p topic.Partition) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.clean[p]; ok {
		return o
	}
	return -1
}

func (m *marks) set(p topic.Partition, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.clean[p]; !ok || old != offset {
		m.clean[p], m.dirty = offset, true
	}
}

// keep drops the marks of all other partitions.
func (m *marks) keep(there map[topic.Partition]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.clean {
		if !there[p] {
			delete(m.clean, p)
			m.dirty = true
		}
	}
}

// save makes the marks durable, if they are not.
func (m *marks) save() error {
	m.saveMu.Lock()
	defer m.saveMu.Unlock()
	m.mu.Lock()
	if !m.dirty {
		m.mu.Unlock()
		return nil
	}
	out := make(map[checkpoint.Key]int64, len(m.clean))
	for p, o := range m.clean {
		out[checkpoint.Key{Topic: p.Topic, Index: p.Index}] = o
	}
	m.dirty = false
	m.mu.Unlock()
	if err := checkpoint.WriteOffsets(m.dir.FS(), m.path(), out); err != nil {
		m.mu.Lock()
		m.dirty = true
		m.mu.Unlock()
		return fmt.Errorf("saving how far logs are clean: %w", m.dir.WriteFailed(err))
	}
	return nil
}
