package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

// The hand-written parsers say what kmsg says, for random requests of every version; a reused struct says the same.
func TestProduceParseAgreesWithKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	got := new(ProduceRequest)
	for version := int16(0); version <= 13; version++ {
		for range 200 {
			m := kmsg.NewPtrProduceRequest()
			fill(m, r)
			m.Version = version
			body := m.AppendTo(nil)
			if err := got.Parse(version, body); err != nil {
				t.Fatalf("version %d: %v\n%+v", version, err, m)
			}
			want := kmsg.NewPtrProduceRequest()
			want.Version = version
			if err := want.ReadFrom(body); err != nil {
				t.Fatal(err)
			}
			compareProduce(t, version, got, want)
			for cut := range body {
				if got.Parse(version, body[:cut:cut]) == nil {
					t.Fatalf("version %d: accepted %d of %d bytes", version, cut, len(body))
				}
			}
		}
	}
}

func compareProduce(t *testing.T, version int16, got *ProduceRequest, want *kmsg.ProduceRequest) {
	t.Helper()
	back := kmsg.NewPtrProduceRequest()
	back.Version = version
	back.Acks, back.TimeoutMillis = got.Acks, got.TimeoutMs
	if got.HasTransactional {
		back.TransactionID = &got.TransactionalID
	}
	for _, tp := range got.Topics {
		kt := kmsg.NewProduceRequestTopic()
		kt.Topic, kt.TopicID = tp.Name, tp.ID
		for _, p := range tp.Partitions {
			kp := kmsg.NewProduceRequestTopicPartition()
			kp.Partition, kp.Records = p.Index, p.Records
			kt.Partitions = append(kt.Partitions, kp)
		}
		back.Topics = append(back.Topics, kt)
	}
	if a, b := back.AppendTo(nil), want.AppendTo(nil); !bytes.Equal(a, b) {
		t.Fatalf("version %d:\n got %+v\nwant %+v", version, got, want)
	}
}

func TestFetchParseAgreesWithKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	got := new(FetchRequest)
	for version := int16(4); version <= 18; version++ {
		for range 200 {
			m := kmsg.NewPtrFetchRequest()
			fill(m, r)
			m.Version = version
			withoutLaterTags(m)
			body := m.AppendTo(nil)
			if err := got.Parse(version, body); err != nil {
				t.Fatalf("version %d: %v\n%+v", version, err, m)
			}
			want := kmsg.NewPtrFetchRequest()
			want.Version = version
			if err := want.ReadFrom(body); err != nil {
				t.Fatal(err)
			}
			compareFetch(t, version, got, want)
			for cut := range body {
				if got.Parse(version, body[:cut:cut]) == nil {
					t.Fatalf("version %d: accepted %d of %d bytes", version, cut, len(body))
				}
			}
		}
	}
}

// withoutLaterTags clears the tagged fields that the version lacks: kmsg writes them in every flexible version.
func withoutLaterTags(m *kmsg.FetchRequest) {
	none := kmsg.NewFetchRequest()
	if m.Version < 15 {
		m.ReplicaState = none.ReplicaState
	}
	for i := range m.Topics {
		for j := range m.Topics[i].Partitions {
			p, none := &m.Topics[i].Partitions[j], kmsg.NewFetchRequestTopicPartition()
			if m.Version < 17 {
				p.ReplicaDirectoryID = none.ReplicaDirectoryID
			}
			if m.Version < 18 {
				p.HighWatermark = none.HighWatermark
			}
		}
	}
}

func compareFetch(t *testing.T, version int16, got *FetchRequest, want *kmsg.FetchRequest) {
	t.Helper()
	back := kmsg.NewPtrFetchRequest()
	back.Version = version
	if want.ClusterID != nil && *want.ClusterID != "" { // an empty one is read as null
		back.ClusterID = &got.ClusterID
	} else {
		want.ClusterID = nil
	}
	if version >= 15 {
		back.ReplicaState.ID, back.ReplicaState.Epoch = got.ReplicaID, got.ReplicaEpoch
	} else {
		back.ReplicaID = got.ReplicaID
	}
	back.MaxWaitMillis, back.MinBytes, back.MaxBytes, back.IsolationLevel = got.MaxWaitMs, got.MinBytes, got.MaxBytes, got.Isolation
	back.SessionID, back.SessionEpoch, back.Rack = got.SessionID, got.SessionEpoch, got.Rack
	for _, tp := range got.Topics {
		kt := kmsg.NewFetchRequestTopic()
		kt.Topic, kt.TopicID = tp.Name, tp.ID
		for _, p := range tp.Partitions {
			kp := kmsg.NewFetchRequestTopicPartition()
			kp.Partition, kp.CurrentLeaderEpoch, kp.FetchOffset, kp.LastFetchedEpoch = p.Index, p.CurrentLeaderEpoch, p.Offset, p.LastFetchedEpoch
			kp.LogStartOffset, kp.PartitionMaxBytes, kp.ReplicaDirectoryID, kp.HighWatermark = p.LogStartOffset, p.MaxBytes, p.DirectoryID, p.HighWatermark
			kt.Partitions = append(kt.Partitions, kp)
		}
		back.Topics = append(back.Topics, kt)
	}
	for _, tp := range got.Forgotten {
		kt := kmsg.NewFetchRequestForgottenTopic()
		kt.Topic, kt.TopicID, kt.Partitions = tp.Name, tp.ID, tp.Partitions
		back.ForgottenTopics = append(back.ForgottenTopics, kt)
	}
	if a, b := back.AppendTo(nil), want.AppendTo(nil); !bytes.Equal(a, b) {
		t.Fatalf("version %d:\n got %+v\nback %+v\nwant %+v", version, got, back, want)
	}
}

// Our Produce answer is byte for byte what kmsg writes.
func TestProduceEncodeAgreesWithKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for version := int16(0); version <= 13; version++ {
		for range 100 {
			p, m := randomProduceResponse(r)
			if m.Version = version; version < 10 { // kmsg writes later tags in every flexible version
				m.Brokers = nil
				for i := range m.Topics {
					for j := range m.Topics[i].Partitions {
						m.Topics[i].Partitions[j].CurrentLeader = kmsg.NewProduceResponseTopicPartitionCurrentLeader()
					}
				}
			}
			resp, err := EncodeProduce(version, 7, p)
			if err != nil {
				t.Fatal(err)
			}
			checkResponse(t, resp, version >= 9, m.AppendTo(nil))
		}
	}
}

// checkResponse compares a whole answer with the body that it should have, and its size with its length prefix.
func checkResponse(t *testing.T, resp *Response, flexible bool, body []byte) {
	t.Helper()
	defer resp.Free()
	got, err := resp.AppendAll(nil)
	if err != nil {
		t.Fatal(err)
	}
	head := []byte{0, 0, 0, 7}
	if flexible {
		head = append(head, 0)
	}
	head = append(head, body...)
	want := append(appendInt32(nil, int32(len(head))), head...)
	if !bytes.Equal(got, want) {
		t.Fatalf("\n got %x\nwant %x", got, want)
	}
	if resp.Size() != int64(len(want)) {
		t.Fatalf("size %d of %d", resp.Size(), len(want))
	}
}

func randomID(r *rand.Rand) (id topic.ID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

// randomText is a string that is never empty, as our structs take an empty one for null.
func randomText(r *rand.Rand) string {
	return "x" + string(bytes.Repeat([]byte{'y'}, r.IntN(200)))
}

func randomEndpoints(r *rand.Rand) (ours []NodeEndpoint) {
	for range r.IntN(3) {
		e := NodeEndpoint{NodeID: r.Int32(), Host: randomText(r), Port: r.Int32()}
		if r.IntN(2) == 0 {
			e.Rack = randomText(r)
		}
		ours = append(ours, e)
	}
	return ours
}

func ptr(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func randomProduceResponse(r *rand.Rand) (*ProduceResponse, *kmsg.ProduceResponse) {
	p, m := &ProduceResponse{ThrottleMs: r.Int32(), Endpoints: randomEndpoints(r)}, kmsg.NewPtrProduceResponse()
	m.ThrottleMillis = p.ThrottleMs
	for _, e := range p.Endpoints {
		k := kmsg.NewProduceResponseBroker()
		k.NodeID, k.Host, k.Port, k.Rack = e.NodeID, e.Host, e.Port, ptr(e.Rack)
		m.Brokers = append(m.Brokers, k)
	}
	for range r.IntN(4) {
		t, kt := ProduceTopicResponse{Name: randomText(r), ID: randomID(r)}, kmsg.NewProduceResponseTopic()
		kt.Topic, kt.TopicID = t.Name, t.ID
		for range r.IntN(4) {
			q := NewProducePartitionError(r.Int32(), int16(r.Uint32()), "")
			if r.IntN(2) == 0 {
				q.ErrorMessage = randomText(r)
			}
			q.BaseOffset, q.LogAppendTimeMs, q.LogStartOffset = int64(r.Uint64()), int64(r.Uint64()), int64(r.Uint64())
			kq := kmsg.NewProduceResponseTopicPartition()
			for range r.IntN(3) {
				e, ke := RecordError{BatchIndex: r.Int32()}, kmsg.NewProduceResponseTopicPartitionErrorRecord()
				if r.IntN(2) == 0 {
					e.Message = randomText(r)
				}
				ke.RelativeOffset, ke.ErrorMessage = e.BatchIndex, ptr(e.Message)
				q.RecordErrors, kq.ErrorRecords = append(q.RecordErrors, e), append(kq.ErrorRecords, ke)
			}
			if r.IntN(2) == 0 {
				q.CurrentLeader = &Leader{ID: r.Int32N(100), Epoch: r.Int32()}
				kq.CurrentLeader.LeaderID, kq.CurrentLeader.LeaderEpoch = q.CurrentLeader.ID, q.CurrentLeader.Epoch
			}
			kq.Partition, kq.ErrorCode, kq.BaseOffset, kq.LogAppendTime = q.Index, q.ErrorCode, q.BaseOffset, q.LogAppendTimeMs
			kq.LogStartOffset, kq.ErrorMessage = q.LogStartOffset, ptr(q.ErrorMessage)
			t.Partitions, kt.Partitions = append(t.Partitions, q), append(kt.Partitions, kq)
		}
		p.Topics, m.Topics = append(p.Topics, t), append(m.Topics, kt)
	}
	return p, m
}

// Our Fetch answer, its regions filled in, is byte for byte what kmsg writes.
func TestFetchEncodeAgreesWithKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for version := int16(4); version <= 18; version++ {
		for range 100 {
			f, m := randomFetchResponse(r)
			if m.Version = version; version < 16 { // kmsg writes later tags in every flexible version
				m.Brokers = nil
			}
			resp, err := EncodeFetch(version, 7, f)
			if err != nil {
				t.Fatal(err)
			}
			checkResponse(t, resp, version >= 12, m.AppendTo(nil))
		}
	}
}

func randomFetchResponse(r *rand.Rand) (*FetchResponse, *kmsg.FetchResponse) {
	f, m := &FetchResponse{ThrottleMs: r.Int32(), ErrorCode: int16(r.Uint32()), SessionID: r.Int32(), Endpoints: randomEndpoints(r)}, kmsg.NewPtrFetchResponse()
	m.ThrottleMillis, m.ErrorCode, m.SessionID = f.ThrottleMs, f.ErrorCode, f.SessionID
	for _, e := range f.Endpoints {
		k := kmsg.NewFetchResponseBroker()
		k.NodeID, k.Host, k.Port, k.Rack = e.NodeID, e.Host, e.Port, ptr(e.Rack)
		m.Brokers = append(m.Brokers, k)
	}
	for range r.IntN(4) {
		t, kt := FetchTopicResponse{Name: randomText(r), ID: randomID(r)}, kmsg.NewFetchResponseTopic()
		kt.Topic, kt.TopicID = t.Name, t.ID
		for range r.IntN(4) {
			q, kq := NewFetchPartition(r.Int32(), int16(r.Uint32())), kmsg.NewFetchResponseTopicPartition()
			q.HighWatermark, q.LastStableOffset, q.LogStartOffset, q.PreferredReadReplica = int64(r.Uint64()), int64(r.Uint64()), int64(r.Uint64()), r.Int32()
			kq.Partition, kq.ErrorCode, kq.HighWatermark, kq.LastStableOffset = q.Index, q.ErrorCode, q.HighWatermark, q.LastStableOffset
			kq.LogStartOffset, kq.PreferredReadReplica = q.LogStartOffset, q.PreferredReadReplica
			if r.IntN(2) == 0 {
				q.AbortedKnown, kq.AbortedTransactions = true, []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
			}
			for range r.IntN(3) {
				a, ka := AbortedTransaction{int64(r.Uint64()), int64(r.Uint64())}, kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
				ka.ProducerID, ka.FirstOffset = a.ProducerID, a.FirstOffset
				q.Aborted, kq.AbortedTransactions = append(q.Aborted, a), append(kq.AbortedTransactions, ka)
			}
			if r.IntN(2) == 0 {
				q.CurrentLeader = &Leader{r.Int32N(100), r.Int32()}
				kq.CurrentLeader.LeaderID, kq.CurrentLeader.LeaderEpoch = q.CurrentLeader.ID, q.CurrentLeader.Epoch
			}
			if r.IntN(2) == 0 {
				q.DivergingEpoch = &EpochEndOffset{r.Int32N(100), int64(r.Uint64())}
				kq.DivergingEpoch.Epoch, kq.DivergingEpoch.EndOffset = q.DivergingEpoch.Epoch, q.DivergingEpoch.EndOffset
			}
			kq.RecordBatches = []byte{}
			for range r.IntN(3) {
				b := []byte(randomText(r))
				q.Records = append(q.Records, disk.Region{Bytes: b, Length: int64(len(b))})
				kq.RecordBatches = append(kq.RecordBatches, b...)
			}
			t.Partitions, kt.Partitions = append(t.Partitions, q), append(kt.Partitions, kq)
		}
		f.Topics, m.Topics = append(f.Topics, t), append(m.Topics, kt)
	}
	return f, m
}

// A region's length decides the frame's length, so one that cannot be right is refused, and Release is called.
func TestFetchEncodeRefusesWrongLengths(t *testing.T) {
	for name, g := range map[string]disk.Region{
		"negative length":   {File: memFile("abc"), Length: -1},
		"negative position": {File: memFile("abc"), Position: -1, Length: 1},
		"too long":          {File: memFile("abc"), Length: math.MaxInt32 + 1},
		"too long a frame":  {File: memFile("abc"), Length: math.MaxInt32},
	} {
		t.Run(name, func(t *testing.T) {
			released := 0
			q := NewFetchPartition(0, 0)
			q.Records = []disk.Region{g}
			resp, err := EncodeFetch(12, 1, &FetchResponse{Topics: []FetchTopicResponse{{Name: "t", Partitions: []FetchPartitionResponse{q}}}, Release: func() { released++ }})
			if err == nil {
				t.Fatalf("accepted, %d bytes", resp.Size())
			}
			if released != 1 {
				t.Errorf("released %d times", released)
			}
		})
	}
}

// I-32
func FuzzProduce(f *testing.F) {
	r := rand.New(rand.NewPCG(13, 14))
	for v := int16(0); v <= 13; v++ {
		m := kmsg.NewPtrProduceRequest()
		fill(m, r)
		m.Version = v
		f.Add(v, m.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 0 || version > 13 {
			return
		}
		p := new(ProduceRequest)
		boundedAlloc(t, len(body), func() error { return p.Parse(version, body) })
		// What our parser accepts kmsg reads alike.
		if p.Parse(version, body) == nil {
			want := kmsg.NewPtrProduceRequest()
			want.Version = version
			if want.ReadFrom(body) == nil {
				want.UnknownTags = kmsg.Tags{}
				for i := range want.Topics {
					want.Topics[i].UnknownTags = kmsg.Tags{}
					for j := range want.Topics[i].Partitions {
						want.Topics[i].Partitions[j].UnknownTags = kmsg.Tags{}
					}
				}
				compareProduce(t, version, p, want)
			}
		}
	})
}

// I-32
func FuzzFetch(f *testing.F) {
	r := rand.New(rand.NewPCG(15, 16))
	for v := int16(4); v <= 18; v++ {
		m := kmsg.NewPtrFetchRequest()
		fill(m, r)
		m.Version = v
		f.Add(v, m.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 4 || version > 18 {
			return
		}
		p := new(FetchRequest)
		boundedAlloc(t, len(body), func() error { return p.Parse(version, body) })
	})
}

func boundedAlloc(t *testing.T, size int, fn func() error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_ = fn()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(64*size+1<<20) {
		t.Fatalf("%d bytes allocated for a body of %d", got, size)
	}
}

// I-32: a request made of the smallest topics is refused before its parsed form is many times its size.
func TestProduceHostile(t *testing.T) {
	body := []byte{0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0x0f} // 33 million topics
	body = append(body, make([]byte, 3*(1<<25))...)
	boundedAlloc(t, 1<<10, func() error {
		err := new(ProduceRequest).Parse(9, body)
		if err == nil {
			t.Error("accepted")
		}
		return err
	})
}

// lender is a client whose requests may take so much memory.
type lender struct{ most, taken, asked, calls int }

var errLender = errors.New("no more memory")

func (*lender) Watch(Goner) bool { return true }
func (*lender) SendHeld()        {}

func (l *lender) Reserve(n int) error {
	l.calls++
	l.asked += n
	if l.taken+n > l.most {
		return errLender
	}
	l.taken += n
	return nil
}

// smallest is a Produce or a Fetch request of one topic with n partitions that take as few bytes as they can.
func smallest(key int16, n int) *Request {
	var body []byte
	var version int16
	var partition []byte
	if key == KeyProduce {
		version, body, partition = 9, []byte{0, 0, 1, 0, 0, 0, 1, 2, 2, 't'}, make([]byte, 6)
	} else {
		version, body, partition = 12, append(make([]byte, 25), 2, 2, 't'), make([]byte, 33)
	}
	body = binary.AppendUvarint(body, uint64(n+1))
	body = append(body, bytes.Repeat(partition, n)...)
	body = append(body, 0, 1, 1, 0) // as Fetch ends; Produce ignores what follows
	return &Request{Key: key, Version: version, Body: body}
}

// I-32: what a request of the smallest parts becomes, parsed and answered, is counted before it is allocated. One that gets
// no memory for it is refused and has taken none.
func TestHostileFormsAreCounted(t *testing.T) {
	allocated := func(fn func()) int {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fn()
		runtime.ReadMemStats(&after)
		return int(after.TotalAlloc - before.TotalAlloc)
	}
	const n = 1<<20 - 1
	for _, key := range []int16{KeyProduce, KeyFetch} {
		for _, most := range []int{1 << 20, 4 << 30} {
			l := &lender{most: most}
			req := smallest(key, n)
			req.From(l)
			took := allocated(func() {
				var err error
				if key == KeyFetch {
					_, err = req.Fetch()
				} else {
					_, err = req.Produce()
				}
				if err != nil && !errors.Is(err, errLender) || (err == nil) != (most > 1<<20) {
					t.Error(err)
				}
			})
			if l.asked < most {
				took += allocated(func() { answerSmallest(t, req, n) })
			}
			if took > min(l.asked, most) {
				t.Errorf("key %d: %d bytes allocated, %d asked for", key, took, l.asked)
			}
		}
	}
	few := smallest(KeyProduce, 7)
	few.From(&lender{})
	if _, err := few.Produce(); err != nil {
		t.Errorf("an ordinary request asks for memory: %v", err)
	}
	m := kmsg.NewPtrMetadataRequest()
	m.Topics = make([]kmsg.MetadataRequestTopic, 1000)
	decoded := &Request{Key: 3, Version: 12, Body: m.AppendTo(nil)}
	decoded.From(&lender{})
	m.Version = 12
	decoded.Body = m.AppendTo(nil)
	if _, err := decoded.Decode(); !errors.Is(err, errLender) {
		t.Errorf("a large request of another kind is not counted: %v", err)
	}
}

// A request gets what it needs where that is all that it may take, although it asks for more than it needs at once to ask
// seldom.
func TestFormsUpToTheLimit(t *testing.T) {
	for topics, partitions := range map[int]int{2: 10_000, 2000: 10} {
		m := kmsg.NewPtrFetchRequest()
		m.Version = 12
		for range topics {
			m.Topics = append(m.Topics, kmsg.FetchRequestTopic{Topic: "some topic", Partitions: make([]kmsg.FetchRequestTopicPartition, partitions)})
		}
		body := m.AppendTo(nil)
		needs := topics*(fetchTopicCost+2*len("some topic")+partitions*FetchPartitionCost) - freeForm
		for missing := range 2 {
			l := &lender{most: needs - missing}
			req := &Request{Key: KeyFetch, Version: m.Version, Body: body}
			req.From(l)
			if _, err := req.Fetch(); (err == nil) != (missing == 0) || err != nil && !errors.Is(err, errLender) {
				t.Errorf("%d topics: %v, with %d bytes less than needed", topics, err, missing)
			}
			if l.calls > 500 {
				t.Errorf("%d topics: asked for memory %d times", topics, l.calls)
			}
			req.Free()
		}
	}
}

// I-32: what a handler reserves is counted with what the request was parsed to, asked for a few times only, and refused where
// there is no more; so are the answers to what a request names in a few bytes.
func TestReserve(t *testing.T) {
	m := kmsg.NewPtrDescribeProducersRequest()
	m.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: make([]int32, 10_000)}}
	l := &lender{most: 8 << 20}
	req := &Request{Key: m.Key(), Body: m.AppendTo(nil)}
	req.From(l)
	if _, err := req.Decode(); err != nil || l.taken < 10_000*answerCost || l.taken > 2*10_000*answerCost {
		t.Fatalf("%d bytes taken: %v", l.taken, err)
	}
	const piece = 1000
	parsed, pieces := l.taken, 0
	for req.Reserve(piece) == nil {
		pieces++
	}
	if n := parsed + pieces*piece; n > l.most+freeForm || n < l.most-freeForm {
		t.Errorf("%d pieces of %d bytes beside %d, of %d", pieces, piece, parsed, l.most)
	}
	if l.calls > 500 {
		t.Errorf("asked %d times", l.calls)
	}
	if err := req.Reserve(piece); !errors.Is(err, errLender) {
		t.Error(err)
	}
	if err := new(Request).Reserve(1 << 40); err != nil {
		t.Errorf("nobody counts: %v", err)
	}
}

// answerSmallest answers with an error for each partition.
func answerSmallest(t *testing.T, req *Request, n int) {
	var resp *Response
	var err error
	if req.Key == KeyProduce {
		p := ProduceResponse{Topics: []ProduceTopicResponse{{Name: "t", Partitions: make([]ProducePartitionResponse, n)}}}
		for i := range p.Topics[0].Partitions {
			p.Topics[0].Partitions[i] = NewProducePartitionError(int32(i), 87, "there must be a record batch for each partition")
		}
		resp, err = EncodeProduce(req.Version, 1, &p)
	} else {
		f := FetchResponse{Topics: []FetchTopicResponse{{Name: "t", Partitions: make([]FetchPartitionResponse, n)}}}
		resp, err = EncodeFetch(req.Version, 1, &f)
	}
	if err != nil {
		t.Error(err)
	}
	resp.Free()
}

// I-32: a claim that the rest of the body cannot hold allocates nothing.
func TestProduceClaimsAreBacked(t *testing.T) {
	for version, body := range map[int16][]byte{
		8: {0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0x0f, 0, 0, 1, 2, 3},                  // 983,040 topics in three bytes
		9: {0, 0, 1, 0, 0, 0, 0, 2, 2, 't', 0x80, 0x80, 0x3c, 1, 2, 3, 4, 5, 6, 7}, // as many partitions
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := new(ProduceRequest).Parse(version, body)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("version %d: accepted", version)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("version %d: %d bytes allocated for a body of %d", version, got, len(body))
		}
	}
}

// A recycled request holds on to no frame and does not show the next
// one anything of its own.
func TestRecycledRequestsAreClean(t *testing.T) {
	full, empty := kmsg.NewPtrProduceRequest(), kmsg.NewPtrProduceRequest()
	fill(full, rand.New(rand.NewPCG(17, 18)))
	full.Version, empty.Version = 9, 9
	var p, fresh ProduceRequest
	if err := p.Parse(9, full.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	p.recycle()
	for _, tp := range p.Topics {
		for _, q := range tp.Partitions {
			if q.Records != nil {
				t.Error("records of a frame that is gone")
			}
		}
	}
	body := empty.AppendTo(nil)
	if err := p.Parse(9, body); err != nil {
		t.Fatal(err)
	}
	_ = fresh.Parse(9, body)
	p.Topics = append([]ProduceTopic(nil), p.Topics...) // capacity aside
	fresh.Topics = append([]ProduceTopic(nil), fresh.Topics...)
	if !reflect.DeepEqual(p, fresh) {
		t.Errorf("%+v, want %+v", p, fresh)
	}
}
