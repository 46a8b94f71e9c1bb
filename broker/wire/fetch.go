package wire

import (
	"math"
	"sync"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

// FetchRequest is a Fetch request, versions 4 to 18. Fields that the version lacks have Kafka's defaults.
// All strings are ordinary ones; nothing aliases the frame.
type FetchRequest struct {
	ClusterID    string // from version 12; empty = null
	ReplicaID    int32  // -1 = a consumer; from version 15 taken from the replica state
	ReplicaEpoch int64  // from version 15; -1 = unknown
	MaxWaitMs    int32
	MinBytes     int32
	MaxBytes     int32
	Isolation    int8  // 0 = read_uncommitted, 1 = read_committed
	SessionID    int32 // from version 7; 0 = none
	SessionEpoch int32 // from version 7; -1 = no session
	Topics       []FetchTopic
	Forgotten    []ForgottenTopic // from version 7
	Rack         string           // from version 11
}

// FetchTopic is one topic of a FetchRequest: by name up to version 12, by id from 13.
type FetchTopic struct {
	Name       string
	ID         topic.ID
	Partitions []FetchPartition
}

// FetchPartition is what is asked of one partition.
type FetchPartition struct {
	Index              int32
	CurrentLeaderEpoch int32 // from version 9; -1 = unknown
	Offset             int64
	LastFetchedEpoch   int32 // from version 12; -1 = none
	LogStartOffset     int64 // from version 5, followers only; -1 otherwise
	MaxBytes           int32
	DirectoryID        topic.ID // from version 17
	HighWatermark      int64    // from version 18 (KIP-1166); NoHighWatermark when the sender has none
}

// NoHighWatermark is FetchPartition.HighWatermark of a sender that does not support the field.
const NoHighWatermark int64 = math.MaxInt64

// ForgottenTopic is partitions that leave a fetch session.
type ForgottenTopic struct {
	Name       string
	ID         topic.ID
	Partitions []int32
}

// FetchResponse is the answer to a FetchRequest. Its records are regions of files or of memory that are sent without
// passing through a buffer where the kernel can do so. The structs may be reused as soon as Reply.Fetch has
// returned; what the regions point to must stay as it is until Release is called.
type FetchResponse struct {
	ThrottleMs int32
	ErrorCode  int16 // from version 7
	SessionID  int32 // from version 7
	Topics     []FetchTopicResponse
	Endpoints  []NodeEndpoint // from version 16 (KIP-951)

	// Release, if not nil, is called exactly once when the answer is sent or dropped, on any goroutine; it must not block.
	Release func()
}

// FetchTopicResponse is one topic of a FetchResponse.
type FetchTopicResponse struct {
	Name       string   // used up to version 12
	ID         topic.ID // used from version 13
	Partitions []FetchPartitionResponse
}

// FetchPartitionResponse is the outcome for one partition. Start from NewFetchPartition, which has Kafka's defaults.
type FetchPartitionResponse struct {
	Index                int32
	ErrorCode            int16
	HighWatermark        int64
	LastStableOffset     int64           // -1 = unknown
	LogStartOffset       int64           // from version 5; -1 = unknown
	DivergingEpoch       *EpochEndOffset // from version 12; nil = left out
	CurrentLeader        *Leader         // from version 12; nil = left out
	Aborted              []AbortedTransaction
	AbortedKnown         bool          // true: an empty Aborted is sent as an empty list (read_committed); false: as null
	PreferredReadReplica int32         // from version 11; -1 = none
	Records              []disk.Region // whole batches, in order; empty = no records
}

// NewFetchPartition is the answer for a partition with Kafka's defaults: every offset -1, no records.
func NewFetchPartition(index int32, code int16) FetchPartitionResponse {
	return FetchPartitionResponse{
		Index: index, ErrorCode: code, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, PreferredReadReplica: -1,
	}
}

// EpochEndOffset tells a follower from where its log differs.
type EpochEndOffset struct {
	Epoch     int32
	EndOffset int64
}

// AbortedTransaction is an aborted transaction that overlaps the records.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

var fetchPool = sync.Pool{New: func() any { return new(FetchRequest) }}

// FetchPartitionCost is what a partition of a Fetch takes in memory until it is answered: parsed, asked of the session cache
// and of the partitions, among those that wait for records, in the answer, and encoded. Those that a request does not name
// because its session knows them are for the handler to reserve.
const FetchPartitionCost = 1 << 10

// What the rest of a Fetch request takes likewise.
const (
	fetchTopicCost         = 256
	forgottenTopicCost     = 64
	forgottenPartitionCost = 64
)

// Parse reads a request body of the given version, 4 to 18, reusing the memory that f has. Every claimed length is
// checked against the bytes that are left before it is believed.
func (f *FetchRequest) Parse(version int16, body []byte) error {
	return f.parse(version, reader{b: body})
}

func (f *FetchRequest) parse(version int16, r reader) error {
	flex := version >= 12
	f.ClusterID, f.ReplicaID, f.ReplicaEpoch = "", -1, -1
	if version <= 14 {
		f.ReplicaID = r.int32()
	}
	f.MaxWaitMs = r.int32()
	f.MinBytes = r.int32()
	f.MaxBytes = r.int32()
	f.Isolation = r.int8()
	f.SessionID, f.SessionEpoch = 0, -1
	if version >= 7 {
		f.SessionID = r.int32()
		f.SessionEpoch = r.int32()
	}
	f.parseTopics(&r, version, flex)
	f.parseForgotten(&r, version, flex)
	if version >= 11 {
		f.Rack = keep(f.Rack, r.str(flex))
	} else {
		f.Rack = ""
	}
	if flex {
		f.parseTags(&r, version)
	}
	return r.err("Fetch request")
}

func (f *FetchRequest) parseTopics(r *reader, version int16, flex bool) {
	f.Topics = Resize(f.Topics, r.list(flex, 3, fetchTopicCost))
	for i := range f.Topics {
		t := &f.Topics[i]
		if version >= 13 {
			t.Name, t.ID = "", r.id()
		} else {
			t.Name, t.ID = r.name(flex, t.Name), topic.ID{}
		}
		t.Partitions = Resize(t.Partitions, r.list(flex, 16, FetchPartitionCost))
		for j := range t.Partitions {
			t.Partitions[j].parse(r, version, flex)
			if r.failed {
				return
			}
		}
		if flex {
			r.skipTags()
		}
		if r.failed {
			return
		}
	}
}

func (p *FetchPartition) parse(r *reader, version int16, flex bool) {
	*p = FetchPartition{CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, LogStartOffset: -1, HighWatermark: NoHighWatermark}
	p.Index = r.int32()
	if version >= 9 {
		p.CurrentLeaderEpoch = r.int32()
	}
	p.Offset = r.int64()
	if version >= 12 {
		p.LastFetchedEpoch = r.int32()
	}
	if version >= 5 {
		p.LogStartOffset = r.int64()
	}
	p.MaxBytes = r.int32()
	if !flex {
		return
	}
	for n := r.tagCount(); n > 0; n-- {
		tag, body := r.tag()
		switch {
		case tag == 0 && version >= 17:
			p.DirectoryID = body.id()
		case tag == 1 && version >= 18:
			p.HighWatermark = body.int64()
		}
		if body.failed {
			r.fail()
		}
		if r.failed {
			return
		}
	}
}

func (f *FetchRequest) parseForgotten(r *reader, version int16, flex bool) {
	if version < 7 {
		f.Forgotten = f.Forgotten[:0]
		return
	}
	f.Forgotten = Resize(f.Forgotten, r.list(flex, 3, forgottenTopicCost))
	for i := range f.Forgotten {
		t := &f.Forgotten[i]
		if version >= 13 {
			t.Name, t.ID = "", r.id()
		} else {
			t.Name, t.ID = r.name(flex, t.Name), topic.ID{}
		}
		t.Partitions = Resize(t.Partitions, r.list(flex, 4, forgottenPartitionCost))
		for j := range t.Partitions {
			t.Partitions[j] = r.int32()
		}
		if flex {
			r.skipTags()
		}
		if r.failed {
			return
		}
	}
}

func (f *FetchRequest) parseTags(r *reader, version int16) {
	for n := r.tagCount(); n > 0; n-- {
		tag, body := r.tag()
		switch {
		case tag == 0:
			id, _ := body.nullable(true)
			f.ClusterID = string(id)
		case tag == 1 && version >= 15:
			f.ReplicaID = body.int32()
			f.ReplicaEpoch = body.int64()
			body.skipTags()
		}
		if body.failed {
			r.fail()
		}
		if r.failed {
			return
		}
	}
}

// recycle keeps a bounded amount of memory for the next request.
func (f *FetchRequest) recycle() {
	f.Topics = Recycle(f.Topics, func(t *FetchTopic) *[]FetchPartition { return &t.Partitions })
	f.Forgotten = Recycle(f.Forgotten, func(t *ForgottenTopic) *[]int32 { return &t.Partitions })
	fetchPool.Put(f)
}
