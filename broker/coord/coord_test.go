package coord

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/tier/record"
)

// memLog is a log in memory whose high watermark moves when the test says so.
type memLog struct {
	mu      sync.Mutex
	batches [][]byte
	end, hw int64
	auto    bool // commit at once
	fail    error
	waits   []wait
	max     int
}

type wait struct {
	offset int64
	fn     func(int16)
}

func (l *memLog) Start() int64 { return 0 }
func (l *memLog) End() int64   { l.mu.Lock(); defer l.mu.Unlock(); return l.end }
func (l *memLog) HighWatermark() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hw
}
func (l *memLog) MaxBatchBytes() int { return l.max }

func (l *memLog) Read(offset int64, _ int) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		if h, _ := record.ParseHeader(b); h.NextOffset() > offset {
			return b, nil
		}
	}
	return nil, errors.New("nothing there")
}

func (l *memLog) Append(b []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, l.fail
	}
	h, err := record.Check(b)
	if err != nil {
		return 0, err
	}
	record.Stamp(b, l.end, 0)
	l.batches = append(l.batches, b)
	l.end += int64(h.Count)
	if l.auto {
		l.hw = l.end
	}
	return l.end, nil
}

func (l *memLog) Await(offset int64, fn func(int16)) {
	l.mu.Lock()
	if offset <= l.hw {
		l.mu.Unlock()
		fn(0)
		return
	}
	l.waits = append(l.waits, wait{offset, fn})
	l.mu.Unlock()
}

// commit moves the high watermark to the end, or fails what waits.
func (l *memLog) commit(code int16) {
	l.mu.Lock()
	waits := l.waits
	l.waits = nil
	if code == 0 {
		l.hw = l.end
	}
	l.mu.Unlock()
	for _, w := range waits {
		w.fn(code)
	}
}

func newRuntime(log Log, err error) *Runtime {
	o := group.DefaultOptions()
	n := 0
	var mu sync.Mutex
	o.NewMemberSuffix = func() string { mu.Lock(); defer mu.Unlock(); n++; return fmt.Sprint(n) }
	return New(Options{
		Open: func(int32) (Log, error) { return log, err }, Group: o, Queue: 4,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
}

// ask submits a request and gives a channel for the answer.
func ask(t *testing.T, r *Runtime, req kmsg.Request) <-chan kmsg.Response {
	t.Helper()
	got := make(chan kmsg.Response, 2) // a second answer would be seen
	r.Submit(0, Request{Body: req, Client: group.Client{ID: "c", Host: "/127.0.0.1"}, Reply: func(res kmsg.Response) { got <- res }})
	return got
}

func commitRequest(g string, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 8, g, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "t"
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch = offset, -1
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	return req
}

func fetchOffset(t *testing.T, r *Runtime, g string) int64 {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 8
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = g
	rt := kmsg.NewOffsetFetchRequestGroupTopic()
	rt.Topic, rt.Partitions = "t", []int32{0}
	rg.Topics = append(rg.Topics, rt)
	req.Groups = append(req.Groups, rg)
	res := (<-ask(t, r, req)).(*kmsg.OffsetFetchResponse)
	require.Zero(t, res.Groups[0].ErrorCode)
	return res.Groups[0].Topics[0].Partitions[0].Offset
}

func codeOfCommit(res kmsg.Response) int16 {
	return res.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
}

// TestReplyWaitsForTheHighWatermark: nobody is told of what is not committed.
func TestReplyWaitsForTheHighWatermark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{max: 1 << 20}
		r := newRuntime(log, nil)
		defer r.Close()
		got := ask(t, r, commitRequest("g", 7))
		synctest.Wait()
		require.Empty(t, got)
		log.commit(0)
		require.Zero(t, codeOfCommit(<-got))
		require.Equal(t, int64(7), fetchOffset(t, r, "g"))
	})
}

func TestFailedAppendIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{max: 1 << 20, auto: true, fail: kerr.KafkaStorageError}
		r := newRuntime(log, nil)
		defer r.Close()
		require.NotZero(t, codeOfCommit(<-ask(t, r, commitRequest("g", 7))))
		log.mu.Lock()
		log.fail = nil
		log.mu.Unlock()
		require.Equal(t, int64(-1), fetchOffset(t, r, "g"), "what was not appended is not there")
	})
}

// TestReload: a new runtime on the same log knows what the old one told its clients.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{max: 1 << 20, auto: true}
		r := newRuntime(log, nil)
		for i := range int64(5) {
			require.Zero(t, codeOfCommit(<-ask(t, r, commitRequest(fmt.Sprint("g", i), 10+i))))
		}
		r.Close()
		require.NotZero(t, codeOfCommit(<-ask(t, r, commitRequest("g", 1))), "a closed runtime answers too")
		r = newRuntime(log, nil)
		defer r.Close()
		for i := range int64(5) {
			require.Equal(t, 10+i, fetchOffset(t, r, fmt.Sprint("g", i)))
		}
		require.Equal(t, int64(-1), fetchOffset(t, r, "other"))
	})
}

// TestLoadingWaitsForWhatIsNotCommitted: a record that is in the log but not committed when the shard is loaded is not
// lost to it when it becomes so.
func TestLoadingWaitsForWhatIsNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{max: 1 << 20}
		r := newRuntime(log, nil)
		first := ask(t, r, commitRequest("g", 7))
		synctest.Wait()
		r.Resign(0)
		require.NotZero(t, codeOfCommit(<-first))
		log.mu.Lock()
		log.waits = nil
		log.mu.Unlock()
		second := ask(t, r, commitRequest("h", 8))
		synctest.Wait()
		require.Empty(t, second)
		log.commit(0)
		synctest.Wait()
		log.commit(0)
		require.Zero(t, codeOfCommit(<-second))
		require.Equal(t, int64(7), fetchOffset(t, r, "g"))
		r.Close()
	})
}

// TestQueueIsBounded: a shard that cannot keep up says so, and what it took is answered.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{max: 1 << 20, end: 1} // an append of a former life keeps loading waiting
		r := newRuntime(log, nil)
		var answers []<-chan kmsg.Response
		for range 6 {
			answers = append(answers, ask(t, r, commitRequest("g", 7)))
		}
		synctest.Wait()
		refused := 0
		for _, a := range answers {
			select {
			case res := <-a:
				require.Equal(t, kerr.CoordinatorLoadInProgress.Code, codeOfCommit(res))
				refused++
			default:
			}
		}
		require.Equal(t, 2, refused)
		r.Close()
		for _, a := range answers {
			select {
			case res := <-a:
				require.NotZero(t, codeOfCommit(res))
				refused++
			default:
			}
		}
		require.Equal(t, 6, refused, "every request is answered once")
	})
}

func TestNotCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRuntime(nil, kerr.NotCoordinator)
		defer r.Close()
		require.Equal(t, kerr.NotCoordinator.Code, codeOfCommit(<-ask(t, r, commitRequest("g", 1))))
		require.Equal(t, kerr.NotCoordinator.Code, codeOfCommit(<-ask(t, r, commitRequest("g", 1))), "and again: the runner starts anew")
	})
}

// TestTimersFire: a member that is not heard of leaves its group.
func TestTimersFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{max: 1 << 20, auto: true}
		r := newRuntime(log, nil)
		defer r.Close()
		join := kmsg.NewPtrJoinGroupRequest()
		join.Version, join.Group, join.ProtocolType = 3, "g", "consumer"
		join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 10_000, 60_000
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = "range"
		join.Protocols = append(join.Protocols, p)
		joined := (<-ask(t, r, join)).(*kmsg.JoinGroupResponse)
		require.Zero(t, joined.ErrorCode)
		require.Equal(t, joined.MemberID, joined.LeaderID)
		require.Equal(t, "CompletingRebalance", state(t, r))
		time.Sleep(61 * time.Second) // of the bubble's clock
		require.Equal(t, "Empty", state(t, r))
	})
}

func state(t *testing.T, r *Runtime) string {
	t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = 5, []string{"g"}
	return (<-ask(t, r, req)).(*kmsg.DescribeGroupsResponse).Groups[0].State
}

func TestBatches(t *testing.T) {
	var records []group.Record
	for i := range 100 {
		records = append(records, group.Record{Key: fmt.Appendf(nil, "key %d", i), Value: make([]byte, 1000)})
	}
	whole := batches(record.None, records, 5, 10_000, false)
	require.Len(t, whole, 1)
	require.Equal(t, 100, whole[0].records)
	n := 0
	for _, b := range batches(record.None, records, 5, 10_000, true) {
		h, err := record.Check(b.bytes)
		require.NoError(t, err)
		require.Equal(t, int32(b.records), h.Count)
		require.LessOrEqual(t, len(b.bytes), 10_000)
		n += b.records
	}
	require.Equal(t, 100, n)
}
