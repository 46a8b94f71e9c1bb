package partition

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

const day = 24 * 3600 * 1000

// halfCold is a partition with offsets 0 to 60: 0 to 40 archived, 30 of them confirmed, 20 to 60 on local disk, 55 of them
// committed. It is day 100; a record of offset n0 to n9 is of day 90+n.
func halfCold() *facts {
	cfg := hot.DefaultConfig()
	cfg.RemoteStorage, cfg.RetentionMs, cfg.RetentionBytes, cfg.LocalRetentionMs = true, -1, -1, 9*day
	f := &facts{
		Status: Status{Partition: topic.Partition{Topic: "t"}, Leader: 1, Remote: true, HighWatermark: 55, End: 60, HotStart: 20, HotBytes: 400,
			ColdEnd: 40, ColdBytes: 400, ColdSegments: 4, Upload: &upload.Status{Waiting: "offsets 40 to 55 go up when 64 MiB are there or at noon"}},
		now: 100 * day, here: true, copying: true,
		retention: hot.RetentionInput{Config: &cfg, Archived: 30, Stable: 55, Now: 100 * day},
	}
	for base := int64(20); base < 60; base += 10 {
		f.retention.Segments = append(f.retention.Segments, hot.SegmentInfo{Base: base, Next: base + 10, Bytes: 100, MaxTimestamp: 90*day + base/10*day})
	}
	return f
}

func TestExplainSaysEach(t *testing.T) {
	const forever = "It is kept for ever: retention.ms=-1 and retention.bytes=-1."
	entry := archiveEntry{base: 0, next: 10, newest: 90 * day, after: 500}
	cases := []struct {
		name   string
		offset int64
		change func(f *facts)
		want   []string
		not    string
	}{
		{"deleted", 3, func(f *facts) { f.LogStart = 10 }, []string{"Offset 3 is gone: the log starts at 10, by retention or DeleteRecords."}, "kept"},
		{"not written", 60, nil, []string{"Offset 60 is not written yet: the next one is 60."}, "kept"},
		{"missing", 15, func(f *facts) { f.ColdEnd = 10 },
			[]string{"Offset 15 is missing: it is neither on local disk, which begins at 20, nor in the archive, which ends at 10."}, "kept"},
		{"archived only", 3, nil, []string{"Offset 3 is in the archive only; reads are served through the chunk cache.", forever}, "local.retention"},
		{"archived, and its object damaged", 3, func(f *facts) { f.readErr = errors.New("object k is gone") },
			[]string{"Reading it fails: object k is gone."}, ""},
		{"both, waits for local.retention.ms", 25, nil,
			[]string{"Offset 25 is on local disk and in the archive; reads are served from local disk.",
				"Local disk: offsets 20 to 29 stay: by local.retention.ms they are due in 24h0m0s.", forever}, "confirmed"},
		{"both, waits for local.retention.bytes", 25, func(f *facts) { f.retention.Config.LocalRetentionMs, f.retention.Config.LocalRetentionBytes = -1, 350 },
			[]string{"without them 300 bytes would be less than local.retention.bytes (350)"}, ""},
		{"both, due", 25, func(f *facts) { f.retention.Config.LocalRetentionMs = day },
			[]string{"Local disk: offsets 20 to 29 are 192h0m0s old, more than local.retention.ms allows (24h0m0s). They go with the next round."}, ""},
		{"both, below the share", 25, func(f *facts) { f.share = shareFacts{known: true, share: 0.7, local: 100, budget: 350} },
			[]string{"firn.local.disk.target: local logs take 100 bytes, their share of the disk (0.7) is 350; the oldest archived data goes when they take 250 bytes more."}, ""},
		{"both, next by the share", 25, func(f *facts) { f.share = shareFacts{known: true, share: 0.7, local: 400, budget: 350, trimTo: 30} },
			[]string{"is 350: it is among the oldest archived data and goes with the next round."}, ""},
		{"both, others first by the share", 25, func(f *facts) { f.share = shareFacts{known: true, share: 0.7, local: 400, budget: 350} },
			[]string{"is 350: older archived data goes first, and suffices."}, ""},
		{"both, above the share for good", 25, func(f *facts) { f.share = shareFacts{known: true, share: 0.7, local: 400, budget: 350, over: 7} },
			[]string{"they stay 7 bytes above it, because what is not archived, and active segments, stay."}, ""},
		{"both, not confirmed (I-12)", 35, nil,
			[]string{"It is not confirmed yet: it may not leave the local disk before its object was seen in the store with its size and checksum, which is so up to offset 30."}, "Local disk:"},
		{"not uploaded", 45, nil,
			[]string{"Offset 45 is on local disk only.", "It is not uploaded yet. Upload: offsets 40 to 55 go up when 64 MiB are there or at noon.",
				"It may not leave the local disk before it is archived.", forever}, "confirmed"},
		{"not uploaded, failing", 45, func(f *facts) { f.Upload.LastError, f.Upload.LastErrAt = "the store is away", time.UnixMilli(0) },
			[]string{"The last upload failed at 1970-01-01T00:00:00Z: the store is away."}, ""},
		{"not uploaded, under way", 45, func(f *facts) { f.Upload.Uploading = true }, []string{"An upload is under way."}, ""},
		{"not uploaded, by whom", 45, func(f *facts) { f.here, f.Leader = false, 4 }, []string{"It is the leader that uploads, broker 4."}, ""},
		{"not uploaded, no copying", 45, func(f *facts) { f.copying = false; f.retention.Config.RetentionMs = 9 * day },
			[]string{"Nothing is uploaded: remote.log.copy.disable=true.", "Retention: offsets 40 to 49 stay: by retention.ms they are due in 72h0m0s."}, ""},
		{"not committed", 57, nil, []string{"It is not committed yet: the high watermark is 55.", "It is not uploaded before it is committed."}, "noon"},
		{"not archived, with retention", 45, func(f *facts) { f.retention.Config.RetentionMs = 1 },
			[]string{"It is not deleted before it is archived; then retention.ms=1 and retention.bytes=-1 count."}, "ever"},
		{"due later by time", 3, func(f *facts) { f.entry = entry; f.retention.Config.RetentionMs = 20 * day },
			[]string{"Its archived segment, offsets 0 to 9, is due at 1970-04-21T00:00:00Z by retention.ms=1728000000."}, "bytes="},
		{"due by time", 3, func(f *facts) { f.entry = entry; f.retention.Config.RetentionMs = 5 * day },
			[]string{"is due since 1970-04-06T00:00:00Z by retention.ms=432000000 and goes when the archive is tended next."}, ""},
		{"due by nothing that time reaches", 3, func(f *facts) { f.entry = entry; f.retention.Config.RetentionMs = 1<<63 - 1 }, []string{" is due at "}, "since"},
		{"due later by size", 3, func(f *facts) { f.entry = entry; f.retention.Config.RetentionBytes = 700 },
			[]string{"is due by retention.bytes=700 after 200 bytes more."}, "retention.ms="},
		{"due by size", 3, func(f *facts) { f.entry = entry; f.retention.Config.RetentionBytes = 500 },
			[]string{"is due by retention.bytes=500 and goes when the archive is tended next: 500 bytes are younger."}, ""},
		{"due, not known when", 3, func(f *facts) { f.entryErr = errors.New("a fold is gone"); f.retention.Config.RetentionBytes = 500 },
			[]string{"When it is due to be deleted cannot be told: a fold is gone."}, ""},
		{"notes of the collector", 3, func(f *facts) {
			f.notes = []string{"The log start is not moved by retention, and nothing is deleted from s3://b: why."}
		},
			[]string{"nothing is deleted from s3://b: why."}, ""},
		{"a local topic", 25, func(f *facts) {
			f.Remote, f.retention.Config.RemoteStorage, f.retention.Config.RetentionMs = false, false, 9*day
		}, []string{"Remote storage is off for this topic: nothing is archived (remote.storage.enable=false).", "Offset 25 is on local disk only.",
			"Retention: offsets 20 to 29 stay: by retention.ms they are due in 24h0m0s."}, "upload"},
		{"the whole", -1, nil, []string{"Partition t-0 holds offsets 0 to 60; consumers see up to 55.", "On local disk: offsets 20 to 60 in 400 bytes.",
			"Archived: offsets 0 to 40 in 4 segments, 400 bytes.", "Upload: offsets 40 to 55", forever}, "Offset"},
		{"the whole, with retention", -1, func(f *facts) { f.retention.Config.RetentionMs = 7 }, []string{"Retention: retention.ms=7 and retention.bytes=-1."}, ""},
		{"the last round", -1, func(f *facts) {
			f.last = report{at: time.UnixMilli(0), local: "they were old.", err: errors.New("roll: no")}
		},
			[]string{"Housekeeping at 1970-01-01T00:00:00Z trimmed: they were old.", "Housekeeping failed at 1970-01-01T00:00:00Z: roll: no."}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := halfCold()
			f.offset = c.offset
			if c.change != nil {
				c.change(f)
			}
			said := join(f.explain())
			for _, w := range c.want {
				require.Contains(t, said, w)
			}
			if c.not != "" {
				require.NotContains(t, said, c.not)
			}
			for _, sentence := range f.explain() {
				require.True(t, strings.HasSuffix(sentence, ".") && !strings.HasSuffix(sentence, ".."), sentence)
			}
		})
	}
}

// What Explain says is of the moment at which it is asked: no round of housekeeping has to run first.
func TestExplainIsOfThisMoment(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	e := newEnv(t, func(o *Options) { o.Now = func() time.Time { return now } })
	tp := e.create("t", 1, "local.retention.ms", "600000")
	p := e.partition("t", 0)
	for range 3 {
		e.produce(p, batch(10, 10, 995_000))
		require.NoError(t, (*p.log.Load()).Roll())
	}
	explain := func(offset int64) string {
		say, err := p.Explain(context.Background(), offset)
		require.NoError(t, err)
		return join(say)
	}
	require.Contains(t, explain(3), "It may not leave the local disk before it is archived.")
	e.archive(p, 10, 0)
	e.archive(p, 20, 0)
	require.Contains(t, explain(3), "offsets 0 to 9 stay: by local.retention.ms they are due in 9m55.009s")
	now = now.Add(time.Hour)
	require.Contains(t, explain(3), "They go with the next round.")
	require.Contains(t, explain(3), "kept for ever")
	alter := metadata.AlterTopicConfigs{ID: tp.ID, Set: map[string]string{"retention.ms": "10000000", "retention.bytes": "1"}}
	require.NoError(t, e.store.Commit(context.Background(), alter)[0])
	eventually(t, func() bool { return p.Settings().Log.RetentionBytes == 1 })
	require.Contains(t, explain(13), "Its archived segment, offsets 10 to 19, is due at "+at(995_009+10_000_000)+" by retention.ms=10000000.")
	l := e.store.CachedLedger(p.id)
	require.Contains(t, explain(13), "is due by retention.bytes=1")
	entry, err := p.archiveEntry(context.Background(), l, 13)
	require.NoError(t, err)
	require.Equal(t, archiveEntry{base: 10, next: 20, newest: 995_009, after: (*p.log.Load()).Segments()[2].Bytes}, entry)
	folded := &ledger.Ledger{Version: 1, Start: 5, Next: 30, Folds: []ledger.FoldRef{
		{Base: 0, Next: 5, DataBytes: 1000, MaxTimestamp: 9_000_000}, {Base: 5, Next: 20, DataBytes: 200, MaxTimestamp: 2_000_000}},
		Recent: []ledger.Segment{{Base: 20, Next: 30, DataBytes: 100, MaxTimestamp: -1, CommittedAt: 7}}}
	entry, err = p.archiveEntry(context.Background(), folded, 22)
	require.NoError(t, err)
	require.Equal(t, archiveEntry{base: 20, next: 30, newest: 2_000_000, after: 0}, entry, "what is below and younger goes first; what is below the start does not count")
	e.m.SetArchiveNotes(func(x topic.Partition) []string { return []string{"Note on " + x.String() + "."} })
	require.Contains(t, explain(3), "Note on t-0.")
}

// Of equal largest timestamps the first record counts, whichever side of the seam it is on, and a record that both
// sides hold is one (I-18).
func TestMaxTimestampTieBetweenTiers(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	for _, ts := range []int64{10, 50, 20, 50} { // one record each; the largest timestamp is at 1 and at 3
		e.produce(p, batch(1, 10, ts))
		require.NoError(t, (*p.log.Load()).Roll())
	}
	ask := func() int64 {
		pos, err := p.ListOffset(context.Background(), OffsetQuery{Timestamp: MaxTimestamp, LeaderEpoch: -1})
		require.NoError(t, err)
		require.EqualValues(t, 50, pos.Timestamp)
		return pos.Offset
	}
	require.EqualValues(t, 1, ask(), "all hot")
	e.archive(p, 3, 1)
	require.EqualValues(t, 1, ask(), "the first of them on both sides")
	_, err := (*p.log.Load()).Trim(3, "test")
	require.NoError(t, err)
	require.EqualValues(t, 1, ask(), "the first one archived, the second one hot")
}
