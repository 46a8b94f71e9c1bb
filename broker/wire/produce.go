package wire

import (
	"sync"

	"github.com/firnlog/firn/tier/topic"
)

// ProduceRequest is a Produce request, versions 0 to 13. Records alias the frame; names are ordinary strings.
type ProduceRequest struct {
	TransactionalID  string
	HasTransactional bool // false = null
	Acks             int16
	TimeoutMs        int32
	Topics           []ProduceTopic
}

// ProduceTopic is one topic of a ProduceRequest: by name up to version 12, by id from 13.
type ProduceTopic struct {
	Name       string   // empty from version 13
	ID         topic.ID // zero up to version 12
	Partitions []ProducePartition
}

// ProducePartition is the records for one partition.
type ProducePartition struct {
	Index   int32
	Records []byte // aliases the frame and may be written to (offset stamping); nil = null
}

// ProduceResponse is the answer to a ProduceRequest. Fields that the request's version lacks are left out.
type ProduceResponse struct {
	Topics     []ProduceTopicResponse
	ThrottleMs int32
	Endpoints  []NodeEndpoint // from version 10: where the current leaders named in the partitions are (KIP-951)
}

// ProduceTopicResponse is one topic of a ProduceResponse.
type ProduceTopicResponse struct {
	Name       string   // used up to version 12
	ID         topic.ID // used from version 13
	Partitions []ProducePartitionResponse
}

// ProducePartitionResponse is the outcome for one partition. NewProducePartitionError gives Kafka's values for errors.
type ProducePartitionResponse struct {
	Index           int32
	ErrorCode       int16
	BaseOffset      int64         // -1 on an error
	LogAppendTimeMs int64         // -1 unless the topic uses LogAppendTime
	LogStartOffset  int64         // from version 5; -1 on most errors
	RecordErrors    []RecordError // from version 8
	ErrorMessage    string        // from version 8; empty = null
	CurrentLeader   *Leader       // from version 10; nil = left out
}

// NewProducePartitionError is the answer for a partition that failed: every offset and time is -1.
func NewProducePartitionError(index int32, code int16, message string) ProducePartitionResponse {
	return ProducePartitionResponse{
		Index: index, ErrorCode: code, BaseOffset: -1, LogAppendTimeMs: -1, LogStartOffset: -1, ErrorMessage: message,
	}
}

// RecordError names a record that made a batch be refused (KIP-467).
type RecordError struct {
	BatchIndex int32  // the record's index in the batch, from 0
	Message    string // empty = null
}

// Leader is a partition's leader as the broker knows it; -1 = unknown.
type Leader struct {
	ID    int32
	Epoch int32
}

// NodeEndpoint is the address of a broker (KIP-951).
type NodeEndpoint struct {
	NodeID int32
	Host   string
	Port   int32
	Rack   string // empty = null
}

var producePool = sync.Pool{New: func() any { return new(ProduceRequest) }}

// What a topic and a partition of a Produce request take in memory until it is answered: parsed, in the answer, among those
// that wait for the high watermark, as an error, and encoded.
const (
	produceTopicCost     = 192
	producePartitionCost = 512
)

// Parse reads a request body of the given version, 0 to 13, reusing the memory that p has. Every claimed length is
// checked against the bytes that are left before it is believed. What follows the last field is ignored, as Kafka does.
func (p *ProduceRequest) Parse(version int16, body []byte) error {
	return p.parse(version, reader{b: body})
}

func (p *ProduceRequest) parse(version int16, r reader) error {
	flex := version >= 9
	p.TransactionalID, p.HasTransactional = "", false
	if version >= 3 {
		id, ok := r.nullable(flex)
		p.TransactionalID, p.HasTransactional = string(id), ok
	}
	p.Acks = r.int16()
	p.TimeoutMs = r.int32()
	p.Topics = Resize(p.Topics, r.list(flex, 3, produceTopicCost))
	for i := range p.Topics {
		t := &p.Topics[i]
		if version >= 13 {
			t.Name, t.ID = "", r.id()
		} else {
			t.Name, t.ID = r.name(flex, t.Name), topic.ID{}
		}
		t.Partitions = Resize(t.Partitions, r.list(flex, 5, producePartitionCost))
		for j := range t.Partitions {
			q := &t.Partitions[j]
			q.Index = r.int32()
			q.Records = r.bytes(flex)
			if flex {
				r.skipTags()
			}
			if r.failed {
				break
			}
		}
		if flex {
			r.skipTags()
		}
		if r.failed {
			break
		}
	}
	if flex {
		r.skipTags()
	}
	return r.err("Produce request")
}

// recycle forgets what aliases the frame and keeps a bounded amount of memory for the next request.
func (p *ProduceRequest) recycle() {
	for i := range p.Topics {
		q := p.Topics[i].Partitions
		for j := range q {
			q[j].Records = nil
		}
	}
	p.Topics = Recycle(p.Topics, func(t *ProduceTopic) *[]ProducePartition { return &t.Partitions })
	producePool.Put(p)
}
