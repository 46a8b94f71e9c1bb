package hostile

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// alter sets a topic's configs.
func (c *conn) alter(topic string, configs ...string) {
	c.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	for i := 0; i < len(configs); i += 2 {
		rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		rc.Name, rc.Value = configs[i], &configs[i+1]
		r.Configs = append(r.Configs, rc)
	}
	req.Resources = append(req.Resources, r)
	out := do[*kmsg.IncrementalAlterConfigsResponse](c, req, 1).Resources[0]
	if out.ErrorCode != 0 {
		c.t.Fatalf("alter %s: %s (%s)", topic, name(out.ErrorCode), str(out.ErrorMessage))
	}
}

// TestBehindTheSeam: offsets, times, fetches and DeleteRecords on a topic that is half cold answer as on one that is
// all local (I-18), special timestamps tell the sides apart, several cold partitions come with one fetch (I-21).
func TestBehindTheSeam(t *testing.T) {
	t.Parallel() // it waits for the archive
	const parts, half, perBatch, start0 = 4, 20, 3, 1_600_000_000_000
	s := onlyFirn(t, harness.Options{})
	c := dial(t, s.addr)
	topic := c.create("seam", parts, coldConfigs...)
	local := c.create("local", 1, "remote.storage.enable", "false")
	kb := strings.Repeat("x", 700)
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			b := values(fmt.Sprint("a", i), kb, fmt.Sprint("c", i))
			b.first = start0 + int64(i)*1000
			b.max = b.first
			for p := range int32(parts) {
				c.mustProduce(topic, p, b)
			}
			c.mustProduce(local, 0, b)
		}
	}
	const seam, end = half * perBatch, 2 * half * perBatch
	fill(0, half)
	s.firn.WaitTiers(t, topic, time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == seam })
	c.alter(topic, "local.retention.ms", "-2", "firn.remote.upload.max.lag.ms", "3600000", "firn.remote.segment.bytes", "67108864")
	fill(half, 2*half)

	for ts, want := range map[int64]int64{-1: end, -2: 0, -3: end - perBatch, -4: seam, -5: seam - 1, -6: seam} {
		if got := c.listOffset(topic, 0, ts); got.ErrorCode != 0 || got.Offset != want {
			t.Errorf("timestamp %d: %s, offset %d, want %d", ts, name(got.ErrorCode), got.Offset, want)
		}
	}
	for ts := int64(start0 - 500); ts <= start0+2*half*1000; ts += 500 {
		cold, hot := c.listOffset(topic, 0, ts), c.listOffset(local, 0, ts)
		if cold.ErrorCode != hot.ErrorCode || cold.Offset != hot.Offset || cold.Timestamp != hot.Timestamp || cold.LeaderEpoch != hot.LeaderEpoch {
			t.Errorf("time %d: %+v, all local %+v", ts, cold, hot)
		}
	}
	for offset := int64(0); offset < end; offset++ {
		cold, hot := c.fetch(topic, 0, offset), c.fetch(local, 0, offset)
		cb, hb := stored(t, cold.RecordBatches), stored(t, hot.RecordBatches)
		if cold.ErrorCode != 0 || len(cb) == 0 || !bytes.Equal(cb[0], hb[0]) {
			t.Fatalf("offset %d: %s, %d batches; the first differs from the one of the local topic", offset, name(cold.ErrorCode), len(cb))
		}
		if cold.HighWatermark != hot.HighWatermark || cold.LastStableOffset != hot.LastStableOffset || cold.LogStartOffset != hot.LogStartOffset {
			t.Errorf("offset %d: %+v, all local %+v", offset, cold, hot)
		}
	}
	wantCode(t, "beyond the end", c.fetch(topic, 0, end+1).ErrorCode, kerr.OffsetOutOfRange)
	wantCode(t, "before the start", c.fetch(topic, 0, -1).ErrorCode, kerr.OffsetOutOfRange)
	t.Run("limits", func(t *testing.T) { coldLimits(t, c, topic, parts) })
	t.Run("DeleteRecords", func(t *testing.T) { deleteAcross(t, s, c, topic, seam, end) })
}

// coldLimits (I-21): an answer has at most max.bytes and one batch, and every cold partition gets on.
func coldLimits(t *testing.T, c *conn, topic string, parts int32) {
	for _, limit := range []int32{1, 1500, 4000, 10_000, 1 << 20} {
		next := make([]int64, parts)
		for round := 0; ; round++ {
			if round > 400 {
				t.Fatalf("max.bytes %d: after %d fetches the partitions are at %v", limit, round, next)
			}
			req := kmsg.NewPtrFetchRequest()
			req.MaxBytes, req.SessionEpoch, req.MaxWaitMillis = limit, -1, 5000
			req.MinBytes = 1
			for i := range parts {
				p := (int32(round) + i) % parts // the order rotates, as every client's does
				if next[p] < 60 {
					req.Topics = append(req.Topics, fetchTopic(topic, p, next[p]))
				}
			}
			if len(req.Topics) == 0 {
				break
			}
			resp := do[*kmsg.FetchResponse](c, req, fetchV)
			total, largest := 0, 0
			for _, rt := range resp.Topics {
				for _, p := range rt.Partitions {
					wantCode(t, "cold fetch", p.ErrorCode, nil)
					total += len(p.RecordBatches)
					for _, b := range stored(t, p.RecordBatches) {
						largest = max(largest, len(b))
						next[p.Partition] = nextOf(b)
					}
				}
			}
			if total > int(limit)+largest {
				t.Errorf("max.bytes %d: %d bytes, the largest batch has %d", limit, total, largest)
			}
		}
	}
	req := kmsg.NewPtrFetchRequest() // with room for all, one fetch brings all
	req.MaxBytes, req.SessionEpoch, req.MaxWaitMillis, req.MinBytes = 1<<20, -1, 5000, 1
	for p := range parts {
		req.Topics = append(req.Topics, fetchTopic(topic, p, 0))
	}
	for name, p := range partitionsOf(do[*kmsg.FetchResponse](c, req, fetchV)) {
		if len(stored(t, p.RecordBatches)) == 0 {
			t.Errorf("%s brings nothing beside other cold partitions", name)
		}
	}
}

// deleteAcross moves the log start through the archive, over the seam and to the end, with restarts between.
func deleteAcross(t *testing.T, s target, c *conn, topic string, seam, end int64) {
	holds := func(c *conn, low int64) {
		t.Helper()
		if first := c.listOffset(topic, 0, -2); first.ErrorCode != 0 || first.Offset != low {
			t.Errorf("the log starts at %d (%s), want %d", first.Offset, name(first.ErrorCode), low)
		}
		wantCode(t, fmt.Sprintf("offset %d", low-1), c.fetch(topic, 0, low-1).ErrorCode, kerr.OffsetOutOfRange)
		got := c.fetch(topic, 0, low)
		bs := stored(t, got.RecordBatches)
		if got.ErrorCode != 0 || got.LogStartOffset != low || low < end && (len(bs) == 0 || baseOf(bs[0]) > low || nextOf(bs[0]) <= low) {
			t.Errorf("offset %d: %s, log start %d, %d batches", low, name(got.ErrorCode), got.LogStartOffset, len(bs))
		}
		if got := c.listOffset(topic, 0, 0); low < end && (got.ErrorCode != 0 || got.Offset != low) {
			t.Errorf("the first offset by time is %d (%s), want %d", got.Offset, name(got.ErrorCode), low)
		}
	}
	for _, at := range []struct {
		name        string
		offset, low int64
		want        *kerr.Error
	}{
		{"in the archive", 17, 17, nil},
		{"back", 3, 17, nil},
		{"beyond the end", end + 1, -1, kerr.OffsetOutOfRange},
		{"at the seam", seam, seam, nil},
		{"in the local log", seam + 7, seam + 7, nil},
		{"everything", -1, end, nil},
	} {
		got := c.deleteRecords(topic, 0, at.offset)
		wantCode(t, at.name, got.ErrorCode, at.want)
		if got.LowWatermark != at.low {
			t.Errorf("%s: low watermark %d, want %d", at.name, got.LowWatermark, at.low)
		}
		if at.want != nil {
			continue
		}
		holds(c, at.low)
		if at.offset == at.low || at.offset == -1 {
			s.firn.Kill()
			s.firn.Launch()
			s.firn.WaitReady()
			fresh := dial(t, s.addr)
			*c = *fresh
			holds(c, at.low)
		}
	}
	if got := c.mustProduce(topic, 0, values("next")); got != end {
		t.Errorf("the next batch came to %d, want %d", got, end)
	}
}
