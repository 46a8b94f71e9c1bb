package partition

import (
	"log/slog"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/topicconfig"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/clean"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/upload"
)

// SettingsOf gives Options.Settings: topic configs resolved over the broker's defaults (by topic config name,
// nil allowed). Stored configs were validated; should one be refused all the same, by a newer version's rules
// say, the topic goes on with what its configs without the offender mean, and without retention, so that nothing is
// dropped by mistake.
func SettingsOf(defaults map[string]string, log *slog.Logger) func(t *metadata.Topic) *Settings {
	return func(t *metadata.Topic) *Settings {
		v, err := topicconfig.Resolve(t.Configs, defaults)
		if err != nil {
			log.Error("stored topic configs are not valid; the topic keeps everything until they are corrected", "topic", t.Name, "error", err)
			v, _ = topicconfig.Resolve(map[string]string{
				topicconfig.RetentionMs: "-1", topicconfig.RetentionBytes: "-1",
				topicconfig.LocalRetentionMs: "-2", topicconfig.LocalRetentionBytes: "-2",
				topicconfig.RemoteStorageEnable: t.Configs[topicconfig.RemoteStorageEnable],
			}, nil)
		}
		return settingsFrom(v)
	}
}

func settingsFrom(v topicconfig.Values) *Settings {
	s := &Settings{Remote: v.RemoteStorage, MinISR: int(v.MinInsyncReplicas), Compacted: v.Compact, Deletes: v.Delete, Compression: compressionOf(v)}
	s.Log = hot.DefaultConfig()
	c := &s.Log
	c.SegmentBytes, c.SegmentMs, c.SegmentJitterMs = v.SegmentBytes, v.SegmentMs, v.SegmentJitterMs
	c.IndexIntervalBytes, c.SegmentIndexBytes = v.IndexIntervalBytes, v.SegmentIndexBytes
	c.FlushMessages, c.FlushMs = v.FlushMessages, v.FlushMs
	c.MaxMessageBytes = v.MaxMessageBytes
	c.LogAppendTime = v.LogAppendTime
	c.TimestampBeforeMaxMs, c.TimestampAfterMaxMs = v.TimestampBeforeMaxMs, v.TimestampAfterMaxMs
	c.ValidateRecords = v.ValidateRecords
	c.RetentionMs, c.RetentionBytes = v.RetentionMs, v.RetentionBytes
	c.LocalRetentionMs, c.LocalRetentionBytes = v.LocalRetentionMs, v.LocalRetentionBytes
	c.RemoteStorage = v.RemoteStorage
	c.Preallocate, c.FileDeleteDelayMs = v.Preallocate, v.FileDeleteDelayMs
	s.Upload = upload.Config{
		Enabled:      v.RemoteStorage && !v.RemoteCopyDisable,
		SegmentBytes: int64(v.RemoteSegmentBytes),
		MaxLagMs:     v.RemoteUploadMaxLagMs,
		Compression:  v.RemoteCompression,
	}
	s.Clean = clean.Policy{
		Compact: v.Compact && !v.RemoteStorage, MinDirtyRatio: v.MinCleanableDirtyRatio,
		MinLagMs: v.MinCompactionLagMs, MaxLagMs: v.MaxCompactionLagMs, DeleteRetentionMs: v.DeleteRetentionMs,
	}
	return s
}

func compressionOf(v topicconfig.Values) *record.Compression {
	for c := record.Gzip; c.Known(); c++ {
		if v.CompressionType == c.String() {
			return &record.Compression{Codec: c, Level: int(v.CompressionLevel)}
		}
	}
	if v.CompressionType == "uncompressed" {
		return &record.Compression{Codec: record.None}
	}
	return nil
}
