package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

const (
	hotShare        = 5                      // what lies in the hot log, as a multiple of Bytes: 10 GiB
	hotPartitions   = 64                     // more than have a checkpoint of their indexes with a save of the recovery points
	hotRecords      = 30                     // of 1 KiB in a batch: no batch is so large that its records can be passed over
	smallPartitions = 64                     // of the topic of small records
	smallTogether   = 4                      // of them in a batch at most
	hotLoad         = 500 * time.Millisecond // that large batches come before the process is killed

	recoveredKill, recoveredPower = "firn, killed", "firn, as after a power cut"

	// FirstFetch is how long after the start of the process the first fetch was answered.
	FirstFetch judge.Figure = "first fetch s"
	// AllServed is how long after the start of the process every partition had told where it ends and taken a batch.
	AllServed judge.Figure = "all partitions s"
	// ReadMB is what the process had read by then, by read calls: of its log, its metadata and itself.
	ReadMB judge.Figure = "read MB"
	// ReplayedMB is how much of record batches it found in its flush journal.
	ReplayedMB judge.Figure = "journal replayed MB"

	// AboveMB is how much of record batches lay above the recovery points that the killed process had saved.
	AboveMB judge.Figure = "above recovery points MB"
	// BeyondMB is ReadMB without the two.
	BeyondMB judge.Figure = "read beyond MB"

	// servedIn is how many seconds all that may take.
	servedIn = 5
	// readMost is what may be read, in MB, whatever there was: the flush journal, which is 256 MiB at most, and what lies above
	// the recovery points: those are saved once they moved by 1 GiB, and what the journal has does not move them. What comes
	// during a save is left out of account, so a disk that takes long for one misses this.
	readMost = float64(journalMost+(1<<30+journalMost)) / 1e6
	// beyondMost is what may be read beside what there was, in MB: a tenth of the journal's files, where something else was
	// before, the indexes of the last segments, the metadata, and what a process reads to start.
	beyondMost  = 64
	journalMost = 256 << 20
)

// recoveryCase: case i.
func recoveryCase() Case {
	c := Case{
		Name: "i recovery after kill -9",
		About: fmt.Sprintf("A flushed topic of %d partitions with five times the bytes that other cases read (10 GiB) gets batches of %d records of 1 KiB when its firn is killed. "+
			"A second one, of %d partitions, has got 10 MB/s of flushed records of 1 KiB then for as long as a round is, 1 to %d in a batch, which the flush journal takes. "+
			"From starting the process until a record is acknowledged, until one is read, and until every partition of both topics has told where it ends and has taken a batch, with what was read by then. "+
			"That does not grow with the log: it is what the journal had, and what lay above the saved recovery points, both of which are measured, and %d MB beside them. "+
			"The journal has 256 MiB at most, and recovery points are saved when they moved by 1 GiB, mostly by 256 MiB already: %.0f MB in all. "+
			"After a power cut the kernel is another one, and firn may not trust its page cache: that is played by telling it of another boot, with all that was written still there.",
			hotPartitions, hotRecords, smallPartitions, smallTogether, beyondMost, readMost),
		Memory: func(b *Bench) int64 { return hotShare * b.Bytes }, Cold: true,
		Prepare: func(ctx context.Context, b *Bench) ([]Side, error) { return b.recoverySides(ctx) },
	}
	for _, side := range []string{recoveredPower, recoveredKill} {
		c.Bars = append(c.Bars, Bar{Figure: AllServed, Side: side, AtMost: servedIn, Own: true},
			Bar{Figure: ReadMB, Side: side, AtMost: readMost, Every: true, Own: true}, Bar{Figure: BeyondMB, Side: side, AtMost: beyondMost, Every: true, Own: true})
	}
	return c
}

// recovering is a server that is killed at work and started again, with what it has to do then.
type recovering struct {
	*Server
	large measure.Pipelined // of the 10 GiB
	small measure.Paced     // which the journal takes
}

func (b *Bench) recoverySides(ctx context.Context) ([]Side, error) {
	firn, err := b.StartFirn(ctx, FirnOptions{Name: "firn-recovery"})
	if err != nil {
		return nil, err
	}
	batches := make([]measure.Payload, variety)
	for i := range batches {
		batches[i] = measure.NewPayload(hotRecords, recordSize-recordExtra, measure.Noise(uint64(i)))
	}
	r := &recovering{
		Server: firn,
		large:  measure.Pipelined{Addr: firn.Addr, Topic: "bench-hot", Partitions: hotPartitions, Conns: producers, InFlight: inFlight, Batches: batches},
		small: measure.Paced{
			Addr: firn.Addr, Topic: "bench-small", Partitions: smallPartitions, Conns: smallPartitions, Every: time.Second * smallPartitions / fixedRate,
			InFlight: 1, Batches: singles(recordSize - recordExtra)[:smallTogether],
		},
	}
	for topic, partitions := range r.topics() {
		if err := firn.CreateTopic(ctx, topic, partitions, Flush.configs(firn)); err != nil {
			return nil, err
		}
	}
	p, err := r.large.Start()
	if err != nil {
		return nil, err
	}
	_, err = p.RunBytes(ctx, hotShare*b.Bytes)
	if err := errors.Join(err, p.Close(), b.settle()); err != nil {
		return nil, err
	}
	round := func(power bool) func(context.Context, time.Duration) (Figures, error) {
		return func(ctx context.Context, length time.Duration) (Figures, error) {
			if err := r.crash(ctx, length); err != nil {
				return nil, err
			}
			if power {
				if err := os.WriteFile(filepath.Join(firn.Logs, ".firn-dirty"), []byte("another boot\n"), 0o644); err != nil {
					return nil, err
				}
			}
			return r.restart()
		}
	}
	return []Side{{Name: recoveredKill, Round: round(false)}, {Name: recoveredPower, Round: round(true)}}, nil
}

// topics are the topics with how many partitions they have.
func (r *recovering) topics() map[string]int {
	return map[string]int{r.large.Topic: r.large.Partitions, r.small.Topic: r.small.Partitions}
}

// crash kills the server while both loads are at work, of which the small one has been for the length given.
func (r *recovering) crash(ctx context.Context, length time.Duration) error {
	const longer = time.Hour // than anything here takes: the loads end, with an error, because the server does
	small, err := r.small.Start()
	if err != nil {
		return err
	}
	large, err := r.large.Start()
	if err != nil {
		return errors.Join(err, small.Close())
	}
	var wg sync.WaitGroup
	ended := make(chan error, 2) // of both loads
	wg.Go(func() {
		_, err := small.Run(ctx, time.Now().Add(soon), longer, patience)
		ended <- fmt.Errorf("small records: %w", err)
	})
	if err = still(ended, length); err == nil {
		_, err = large.RunBytes(ctx, hotPartitions*int64(len(r.large.Batches[0].Bytes))) // each has the broker at work
	}
	if err == nil {
		wg.Go(func() {
			_, err := large.Run(ctx, longer)
			ended <- fmt.Errorf("large batches: %w", err)
		})
		err = still(ended, hotLoad)
	}
	r.Kill()
	wg.Wait()
	return errors.Join(err, small.Close(), large.Close())
}

// still waits, unless something ends that should not.
func still(ended <-chan error, length time.Duration) error {
	select {
	case err := <-ended:
		return fmt.Errorf("a load ended before its server was killed: %w", err)
	case <-time.After(length):
		return nil
	}
}

// restart starts the server and tells how long it took until it served, and what it read for that.
func (r *recovering) restart() (Figures, error) {
	above, err := r.above()
	if err != nil {
		return nil, err
	}
	began, profile, err := r.begin()
	if err != nil {
		return nil, err
	}
	f, err := r.served(began)
	if err := errors.Join(err, profile.stop()); err != nil {
		return nil, err
	}
	const name = "firn_hot_journal_replayed_bytes"
	if _, err := r.until(began, func() error {
		replayed := r.metric(name)
		if replayed < 0 {
			return fmt.Errorf("there is no %s", name)
		}
		f[ReplayedMB] = replayed / 1e6
		return nil
	}); err != nil {
		return nil, err
	}
	f[AboveMB] = float64(above) / 1e6
	f[BeyondMB] = f[ReadMB] - f[ReplayedMB] - f[AboveMB]
	return f, nil
}

// served waits until the server, started a while ago, serves all that it has, and gives how long that took and what it needed.
func (r *recovering) served(began time.Time) (Figures, error) {
	batch := r.large.Batches[0].Bytes
	first, err := r.until(began, func() error { return produceOne(r.Addr, r.large.Topic, 0, batch) })
	if err != nil {
		return nil, err
	}
	fetched, err := r.until(began, func() error { return fetchOne(r.Addr, r.large.Topic, hotPartitions-1) })
	if err != nil {
		return nil, err
	}
	all, err := r.until(began, func() error {
		if err := endsOf(r.Addr, r.topics()); err != nil {
			return err
		}
		return produceEach(r.Addr, r.topics(), batch)
	})
	if err != nil {
		return nil, err
	}
	read, err := readBytes(r.PID())
	if err != nil {
		return nil, err
	}
	return Figures{
		judge.Seconds: first.Seconds(), FirstFetch: fetched.Seconds(), AllServed: all.Seconds(),
		ReadMB: float64(read) / 1e6, judge.PeakMB: float64(measure.PeakMemory(r.PID())) / 1e6,
	}, nil
}

// above is how many bytes of the topics' segments lie above the recovery points that were saved.
func (r *recovering) above() (sum int64, err error) {
	saved, err := recoveryPoints(filepath.Join(r.Logs, "firn-state"))
	if err != nil {
		return 0, err
	}
	for topic := range r.topics() {
		segments, err := filepath.Glob(filepath.Join(r.Logs, topic+"-*", "*.log"))
		if err != nil {
			return 0, err
		}
		for _, name := range segments {
			info, err := os.Stat(name)
			if err != nil {
				return 0, err
			}
			sum += max(0, info.Size()-saved[filepath.Join(filepath.Base(filepath.Dir(name)), filepath.Base(name))])
		}
	}
	return sum, nil
}

// recoveryPoints reads firn's state file: how many bytes of each segment's file, named from the log directory, are durable by
// it. Before the first save there is none.
func recoveryPoints(name string) (map[string]int64, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var head struct{ Logs int }
	lines := json.NewDecoder(f)
	if err := lines.Decode(&head); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	saved := map[string]int64{}
	for range head.Logs {
		var l struct {
			Topic     string
			Partition int
			Segments  []struct{ Base, Size int64 }
		}
		if err := lines.Decode(&l); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, s := range l.Segments {
			saved[fmt.Sprintf("%s-%d/%020d.log", l.Topic, l.Partition, s.Base)] = s.Size
		}
	}
	return saved, nil
}

// readBytes is what a process has read by read calls so far, from a device or not.
func readBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, fmt.Errorf("what was read: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "rchar:")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}
