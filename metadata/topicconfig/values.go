package topicconfig

import (
	"maps"
	"slices"
	"strings"
)

// Values are a topic's configs, typed and resolved: what brokers act on. Sizes are bytes, times ms.
type Values struct {
	Delete  bool // cleanup.policy has delete; with neither, nothing is ever dropped
	Compact bool

	// What the log cleaner goes by when Compact is set.
	MinCleanableDirtyRatio float64
	MinCompactionLagMs     int64
	MaxCompactionLagMs     int64
	DeleteRetentionMs      int64

	SegmentBytes       int32
	SegmentMs          int64 // with Compact no more than MaxCompactionLagMs: the active segment is not cleaned
	SegmentJitterMs    int64
	SegmentIndexBytes  int32
	IndexIntervalBytes int32
	FlushMessages      int64 // 1: flush before acknowledgement
	FlushMs            int64
	Preallocate        bool
	FileDeleteDelayMs  int64

	MaxMessageBytes      int32
	LogAppendTime        bool
	TimestampBeforeMaxMs int64
	TimestampAfterMaxMs  int64
	CompressionType      string // producer, uncompressed or a codec's name
	CompressionLevel     int32  // of that codec, as Kafka counts; 0 where it has none
	ValidateRecords      bool

	MinInsyncReplicas int32

	RetentionMs    int64 // -1: for ever; also when cleanup.policy lacks delete
	RetentionBytes int64 // -1: no limit; also when cleanup.policy lacks delete
	// What may stay on local disk: -1 no limit. -2 is resolved, and never more than the retention above.
	// Without remote storage they equal it.
	LocalRetentionMs    int64
	LocalRetentionBytes int64

	RemoteStorage         bool
	RemoteCopyDisable     bool // remote storage is on, but nothing more is uploaded
	RemoteDeleteOnDisable bool
	RemoteSegmentBytes    int32
	RemoteUploadMaxLagMs  int64
	RemoteCompression     string // none or zstd
}

// Resolve types the configs of a topic. set holds what is stored with the topic, defaults the broker's own
// defaults by topic config name (BrokerKey translated), which may be nil. It validates each value and what they
// say together. A remote.storage.enable that is not set follows cleanup.policy.
func Resolve(set, defaults map[string]string) (Values, error) {
	get := func(name string) (value, error) {
		text, ok := set[name]
		if !ok {
			if text, ok = defaults[name]; !ok {
				d, _ := Lookup(name)
				text = d.Default
			}
		}
		_, v, err := parse(name, text)
		return v, err
	}
	for _, k := range slices.Sorted(maps.Keys(set)) {
		if err := Validate(k, set[k]); err != nil {
			return Values{}, err
		}
	}
	r := resolver{get: get}
	v := r.all()
	if r.err != nil {
		return Values{}, r.err
	}
	if s, ok := set[InternalSegmentBytes]; ok {
		_, p, _ := parse(InternalSegmentBytes, s)
		v.SegmentBytes = int32(p.Num)
	}
	if _, ok := set[RemoteStorageEnable]; !ok {
		v.RemoteStorage = v.RemoteStorage && !v.Compact
	}
	if err := v.check(set); err != nil {
		return Values{}, err
	}
	v.settle(set)
	return v, nil
}

// resolver reads typed values and remembers the first error.
type resolver struct {
	get func(string) (value, error)
	err error
}

func (r *resolver) value(name string) value {
	v, err := r.get(name)
	if err != nil && r.err == nil {
		r.err = err
	}
	return v
}

func (r *resolver) long(name string) int64 { return r.value(name).Num }
func (r *resolver) int(name string) int32  { return int32(r.value(name).Num) }
func (r *resolver) flag(name string) bool  { return r.value(name).Flag }

func (r *resolver) compressionLevel() int32 {
	gzip, lz4, zstd := r.int(CompressionGzipLevel), r.int(CompressionLZ4Level), r.int(CompressionZstdLevel)
	switch r.value(CompressionType).Text {
	case "gzip":
		return gzip
	case "lz4":
		return lz4
	case "zstd":
		return zstd
	}
	return 0
}

func (r *resolver) all() Values {
	policy := r.value(CleanupPolicy).List
	return Values{
		Delete: slices.Contains(policy, "delete"), Compact: slices.Contains(policy, "compact"),
		MinCleanableDirtyRatio: r.value(MinCleanableDirtyRatio).Real, MinCompactionLagMs: r.long(MinCompactionLagMs),
		MaxCompactionLagMs: r.long(MaxCompactionLagMs), DeleteRetentionMs: r.long(DeleteRetentionMs),
		SegmentBytes: r.int(SegmentBytes), SegmentMs: r.long("segment.ms"), SegmentJitterMs: r.long("segment.jitter.ms"),
		SegmentIndexBytes: r.int("segment.index.bytes"), IndexIntervalBytes: r.int("index.interval.bytes"),
		FlushMessages: r.long(FlushMessages), FlushMs: r.long(FlushMs),
		Preallocate: r.flag("preallocate"), FileDeleteDelayMs: r.long("file.delete.delay.ms"),
		MaxMessageBytes: r.int(MaxMessageBytes), LogAppendTime: r.value("message.timestamp.type").Text == "LogAppendTime",
		TimestampBeforeMaxMs: r.long("message.timestamp.before.max.ms"), TimestampAfterMaxMs: r.long("message.timestamp.after.max.ms"),
		CompressionType: r.value(CompressionType).Text, CompressionLevel: r.compressionLevel(), ValidateRecords: r.flag(ValidateRecords),
		MinInsyncReplicas: r.int(MinInsyncReplicas),
		RetentionMs:       r.long(RetentionMs), RetentionBytes: r.long(RetentionBytes),
		LocalRetentionMs: r.long(LocalRetentionMs), LocalRetentionBytes: r.long(LocalRetentionBytes),
		RemoteStorage: r.flag(RemoteStorageEnable), RemoteCopyDisable: r.flag(RemoteCopyDisable),
		RemoteDeleteOnDisable: r.flag(RemoteDeleteOnDisable), RemoteSegmentBytes: r.int(RemoteSegmentBytes),
		RemoteUploadMaxLagMs: r.long(RemoteUploadMaxLagMs), RemoteCompression: r.value(RemoteCompression).Text,
	}
}

// check refuses values that rule each other out. Local retention is held against retention only where it was
// set: the default of 24 hours simply gives way to a shorter retention.
func (v Values) check(set map[string]string) error {
	minLag, maxLag := longOf(set, MinCompactionLagMs), longOf(set, MaxCompactionLagMs)
	if minLag > maxLag {
		return invalid(MinCompactionLagMs, "min.compaction.lag.ms (%d) must not be greater than max.compaction.lag.ms (%d)", minLag, maxLag)
	}
	if !v.RemoteStorage {
		return nil
	}
	if v.Compact {
		return invalid(RemoteStorageEnable, "remote.storage.enable=true and cleanup.policy=%s rule each other out: the archive cannot compact yet; leave remote.storage.enable away, or set it to false, to keep the topic on local disk", policyText(v))
	}
	for _, c := range []struct {
		local, total   string
		nLocal, nTotal int64
	}{
		{LocalRetentionMs, RetentionMs, v.LocalRetentionMs, v.RetentionMs},
		{LocalRetentionBytes, RetentionBytes, v.LocalRetentionBytes, v.RetentionBytes},
	} {
		if _, ok := set[c.local]; !ok || c.nLocal == -2 {
			continue
		}
		if v.RemoteCopyDisable && c.nLocal != c.nTotal {
			return invalid(c.local, "with remote.log.copy.disable=true, %s (%d) must be -2 or the same as %s (%d): nothing more is archived", c.local, c.nLocal, c.total, c.nTotal)
		}
		if c.nTotal >= 0 && (c.nLocal == -1 || c.nLocal > c.nTotal) {
			return invalid(c.local, "Invalid value %d for configuration %s: it must not be more than %s, which is %d", c.nLocal, c.local, c.total, c.nTotal)
		}
	}
	return nil
}

// settle works out what the retention configs mean together.
func (v *Values) settle(set map[string]string) {
	if v.Compact {
		v.SegmentMs = min(v.SegmentMs, v.MaxCompactionLagMs)
	}
	v.RetentionBytes = max(v.RetentionBytes, -1)
	if !v.Delete {
		v.RetentionMs, v.RetentionBytes = -1, -1
	}
	_, setMs := set[LocalRetentionMs]
	_, setBytes := set[LocalRetentionBytes]
	v.LocalRetentionMs = local(v.LocalRetentionMs, v.RetentionMs, v.RemoteStorage && (setMs || !v.RemoteCopyDisable))
	v.LocalRetentionBytes = local(v.LocalRetentionBytes, v.RetentionBytes, v.RemoteStorage && (setBytes || !v.RemoteCopyDisable))
}

func local(local, total int64, own bool) int64 {
	if !own || local == -2 || total >= 0 && (local < 0 || local > total) {
		return total
	}
	return local
}

func longOf(set map[string]string, name string) int64 {
	d, _ := Lookup(name)
	text, ok := set[name]
	if !ok {
		text = d.Default
	}
	v, _ := d.Type.Parse(text)
	return v.Num
}

func policyText(v Values) string {
	var p []string
	if v.Compact {
		p = append(p, "compact")
	}
	if v.Delete {
		p = append(p, "delete")
	}
	return strings.Join(p, ",")
}
