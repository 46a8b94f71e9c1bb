package hostile

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// coldConfigs send a topic's records to the archive at once and drop the local copy at the next housekeeping.
var coldConfigs = []string{"firn.remote.upload.max.lag.ms", "500", "local.retention.ms", "1000", "firn.remote.segment.bytes", "4096"}

// sameSequence reports whether a stored batch carries the sequence that equals its offset.
func sameSequence(b []byte, offset int64) bool {
	return int64(int32(binary.BigEndian.Uint32(b[53:]))) == offset
}

// lies are batches whose outside is in order and whose records are not. Each claims three records.
func lies() []struct {
	name string
	b    *batch
} {
	a := []byte("lie")
	claim := func(b *batch) *batch {
		b.count, b.lastDelta = 3, 2
		return b
	}
	raw := func(attributes int16, payload ...byte) *batch {
		b := claim(entries(entry{0, 0, nil, a}))
		b.payload, b.attributes = payload, attributes
		return b
	}
	two := func() *batch { return claim(entries(entry{0, 0, nil, a}, entry{1, 0, nil, a})) }
	four := func() *batch {
		return claim(entries(entry{0, 0, nil, a}, entry{1, 0, nil, a}, entry{2, 0, nil, a}, entry{3, 0, nil, a}))
	}
	deltas := func() *batch { return entries(entry{0, 0, nil, a}, entry{7, 0, nil, a}, entry{1, 0, nil, a}) }
	long := append(binary.AppendVarint(nil, 1<<30), 0, 0, 0, 0)
	return []struct {
		name string
		b    *batch
	}{
		{"a record too few", two()},
		{"a record too few, compressed", two().gzipped()},
		{"a record too many", four()},
		{"a record too many, compressed", four().gzipped()},
		{"deltas that jump", deltas()},
		{"deltas that jump, compressed", deltas().gzipped()},
		{"no records", raw(0)},
		{"a record longer than the batch", raw(0, long...)},
		{"a record longer than the batch, compressed", raw(0, long...).gzipped()},
		{"a record of negative length", raw(0, binary.AppendVarint(nil, -5)...)},
		{"a number that does not end", raw(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)},
		{"no gzip", raw(1, []byte("this is no gzip at all")...)},
		{"no snappy", raw(2, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3)},
		{"no lz4", raw(3, []byte("this is no lz4 either")...)},
		{"no zstd", raw(4, []byte("nor is this zstandard")...)},
		{"a bomb", raw(0, make([]byte, 160<<20)...).gzipped()},
	}
}

// TestLiesRefused: where records are decoded, a batch that lies inside is refused; Kafka always decodes.
func TestLiesRefused(t *testing.T) {
	s := start(t, harness.Options{})
	c := dial(t, s.addr)
	var configs []string
	if s.firn != nil {
		configs = []string{"firn.validate.records", "true"}
	}
	topic := c.create("strict", 1, configs...)
	for i, lie := range lies() {
		t.Run(lie.name, func(t *testing.T) {
			if (lie.name == "a bomb" || lie.name == "deltas that jump") && s.firn == nil {
				t.Skip("Kafka decompresses it all, and takes deltas for granted that are not compressed")
			}
			out := c.produce(topic, 0, lie.b.bytes())
			if out.ErrorCode == 0 || out.BaseOffset != -1 {
				t.Errorf("answered %s, offset %d", name(out.ErrorCode), out.BaseOffset)
			}
			if out.ErrorCode == kerr.UnknownServerError.Code && s.firn != nil {
				t.Errorf("answered %s (%s)", name(out.ErrorCode), str(out.ErrorMessage))
			}
			if got := c.mustProduce(topic, 0, values("x")); got != int64(i) && s.firn != nil {
				t.Errorf("the next batch came to %d, want %d", got, i)
			}
		})
	}
}

// TestLiesKept: by default a batch is stored and served as it was sent. firn's own readers report a lie and go on
// behind it, on both sides of the seam; other clients get the bytes and judge for themselves.
func TestLiesKept(t *testing.T) {
	t.Parallel() // it waits for the archive
	s := onlyFirn(t, harness.Options{})
	c := dial(t, s.addr)
	hot := c.create("lies-hot", 1, "remote.storage.enable", "false")
	cold := c.create("lies-cold", 1, coldConfigs...)
	all := lies()
	var sent [][]byte
	times := []int64{}
	for i, lie := range all {
		honest := values(fmt.Sprintf("before %s", lie.name))
		honest.first += int64(i)*10_000 - 5_000_000 // a time that only this batch and those behind it reach
		honest.max = honest.first
		lie.b.first, lie.b.max = honest.first+5000, honest.first+5000
		times = append(times, honest.first)
		for _, topic := range []string{hot, cold} {
			for _, b := range []*batch{honest, lie.b} {
				if got := c.mustProduce(topic, 0, b); got != int64(4*i) && got != int64(4*i+1) {
					t.Fatalf("%s: stored at %d", lie.name, got)
				}
			}
		}
		sent = append(sent, honest.bytes(), lie.b.bytes())
	}
	end := int64(4 * len(all))
	after := values("after all")
	after.first -= 1_000_000
	after.max = after.first
	for _, topic := range []string{hot, cold} {
		c.mustProduce(topic, 0, after)
	}
	sent = append(sent, after.bytes())

	look := func(t *testing.T, topic string) {
		t.Run("served as sent", func(t *testing.T) { servedAsSent(t, c, topic, end+1, sent) })
		t.Run("times", func(t *testing.T) {
			for i, ts := range times {
				got := c.listOffset(topic, 0, ts)
				if got.ErrorCode != 0 || got.Offset != int64(4*i) {
					t.Errorf("before %q: %s, offset %d, want %d", all[i].name, name(got.ErrorCode), got.Offset, 4*i)
				}
				if in := c.listOffset(topic, 0, ts+5000); in.ErrorCode != 0 || in.Offset <= int64(4*i) {
					t.Errorf("in %q: %s, offset %d", all[i].name, name(in.ErrorCode), in.Offset)
				}
			}
			if got := c.listOffset(topic, 0, after.first); got.ErrorCode != 0 || got.Offset != end {
				t.Errorf("behind all: %s, offset %d, want %d", name(got.ErrorCode), got.Offset, end)
			}
			if got := c.listOffset(topic, 0, -3); got.ErrorCode != 0 || got.Offset != end {
				t.Errorf("the largest: %s, offset %d, want %d", name(got.ErrorCode), got.Offset, end)
			}
		})
		t.Run("firn consume", func(t *testing.T) {
			out, err := s.firn.Run("", "consume", topic, "--from", "earliest", "--to", "latest")
			if err != nil {
				t.Errorf("firn consume: %v", err)
			}
			for _, lie := range all {
				if !strings.Contains(out, "before "+lie.name+"\n") {
					t.Errorf("firn consume does not print what stands before %q", lie.name)
				}
			}
			if !strings.Contains(out, "after all\n") {
				t.Error("firn consume does not come to the end")
			}
		})
	}
	t.Run("hot", func(t *testing.T) { look(t, hot) })
	s.firn.WaitTiers(t, cold, time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == end+1 })
	t.Run("cold", func(t *testing.T) { look(t, cold) })
	s.firn.Kill() // recovery reads what lies, too
	s.firn.Launch()
	s.firn.WaitReady()
	c = dial(t, s.addr)
	t.Run("hot after a kill", func(t *testing.T) { servedAsSent(t, c, hot, end+1, sent) })
	t.Run("cold after a kill", func(t *testing.T) { servedAsSent(t, c, cold, end+1, sent) })
}

// servedAsSent reads a partition to its end and compares each batch with what was sent.
func servedAsSent(t *testing.T, c *conn, topic string, end int64, sent [][]byte) {
	t.Helper()
	i := 0
	for offset := int64(0); offset < end; {
		p := c.fetch(topic, 0, offset)
		bs := stored(t, p.RecordBatches)
		if p.ErrorCode != 0 || len(bs) == 0 {
			t.Fatalf("offset %d: %s, %d batches", offset, name(p.ErrorCode), len(bs))
		}
		for _, b := range bs {
			if baseOf(b) != offset || i == len(sent) || !sameBatch(b, sent[i]) {
				t.Fatalf("what is served at offset %d (base %d) is not batch %d as it was sent", offset, baseOf(b), i)
			}
			offset, i = nextOf(b), i+1
		}
	}
	if i != len(sent) {
		t.Errorf("%d batches, want %d", i, len(sent))
	}
}

// I-32: a batch that decompresses to more than the limit is refused wherever records are decoded, with the code that makes
// an honest client split it, and counted; the topic takes the next.
func TestBombs(t *testing.T) {
	s := onlyFirn(t, harness.Options{})
	c := dial(t, s.addr)
	const most = "33554432" // snappy's bomb is 8 MiB long, and is to be refused for what is in it
	topics := []string{
		c.create("validated", 1, "max.message.bytes", most, "firn.validate.records", "true"),
		c.create("compacted", 1, "max.message.bytes", most, "cleanup.policy", "compact"),
		c.create("timed", 1, "max.message.bytes", most, "message.timestamp.before.max.ms", "3600000"),
	}
	good := entries(entry{0, 0, []byte("k"), []byte("v")})
	refused, next := 0.0, map[string]int64{}
	for _, is := range []struct {
		codec, other string // and one that it has to be turned into
		how          kgo.CompressionCodec
	}{{"gzip", "zstd", kgo.GzipCompression()}, {"snappy", "zstd", kgo.SnappyCompression()}, {"lz4", "zstd", kgo.Lz4Compression()}, {"zstd", "gzip", kgo.ZstdCompression()}} {
		bomb := entries(entry{0, 0, []byte("k"), []byte("v")})
		bomb.payload = make([]byte, 160<<20)
		packed := bomb.compressed(t, is.how).bytes()
		recompressed := c.create("recompressed-"+is.codec, 1, "max.message.bytes", most, "compression.type", is.other)
		t.Run(is.codec, func(t *testing.T) {
			for _, topic := range append([]string{recompressed}, topics...) {
				refused++
				if out := c.produce(topic, 0, packed); out.ErrorCode != kerr.MessageTooLarge.Code {
					t.Errorf("%s: answered %s (%s)", topic, name(out.ErrorCode), str(out.ErrorMessage))
				}
				if got := s.firn.Metric("firn_decompression_refused_total"); got != refused {
					t.Errorf("%s: %v counted as refused, want %v", topic, got, refused)
				}
				if got := c.mustProduce(topic, 0, good); got != next[topic] {
					t.Errorf("%s: the next batch came to %d, want %d", topic, got, next[topic])
				}
				next[topic]++
			}
		})
	}
}
