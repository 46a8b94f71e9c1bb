package partition

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata/topicconfig"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/clean"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/upload"
)

// Every config reaches the log, the uploader or the cleaner that it is meant for: each has a value of its own.
func TestSettingsCarryEveryConfig(t *testing.T) {
	v, err := topicconfig.Resolve(map[string]string{
		"segment.bytes": "2000000", "segment.ms": "101", "segment.jitter.ms": "102", "index.interval.bytes": "103",
		"segment.index.bytes": "104", "flush.messages": "105", "flush.ms": "106", "max.message.bytes": "107",
		"message.timestamp.type": "LogAppendTime", "message.timestamp.before.max.ms": "108", "message.timestamp.after.max.ms": "109",
		"firn.validate.records": "true", "retention.ms": "11000", "retention.bytes": "12000", "local.retention.ms": "110",
		"local.retention.bytes": "111", "remote.storage.enable": "true", "preallocate": "true", "file.delete.delay.ms": "112",
		"min.insync.replicas": "1", "firn.remote.segment.bytes": "3000000", "firn.remote.upload.max.lag.ms": "1234",
		"firn.remote.compression": "none", "min.cleanable.dirty.ratio": "0.25", "min.compaction.lag.ms": "113",
		"max.compaction.lag.ms": "114", "delete.retention.ms": "115", "compression.type": "zstd", "compression.zstd.level": "7",
		"compression.lz4.level": "3", "compression.gzip.level": "4",
	}, nil)
	require.NoError(t, err)
	s := settingsFrom(v)
	want := hot.DefaultConfig()
	want.SegmentBytes, want.SegmentMs, want.SegmentJitterMs, want.IndexIntervalBytes, want.SegmentIndexBytes = 2000000, 101, 102, 103, 104
	want.FlushMessages, want.FlushMs, want.MaxMessageBytes = 105, 106, 107
	want.LogAppendTime, want.TimestampBeforeMaxMs, want.TimestampAfterMaxMs = true, 108, 109
	want.ValidateRecords, want.RetentionMs, want.RetentionBytes = true, 11000, 12000
	want.LocalRetentionMs, want.LocalRetentionBytes, want.RemoteStorage = 110, 111, true
	want.Preallocate, want.FileDeleteDelayMs = true, 112
	require.Equal(t, want, s.Log)
	require.Equal(t, upload.Config{Enabled: true, SegmentBytes: 3000000, MaxLagMs: 1234, Compression: "none"}, s.Upload)
	require.Equal(t, clean.Policy{MinDirtyRatio: 0.25, MinLagMs: 113, MaxLagMs: 114, DeleteRetentionMs: 115}, s.Clean)
	require.True(t, s.Remote)
	require.Equal(t, &record.Compression{Codec: record.Zstd, Level: 7}, s.Compression)

	v, err = topicconfig.Resolve(map[string]string{"cleanup.policy": "compact", "remote.storage.enable": "false"}, nil)
	require.NoError(t, err)
	require.True(t, settingsFrom(v).Clean.Compact)
	v.RemoteStorage = true // no config leads here; what is archived is never cleaned all the same
	require.False(t, settingsFrom(v).Clean.Compact)
}

func TestSettingsOfCompression(t *testing.T) {
	levels := map[string]string{"compression.gzip.level": "4", "compression.lz4.level": "3", "compression.zstd.level": "-7"}
	for text, want := range map[string]*record.Compression{
		"": nil, "producer": nil, "uncompressed": {Codec: record.None}, "gzip": {Codec: record.Gzip, Level: 4},
		"snappy": {Codec: record.Snappy}, "lz4": {Codec: record.LZ4, Level: 3}, "zstd": {Codec: record.Zstd, Level: -7},
	} {
		set, defaults := map[string]string{}, map[string]string{}
		for k, v := range levels {
			defaults[k] = v // a broker's default counts as well
		}
		if text != "" {
			set["compression.type"] = text
		}
		v, err := topicconfig.Resolve(set, defaults)
		require.NoError(t, err, text)
		require.Equal(t, want, settingsFrom(v).Compression, text)
	}
}
