package hostile

import (
	"fmt"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestInitProducerID(t *testing.T) {
	s := start(t, harness.Options{})
	c := dial(t, s.addr)
	seen := map[int64]bool{}
	for range 50 {
		id, epoch := c.producerID()
		if id < 0 || epoch != 0 || seen[id] {
			t.Fatalf("producer id %d epoch %d", id, epoch)
		}
		seen[id] = true
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = kmsg.StringPtr(""), 60_000, -1, -1
	wantCode(t, "an empty transactional id", do[*kmsg.InitProducerIDResponse](c, req, 5).ErrorCode, kerr.InvalidRequest)
	req.TransactionalID, req.ProducerID = nil, 5
	wantCode(t, "an id without epoch", do[*kmsg.InitProducerIDResponse](c, req, 5).ErrorCode, kerr.InvalidRequest)
	req.ProducerID, req.ProducerEpoch = -1, 5
	wantCode(t, "an epoch without id", do[*kmsg.InitProducerIDResponse](c, req, 5).ErrorCode, kerr.InvalidRequest)
	if s.firn != nil {
		req.TransactionalID, req.ProducerEpoch = kmsg.StringPtr("t"), -1
		wantCode(t, "a transactional id", do[*kmsg.InitProducerIDResponse](c, req, 5).ErrorCode, kerr.CoordinatorNotAvailable)
	}
}

// TestSequences (I-05): what a broker makes of every kind of sequence.
func TestSequences(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	topic := c.create("sequences", 2)
	id, _ := c.producerID()
	three := func(epoch int16, sequence int32) *batch { return values("a", "b", "c").by(id, epoch, sequence) }
	send := func(what string, partition int32, b *batch, want *kerr.Error, base int64) {
		t.Helper()
		out := c.produce(topic, partition, b.bytes())
		wantCode(t, what, out.ErrorCode, want)
		if out.BaseOffset != base {
			t.Errorf("%s: offset %d, want %d", what, out.BaseOffset, base)
		}
	}
	for i := range int64(7) {
		send("in order", 0, three(0, int32(3*i)), nil, 3*i)
	}
	for i := int64(6); i >= 2; i-- {
		send("one of the last five again", 0, three(0, int32(3*i)), nil, 3*i)
	}
	send("an old one again", 0, three(0, 3), kerr.OutOfOrderSequenceNumber, -1)
	send("a gap", 0, three(0, 24), kerr.OutOfOrderSequenceNumber, -1)
	send("an overlap", 0, three(0, 20), kerr.OutOfOrderSequenceNumber, -1)
	send("the next", 0, three(0, 21), nil, 21)
	send("a new epoch that does not begin at 0", 0, three(1, 24), kerr.OutOfOrderSequenceNumber, -1)
	send("a new epoch", 0, three(1, 0), nil, 24)
	send("the old epoch", 0, three(0, 24), kerr.InvalidProducerEpoch, -1)
	send("another partition", 1, three(0, 0), nil, 0)
	other, _ := c.producerID()
	send("another producer", 0, values("x").by(other, 0, 0), nil, 27)
	send("nobody's", 0, values("x"), nil, 28)
	send("nobody's again", 0, values("x"), nil, 29)
	fresh, _ := c.producerID()
	send("the end of the numbers", 1, three(0, 0).by(fresh, 0, 1<<31-2), nil, 3)
	send("that again", 1, three(0, 0).by(fresh, 0, 1<<31-2), nil, 3)
	send("round the end", 1, three(0, 0).by(fresh, 0, 1), nil, 6)
}

// TestDuplicatesSurvive (I-05): a retried batch is known again after a clean stop, a kill, and when it is only in the
// archive any more.
func TestDuplicatesSurvive(t *testing.T) {
	t.Parallel() // it waits for the archive
	s := onlyFirn(t, harness.Options{})
	c := dial(t, s.addr)
	topic := c.create("survivors", 1, coldConfigs...)
	id, _ := c.producerID()
	at := func(i int64) *batch { return values("a", "b", "c").by(id, 0, int32(3*i)) }
	for i := range int64(7) {
		c.mustProduce(topic, 0, at(i))
	}
	next := int64(7)
	check := func(when string) {
		t.Helper()
		for i := next - 5; i < next; i++ {
			out := c.produce(topic, 0, at(i).bytes())
			wantCode(t, fmt.Sprintf("batch %d %s", i, when), out.ErrorCode, nil)
			if out.BaseOffset != 3*i {
				t.Errorf("batch %d %s: offset %d, want %d", i, when, out.BaseOffset, 3*i)
			}
		}
		wantCode(t, "a gap "+when, c.produce(topic, 0, at(next+1).bytes()).ErrorCode, kerr.OutOfOrderSequenceNumber)
		if got := c.mustProduce(topic, 0, at(next)); got != 3*next {
			t.Errorf("the next batch %s: offset %d, want %d", when, got, 3*next)
		}
		next++
		if end := c.listOffset(topic, 0, -1).Offset; end != 3*next {
			t.Errorf("the log ends at %d %s, want %d", end, when, 3*next)
		}
	}
	trimmed := func() {
		t.Helper()
		s.firn.WaitTiers(t, topic, time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == 3*next })
	}
	check("at once")
	trimmed()
	check("after the trim")
	for _, again := range []struct {
		when string
		end  func()
	}{{"a clean stop", s.firn.Stop}, {"a kill", s.firn.Kill}} {
		trimmed()
		again.end()
		s.firn.Launch()
		s.firn.WaitReady()
		c = dial(t, s.addr)
		check("after the trim and " + again.when)
		again.end()
		s.firn.Launch()
		s.firn.WaitReady()
		c = dial(t, s.addr)
		check("after " + again.when)
	}
	// Everything is there once, in order, whichever side it is on.
	offset := int64(0)
	for offset < 3*next {
		bs := stored(t, c.fetch(topic, 0, offset).RecordBatches)
		if len(bs) == 0 || baseOf(bs[0]) != offset {
			t.Fatalf("nothing at offset %d", offset)
		}
		for _, b := range bs {
			if !sameSequence(b, offset) {
				t.Errorf("the batch at %d has another sequence", offset)
			}
			offset = nextOf(b)
		}
	}
}
