package hot

import (
	"maps"
	"path/filepath"

	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/topic"
)

// Two checkpoints of Kafka's form, in the log directory, say where logs begin. They are written before the files
// below are removed: after a power cut any of those may be back, and a gap among them is not a torn log.
const (
	logStartFile   = checkpoint.LogStartFile
	localStartFile = "local-start-offset-checkpoint" // ours: Kafka lets the files speak
)

// starts are the checkpoints as they stand on disk.
type starts struct {
	log, local map[checkpoint.Key]int64    // guarded by the Dir's mu
	gone       map[checkpoint.Key]struct{} // of partitions that are no more: the next checkpoints leave them out; likewise
	logRuns    runs
	localRuns  runs
}

func key(p topic.Partition) checkpoint.Key { return checkpoint.Key{Topic: p.Topic, Index: p.Index} }

func (d *Dir) loadStarts() error {
	for _, c := range []struct {
		name string
		m    *map[checkpoint.Key]int64
	}{{logStartFile, &d.starts.log}, {localStartFile, &d.starts.local}} {
		m, err := checkpoint.ReadOffsets(d.fs, filepath.Join(d.root, c.name))
		if err != nil && !checkpoint.IsMissing(err) {
			return err
		}
		if m == nil {
			m = map[checkpoint.Key]int64{}
		}
		*c.m = m
	}
	d.starts.gone = map[checkpoint.Key]struct{}{}
	return nil
}

// startsGone notes, under mu, that there is nothing of a partition any more.
func (d *Dir) startsGone(k checkpoint.Key) {
	if d.hasStart(k) {
		d.starts.gone[k] = struct{}{}
	}
}

// hasStart reports, under mu, whether one of the checkpoints has the key.
func (d *Dir) hasStart(k checkpoint.Key) bool {
	_, log := d.starts.log[k]
	_, local := d.starts.local[k]
	return log || local
}

// startsOnDisk notes, under mu, of which partitions that have a start there is no folder.
func (d *Dir) startsOnDisk(folders map[string]bool) {
	for _, m := range []map[checkpoint.Key]int64{d.starts.log, d.starts.local} {
		for k := range m {
			if !folders[topic.Partition{Topic: k.Topic, Index: k.Index}.String()] {
				d.startsGone(k)
			}
		}
	}
}

// saveLogStarts makes where the logs begin durable, with what each log wants its start to be. saveLocalStarts does so for where
// they begin here.
func (d *Dir) saveLogStarts() error {
	return d.starts.logRuns.do(func() error {
		return d.writeStarts(logStartFile, &d.starts.log, func(l *Log) int64 { return l.wantStart.Load() })
	})
}

func (d *Dir) saveLocalStarts() error {
	return d.starts.localRuns.do(func() error {
		return d.writeStarts(localStartFile, &d.starts.local, func(l *Log) int64 { return l.wantLocal.Load() })
	})
}

func (d *Dir) writeStarts(name string, last *map[checkpoint.Key]int64, of func(*Log) int64) error {
	d.mu.Lock()
	m := make(map[checkpoint.Key]int64, len(*last))
	for k, v := range *last {
		_, forgotten := d.forgotten[k]
		_, gone := d.starts.gone[k]
		if !forgotten && !gone {
			m[k] = v
		}
	}
	for _, l := range d.logs {
		if v := of(l); v > 0 {
			m[key(l.part)] = v
		}
	}
	d.mu.Unlock()
	if err := checkpoint.WriteOffsets(d.fs, filepath.Join(d.root, name), m); err != nil {
		return err
	}
	d.mu.Lock()
	*last = m
	maps.DeleteFunc(d.starts.gone, func(k checkpoint.Key, _ struct{}) bool { return !d.hasStart(k) })
	d.mu.Unlock()
	return nil
}

// forgetStarts makes sure that a partition that is about to be made does not inherit the starts of a former one of
// that name (I-38).
func (d *Dir) forgetStarts(p topic.Partition) error {
	k := key(p)
	d.mu.Lock()
	_, log := d.starts.log[k]
	_, local := d.starts.local[k]
	d.forgotten[k] = struct{}{}
	delete(d.starts.gone, k)
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.forgotten, k)
		d.mu.Unlock()
	}()
	if log {
		if err := d.saveLogStarts(); err != nil {
			return err
		}
	}
	if local {
		return d.saveLocalStarts()
	}
	return nil
}
