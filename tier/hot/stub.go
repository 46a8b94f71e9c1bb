package hot

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

type Options struct {
	FS             disk.FS               // nil: disk.OS()
	Path           string                // the log directory; made if need be
	Logger         *slog.Logger          // nil: slog.Default()
	Now            func() time.Time      // nil: time.Now
	BootID         string                // "": the kernel's
	Config         Config                // for logs opened without one; zero: DefaultConfig()
	Registerer     prometheus.Registerer // nil: no metrics
	FlushParallel  int                   // fdatasyncs at once; 0: 4
	MaxOpenFiles   int                   // 0: 4096
	ProducerExpiry time.Duration         // producer.id.expiration.ms; 0: 24 h
	OnOffline      func(error)           // called once, without locks, when the directory went offline
}

type Dir struct{}
type Log struct{}

func OpenDir(o Options) (*Dir, error)                            { panic("soon") }
func (d *Dir) Partitions() []topic.Partition                     { panic("soon") }
func (d *Dir) Open(p topic.Partition, cfg *Config) (*Log, error) { panic("soon") }
func (d *Dir) Remove(p topic.Partition) error                    { panic("soon") }
func (d *Dir) Offline() error                                    { panic("soon") }
func (d *Dir) Close() error                                      { panic("soon") }

type AppendOptions struct {
	Epoch int32 // the leader epoch that appends
	Now   int64 // ms: the broker's clock
	Check bool  // check producer sequences and timestamps, as for what comes from a client
}
type Appended struct {
	BaseOffset    int64 // of the first batch, or of the batch that this one repeats
	NextOffset    int64 // after the last batch: durable once Flushed is at least this
	LogAppendTime int64 // ms, -1 unless LogAppendTime
	LogStart      int64
	Duplicate     bool
}
type Data struct {
	Regions []disk.Region
	First   int64
	Next    int64
	Bytes   int
}
type TimeResult struct {
	Offset    int64
	Timestamp int64
	Epoch     int32
}
type SegmentInfo struct {
	Base, Next   int64
	Bytes        int64
	IndexBytes   int64
	MaxTimestamp int64
	Modified     int64
}

func (d *Data) Release()                  { panic("soon") }
func (l *Log) Partition() topic.Partition { panic("soon") }
func (l *Log) SetConfig(c *Config)        { panic("soon") }
func (l *Log) Append(batches []byte, headers []record.Header, o AppendOptions) (Appended, error) {
	panic("soon")
}
func (l *Log) LocalStart() int64                                                      { panic("soon") }
func (l *Log) LogStart() int64                                                        { panic("soon") }
func (l *Log) End() int64                                                             { panic("soon") }
func (l *Log) Flushed() int64                                                         { panic("soon") }
func (l *Log) Stable() int64                                                          { panic("soon") }
func (l *Log) OnAdvance(fn func())                                                    { panic("soon") }
func (l *Log) Read(offset, limit int64, maxBytes int, atLeastOne bool) (*Data, error) { panic("soon") }
func (l *Log) ReadBytes(offset, limit int64, max int) ([]byte, error)                 { panic("soon") }
func (l *Log) OffsetForTime(ts, limit int64) (TimeResult, bool, error)                { panic("soon") }
func (l *Log) MaxTimestamp(limit int64) (TimeResult, bool, error)                     { panic("soon") }
func (l *Log) Epochs() []epoch.Entry                                                  { panic("soon") }
func (l *Log) EndOfEpoch(e int32) (int32, int64)                                      { panic("soon") }
func (l *Log) EpochAt(off int64) int32                                                { panic("soon") }
func (l *Log) AssignEpoch(e int32, start int64) error                                 { panic("soon") }
func (l *Log) Segments() []SegmentInfo                                                { panic("soon") }
func (l *Log) AdvanceStart(offset int64) error                                        { panic("soon") }
func (l *Log) Trim(offset int64, reason string) (int64, error)                        { panic("soon") }
func (l *Log) Truncate(offset int64) error                                            { panic("soon") }
func (l *Log) Flush() error                                                           { panic("soon") }
func (l *Log) Roll() error                                                            { panic("soon") }
func (l *Log) Bytes() int64                                                           { panic("soon") }
