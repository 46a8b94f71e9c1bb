package wire

import (
	"fmt"

	"github.com/firnlog/firn/tier/disk"
)

// EncodeProduce encodes a Produce response for versions 0 to 13.
func EncodeProduce(version int16, correlation int32, p *ProduceResponse) (*Response, error) {
	flex := version >= 9
	hint := 64
	for i := range p.Topics {
		hint += 32 + len(p.Topics[i].Name) + 48*len(p.Topics[i].Partitions)
	}
	r := newResponse(KeyProduce, version, correlation, hint)
	b := appendLen(r.buf.B, flex, len(p.Topics))
	for i := range p.Topics {
		t := &p.Topics[i]
		if version >= 13 {
			b = append(b, t.ID[:]...)
		} else {
			b = appendString(b, flex, t.Name)
		}
		b = appendLen(b, flex, len(t.Partitions))
		for j := range t.Partitions {
			q := &t.Partitions[j]
			if r.ErrorCode == 0 {
				r.ErrorCode = q.ErrorCode
			}
			b = q.append(b, version, flex)
		}
		if flex {
			b = append(b, 0)
		}
	}
	if version >= 1 {
		b = appendInt32(b, p.ThrottleMs)
	}
	switch {
	case version >= 10:
		b = appendEndpoints(b, p.Endpoints)
	case flex:
		b = append(b, 0)
	}
	r.setBuf(b)
	return r.finish()
}

func (q *ProducePartitionResponse) append(b []byte, version int16, flex bool) []byte {
	b = appendInt32(b, q.Index)
	b = appendInt16(b, q.ErrorCode)
	b = appendInt64(b, q.BaseOffset)
	if version >= 2 {
		b = appendInt64(b, q.LogAppendTimeMs)
	}
	if version >= 5 {
		b = appendInt64(b, q.LogStartOffset)
	}
	if version >= 8 {
		b = appendLen(b, flex, len(q.RecordErrors))
		for i := range q.RecordErrors {
			e := &q.RecordErrors[i]
			b = appendInt32(b, e.BatchIndex)
			b = appendNullable(b, flex, e.Message)
			if flex {
				b = append(b, 0)
			}
		}
		b = appendNullable(b, flex, q.ErrorMessage)
	}
	if !flex {
		return b
	}
	if version < 10 || q.CurrentLeader == nil {
		return append(b, 0)
	}
	b = append(b, 1, 0, leaderSize) // one tag, number 0
	return q.CurrentLeader.append(b)
}

// leaderSize is the length of a Leader with its empty tag section.
const leaderSize = 9

func (l *Leader) append(b []byte) []byte {
	b = appendInt32(b, l.ID)
	b = appendInt32(b, l.Epoch)
	return append(b, 0)
}

// EncodeFetch encodes a Fetch response for versions 4 to 18. Records are not touched. f.Release passes to the
// response; on an error it is called before the return.
func EncodeFetch(version int16, correlation int32, f *FetchResponse) (*Response, error) {
	flex := version >= 12
	hint := 64
	for i := range f.Topics {
		hint += 32 + len(f.Topics[i].Name) + 64*len(f.Topics[i].Partitions)
	}
	r := newResponse(KeyFetch, version, correlation, hint)
	r.release = f.Release
	b := appendInt32(r.buf.B, f.ThrottleMs)
	if version >= 7 {
		b = appendInt16(b, f.ErrorCode)
		b = appendInt32(b, f.SessionID)
		r.ErrorCode = f.ErrorCode
	}
	b = appendLen(b, flex, len(f.Topics))
	for i := range f.Topics {
		t := &f.Topics[i]
		if version >= 13 {
			b = append(b, t.ID[:]...)
		} else {
			b = appendString(b, flex, t.Name)
		}
		b = appendLen(b, flex, len(t.Partitions))
		for j := range t.Partitions {
			q := &t.Partitions[j]
			if r.ErrorCode == 0 {
				r.ErrorCode = q.ErrorCode
			}
			var n int64
			if n = recordsLen(q.Records); n < 0 || n > 1<<31-1 {
				r.Free()
				return nil, fmt.Errorf("%w: partition %d has records of %d bytes", ErrTooLarge, q.Index, n)
			}
			b = q.appendHead(b, version, flex)
			b = appendLen(b, flex, int(n))
			for _, reg := range q.Records {
				if regionLen(&reg) > 0 {
					r.parts = append(r.parts, part{after: len(b), region: reg})
				}
			}
			if flex {
				b = q.appendTags(b)
			}
		}
		if flex {
			b = append(b, 0)
		}
	}
	switch {
	case version >= 16:
		b = appendEndpoints(b, f.Endpoints)
	case flex:
		b = append(b, 0)
	}
	r.setBuf(b)
	return r.finish()
}

// recordsLen is the length of all regions, or -1 if one claims a negative length.
func recordsLen(regions []disk.Region) (n int64) {
	for i := range regions {
		l := regionLen(&regions[i])
		if l < 0 || regions[i].Position < 0 {
			return -1
		}
		n += l
	}
	return n
}

// appendHead writes what stands before the length of the records.
func (q *FetchPartitionResponse) appendHead(b []byte, version int16, flex bool) []byte {
	b = appendInt32(b, q.Index)
	b = appendInt16(b, q.ErrorCode)
	b = appendInt64(b, q.HighWatermark)
	b = appendInt64(b, q.LastStableOffset)
	if version >= 5 {
		b = appendInt64(b, q.LogStartOffset)
	}
	if len(q.Aborted) == 0 && !q.AbortedKnown {
		b = appendLen(b, flex, -1)
	} else {
		b = appendLen(b, flex, len(q.Aborted))
		for i := range q.Aborted {
			b = appendInt64(b, q.Aborted[i].ProducerID)
			b = appendInt64(b, q.Aborted[i].FirstOffset)
			if flex {
				b = append(b, 0)
			}
		}
	}
	if version >= 11 {
		b = appendInt32(b, q.PreferredReadReplica)
	}
	return b
}

// appendTags writes the tag section of a partition: 0 = diverging epoch, 1 = current leader.
func (q *FetchPartitionResponse) appendTags(b []byte) []byte {
	n := byte(0)
	if q.DivergingEpoch != nil {
		n++
	}
	if q.CurrentLeader != nil {
		n++
	}
	b = append(b, n)
	if e := q.DivergingEpoch; e != nil {
		b = append(b, 0, 13)
		b = appendInt32(b, e.Epoch)
		b = appendInt64(b, e.EndOffset)
		b = append(b, 0)
	}
	if l := q.CurrentLeader; l != nil {
		b = append(b, 1, leaderSize)
		b = l.append(b)
	}
	return b
}

// UnsupportedProduce answers a Produce request below version 3 as its client can read it: every partition with
// UNSUPPORTED_VERSION. It fails when the body cannot be parsed; acks says whether an answer is expected at all.
func UnsupportedProduce(req *Request) (resp *Response, acks int16, err error) {
	p, err := req.Produce()
	if err != nil {
		return nil, 0, err
	}
	out := ProduceResponse{Topics: make([]ProduceTopicResponse, len(p.Topics))}
	for i, t := range p.Topics {
		out.Topics[i].Name = t.Name
		for _, q := range t.Partitions {
			out.Topics[i].Partitions = append(out.Topics[i].Partitions, NewProducePartitionError(q.Index, errUnsupportedVersion, ""))
		}
	}
	resp, err = EncodeProduce(req.Version, req.CorrelationID, &out)
	return resp, p.Acks, err
}

// UnsupportedApiVersions answers an ApiVersions request of a version that is not served: the version 0 answer with
// UNSUPPORTED_VERSION and the table, from which the client takes the version to ask with next (KIP-511).
func UnsupportedApiVersions(correlation int32, table []Range) (*Response, error) {
	r := newResponse(KeyApiVersions, 0, correlation, 16+6*len(table))
	r.ErrorCode = errUnsupportedVersion
	b := appendInt16(r.buf.B, errUnsupportedVersion)
	b = appendLen(b, false, len(table))
	for _, v := range table {
		b = appendInt16(b, v.Key)
		b = appendInt16(b, v.Min)
		b = appendInt16(b, v.Max)
	}
	r.setBuf(b)
	return r.finish()
}

// errUnsupportedVersion is Kafka's UNSUPPORTED_VERSION.
const errUnsupportedVersion int16 = 35
