package node

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
)

// change is a config that is set on a running broker: to what, beside which others, where that must show, and as what.
type change struct {
	value string
	see   func(l *live) string
	want  string
	with  conf
}

// What parts of a running broker go by, as text.
func seeTopic(l *live) string { return seeSettings(l, "dynamic") }
func seeLocal(l *live) string { return seeSettings(l, "local") } // without an archive, which would not be compacted
func seeSettings(l *live, topic string) string {
	p, err := l.n.partitions.ByName(topic, 0)
	require.NoError(l, err)
	text, err := json.Marshal(p.Settings())
	require.NoError(l, err)
	return string(text)
}
func seeLimits(l *live) string { return fmt.Sprintf("%+v", l.n.kafka.Limits()) }
func seeTuning(l *live) string { return fmt.Sprintf("%+v", l.n.partitions.Tuning()) }
func seeCache(l *live) string  { return fmt.Sprint("Cache:", l.n.cold.CacheBytes()) }
func seeUnpack(l *live) string { return fmt.Sprint("Max:", l.n.unpack.Max()) }
func seeExpiry(l *live) string { return fmt.Sprint("Expiry:", l.n.dir.ProducerExpiry()) }
func seeGroups(l *live) string {
	o := l.n.groups.Options()
	o.NewMemberSuffix = nil
	return fmt.Sprintf("%+v", o)
}
func seeCleaner(l *live) string {
	l.n.cleaner.mu.Lock()
	defer l.n.cleaner.mu.Unlock()
	return fmt.Sprintf("%+v", l.n.cleaner.want)
}

// dynamic has every config that can be changed while the broker runs and has effect.
var dynamic = map[string]change{
	"connections.max.idle.ms":          {value: "777000", see: seeLimits, want: "IdleTimeout:12m57s"},
	"firn.answer.memory.bytes":         {value: "2000000", see: seeLimits, want: "AnswerBytes:2000000"},
	"firn.connection.max.in.flight":    {value: "7", see: seeLimits, want: "MaxInFlight:7"},
	"firn.connection.request.rate":     {value: "77.5", see: seeLimits, want: "RequestRate:77.5"},
	"firn.frame.timeout.ms":            {value: "77000", see: seeLimits, want: "FrameTimeout:1m17s"},
	"firn.write.timeout.ms":            {value: "77000", see: seeLimits, want: "WriteTimeout:1m17s"},
	"max.connection.creation.rate":     {value: "77", see: seeLimits, want: "ConnectionRate:77 "},
	"max.connections":                  {value: "77", see: seeLimits, want: "MaxConnections:77 "},
	"max.connections.per.ip":           {value: "77", see: seeLimits, want: "MaxConnectionsPerIP:77 "},
	"max.connections.per.ip.overrides": {value: "10.0.0.7:5", see: seeLimits, want: "10.0.0.7:5"},
	"socket.send.buffer.bytes":         {value: "77000", see: seeLimits, want: "SendBuffer:77000"},
	"firn.decompress.max.bytes":        {value: "7000000", see: seeUnpack, want: "Max:7000000"},
	"producer.id.expiration.ms":        {value: "77000", see: seeExpiry, want: "Expiry:1m17s"},
	"remote.fetch.max.wait.ms":         {value: "77000", see: seeTuning, want: "ColdWait:1m17s"},
	"firn.local.disk.target":           {value: "0.6", see: seeTuning, want: "TargetShare:0.6"},
	"firn.local.disk.reserve":          {value: "77", see: seeTuning, want: "Reserve:77"},
	"firn.remote.cache.bytes":          {value: "7000000", see: seeCache, want: "Cache:7000000"},

	"group.initial.rebalance.delay.ms":    {value: "77", see: seeGroups, want: "InitialRebalanceDelay:77 "},
	"group.min.session.timeout.ms":        {value: "77", see: seeGroups, want: "MinSessionTimeout:77 "},
	"group.max.session.timeout.ms":        {value: "77000", see: seeGroups, want: "MaxSessionTimeout:77000 "},
	"group.max.size":                      {value: "77", see: seeGroups, want: "MaxSize:77 "},
	"offset.metadata.max.bytes":           {value: "77", see: seeGroups, want: "MetadataMaxBytes:77 "},
	"offsets.retention.minutes":           {value: "2", see: seeGroups, want: "Retention:120000 "},
	"offsets.retention.check.interval.ms": {value: "77", see: seeGroups, want: "RetentionCheckInterval:77 "},

	"log.cleaner.threads":                 {value: "2", see: seeCleaner, want: "Threads:2 "},
	"log.cleaner.backoff.ms":              {value: "77", see: seeCleaner, want: "BackoffMs:77}"},
	"log.cleaner.dedupe.buffer.size":      {value: "7000000", see: seeCleaner, want: "DedupeBuffer:7000000 "},
	"log.cleaner.io.buffer.size":          {value: "70000", see: seeCleaner, want: "IOBuffer:70000 "},
	"log.cleaner.io.buffer.load.factor":   {value: "0.7", see: seeCleaner, want: "LoadFactor:0.7 "},
	"log.cleaner.io.max.bytes.per.second": {value: "77.5", see: seeCleaner, want: "IOBytesPerSecond:77.5 "},

	// The defaults of topics, in the settings of a partition of a topic that says nothing.
	"compression.type":                    {value: "lz4", see: seeTopic, want: `"Compression":{"Codec":3,"Level":9`},
	"compression.gzip.level":              {value: "7", see: seeTopic, want: `"Compression":{"Codec":1,"Level":7`, with: conf{"compression.type": "gzip"}},
	"compression.lz4.level":               {value: "7", see: seeTopic, want: `"Compression":{"Codec":3,"Level":7`, with: conf{"compression.type": "lz4"}},
	"compression.zstd.level":              {value: "7", see: seeTopic, want: `"Compression":{"Codec":4,"Level":7`, with: conf{"compression.type": "zstd"}},
	"firn.remote.compression":             {value: "none", see: seeTopic, want: `"Compression":"none"`},
	"firn.remote.segment.bytes":           {value: "7000000", see: seeTopic, want: `"SegmentBytes":7000000,"MaxLagMs"`},
	"firn.remote.upload.max.lag.ms":       {value: "77000", see: seeTopic, want: `"MaxLagMs":77000,"Compression"`},
	"firn.validate.records":               {value: "true", see: seeTopic, want: `"ValidateRecords":true`},
	"log.cleaner.delete.retention.ms":     {value: "77", see: seeTopic, want: `"DeleteRetentionMs":77`},
	"log.cleaner.max.compaction.lag.ms":   {value: "77", see: seeTopic, want: `"MaxLagMs":77,"DeleteRetentionMs"`},
	"log.cleaner.min.compaction.lag.ms":   {value: "77", see: seeTopic, want: `"MinLagMs":77`},
	"log.cleaner.min.cleanable.ratio":     {value: "0.77", see: seeTopic, want: `"MinDirtyRatio":0.77`},
	"log.cleanup.policy":                  {value: "compact", see: seeLocal, want: `"Compacted":true,"Deletes":false`},
	"log.flush.interval.messages":         {value: "77", see: seeTopic, want: `"FlushMessages":77`},
	"log.flush.interval.ms":               {value: "77", see: seeTopic, want: `"FlushMs":77`},
	"log.index.interval.bytes":            {value: "77", see: seeTopic, want: `"IndexIntervalBytes":77`},
	"log.index.size.max.bytes":            {value: "77000", see: seeTopic, want: `"SegmentIndexBytes":77000`},
	"log.local.retention.bytes":           {value: "77", see: seeTopic, want: `"LocalRetentionBytes":77`},
	"log.local.retention.ms":              {value: "77", see: seeTopic, want: `"LocalRetentionMs":77`},
	"log.message.timestamp.after.max.ms":  {value: "77", see: seeTopic, want: `"TimestampAfterMaxMs":77`},
	"log.message.timestamp.before.max.ms": {value: "77", see: seeTopic, want: `"TimestampBeforeMaxMs":77`},
	"log.message.timestamp.type":          {value: "LogAppendTime", see: seeTopic, want: `"LogAppendTime":true`},
	"log.preallocate":                     {value: "true", see: seeTopic, want: `"Preallocate":true`},
	"log.retention.bytes":                 {value: "77", see: seeTopic, want: `"RetentionBytes":77`},
	"log.retention.ms":                    {value: "77", see: seeTopic, want: `"RetentionMs":77`},
	"log.roll.jitter.ms":                  {value: "77", see: seeTopic, want: `"SegmentJitterMs":77`},
	"log.roll.ms":                         {value: "77000", see: seeTopic, want: `"SegmentMs":77000`},
	"log.segment.bytes":                   {value: "7000000", see: seeTopic, want: `"SegmentBytes":7000000,"SegmentMs"`},
	"log.segment.delete.delay.ms":         {value: "77", see: seeTopic, want: `"FileDeleteDelayMs":77`},
	"message.max.bytes":                   {value: "77000", see: seeTopic, want: `"MaxMessageBytes":77000`},
	"min.insync.replicas":                 {value: "2", see: seeTopic, want: `"MinISR":2`},
}

// TestEveryDynamicConfig sets each config that is said to be dynamic on a running broker, sees what its part goes by
// change, and change back when the config is deleted. A config that is not in the table has not been thought of.
func TestEveryDynamicConfig(t *testing.T) {
	l := startLive(t, nil)
	l.topic("dynamic", nil)
	l.topic("local", conf{"remote.storage.enable": "false"})
	for _, d := range brokerconfig.Defs() {
		if d.Mode == brokerconfig.ReadOnly || d.NoEffect != "" || d.Flag != "" {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			c, ok := dynamic[d.Name]
			require.True(t, ok, "it can be changed while the broker runs, and no line of the table says what that does")
			alter(t, l.n.meta, metadata.ClusterDefaults, c.with)
			defer func() {
				alter(t, l.n.meta, metadata.ClusterDefaults, nil, append(slices.Collect(maps.Keys(c.with)), d.Name)...)
			}()
			before := c.see(l)
			require.NotContains(t, before, c.want, "it would be so without the config")
			alter(t, l.n.meta, metadata.ClusterDefaults, conf{d.Name: c.value})
			require.Contains(t, c.see(l), c.want, "what is committed counts before Commit returns")
			alter(t, l.n.meta, metadata.ClusterDefaults, nil, d.Name)
			require.Equal(t, before, c.see(l))
		})
	}
}
