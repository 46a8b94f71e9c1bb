package api

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/broker/fetchsession"
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/broker/wire"
)

// Fetch 4-18, for consumers, with sessions (KIP-227), topic ids (KIP-516) and the new leader's address (KIP-951).
//
// Deliberate gaps: fetches of replicas are refused with NOT_LEADER_OR_FOLLOWER until there is replication; there is
// no preferred read replica, and, without transactions, no aborted transaction to list.
var fetchHandler = handler{1, 4, 18, (*API).fetch}

// fetchCall is one Fetch request on its way. It is used again once its answer is sent: it keeps the memory of all that
// it is made of.
type fetchCall struct {
	a        *API
	req      *wire.Request
	reply    *wire.Reply
	readComm bool
	asked    fetchsession.Request
	session  fetchsession.Fetch
	parts    []partition.FetchPartition
	outcomes []fetchsession.Outcome
	resp     wire.FetchResponse
	places   map[fetchsession.Key]int // topic → its place in the answer; empty between two calls

	release   func() // what the answer's records lie in
	releaseFn func() // released, made once
	reserveFn func(partitions int) error
}

var fetchCalls sync.Pool // of *fetchCall

func (a *API) newFetchCall(req *wire.Request, reply *wire.Reply) *fetchCall {
	c, ok := fetchCalls.Get().(*fetchCall)
	if !ok {
		c = &fetchCall{places: make(map[fetchsession.Key]int)}
		c.releaseFn, c.reserveFn = c.released, c.reserve
	}
	c.a, c.req, c.reply = a, req, reply
	return c
}

// reserve takes memory for partitions that the request does not name.
func (c *fetchCall) reserve(partitions int) error {
	return c.req.Reserve(partitions * wire.FetchPartitionCost)
}

// released is called when the answer is sent or dropped.
func (c *fetchCall) released() {
	c.release()
	c.free()
}

// free lets the call be used again, unless it would keep much memory.
func (c *fetchCall) free() {
	if max(cap(c.parts), cap(c.asked.Partitions), cap(c.asked.Forgotten), cap(c.session.Partitions)) > wire.KeepPartitions {
		return
	}
	clear(c.parts)
	clear(c.places)
	for i := range c.resp.Topics {
		clear(c.resp.Topics[i].Partitions) // they point to the records
	}
	c.resp.Topics = wire.Recycle(c.resp.Topics, func(t *wire.FetchTopicResponse) *[]wire.FetchPartitionResponse { return &t.Partitions })
	c.req, c.reply, c.release = nil, nil, nil
	fetchCalls.Put(c)
}

func (a *API) fetch(ctx context.Context, req *wire.Request, reply *wire.Reply) {
	r, err := req.Fetch()
	if err != nil {
		reply.Close(err)
		return
	}
	c := a.newFetchCall(req, reply)
	c.readComm = r.Isolation == 1
	c.ask(r, req.Version)
	switch code, err := a.Sessions.Begin(&c.session, &c.asked); {
	case err != nil:
		c.free()
		reply.Close(err)
		return
	case code != 0:
		c.free()
		reply.Fetch(&wire.FetchResponse{ErrorCode: code})
		return
	}
	maxBytes := min(int(r.MaxBytes), int(a.Configs.Values().FetchMaxBytes))
	q := partition.FetchRequest{
		MaxWait:  time.Duration(max(r.MaxWaitMs, 0)) * time.Millisecond,
		MinBytes: min(int(r.MinBytes), maxBytes),
		MaxBytes: max(maxBytes, 0),
		Client:   req,
	}
	c.parts = c.parts[:0]
	for i := range c.session.Partitions {
		p := &c.session.Partitions[i]
		want := partition.FetchPartition{Offset: p.Offset, LeaderEpoch: p.LeaderEpoch,
			LastFetchedEpoch: p.LastFetchedEpoch, MaxBytes: int(max(p.MaxBytes, 0))}
		pt, err := a.partition(p.Topic, p.ID, p.Key.Partition, req.Version >= 13)
		if err == nil && r.ReplicaID >= 0 {
			err = kerr.NotLeaderForPartition
		}
		if err != nil {
			want.Err = code(err)
		} else {
			want.Partition = pt
		}
		c.parts = append(c.parts, want)
	}
	q.Partitions = c.parts
	a.Partitions.Fetch(ctx, q, c)
}

// ask makes what the session cache is about of a request.
func (c *fetchCall) ask(r *wire.FetchRequest, version int16) {
	out := &c.asked
	*out = fetchsession.Request{ID: r.SessionID, Epoch: r.SessionEpoch, UsesIDs: version >= 13, Follower: r.ReplicaID >= 0,
		Partitions: out.Partitions[:0], Forgotten: out.Forgotten[:0], Reserve: c.reserveFn}
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			out.Partitions = append(out.Partitions, fetchsession.Partition{
				Key:    fetchsession.Key{Topic: t.Name, ID: t.ID, Partition: p.Index},
				Offset: p.Offset, LeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
				LogStart: p.LogStartOffset, MaxBytes: p.MaxBytes,
			})
		}
	}
	for i := range r.Forgotten {
		t := &r.Forgotten[i]
		for _, p := range t.Partitions {
			out.Forgotten = append(out.Forgotten, fetchsession.Key{Topic: t.Name, ID: t.ID, Partition: p})
		}
	}
}

// Fetched implements partition.Fetcher: it builds the answer from what was found, only what the session's client does
// not know yet.
func (c *fetchCall) Fetched(results []partition.FetchResult, release func()) {
	c.outcomes = c.outcomes[:0]
	records := false
	for i := range results {
		r := &results[i]
		records = records || r.Bytes > 0
		c.outcomes = append(c.outcomes, fetchsession.Outcome{Error: r.Error, Bytes: r.Bytes, HighWatermark: r.HighWatermark,
			LogStart: r.LogStart, Always: r.Diverging != nil})
	}
	id, include := c.session.Finish(c.outcomes)
	c.release = release
	resp := &c.resp
	*resp = wire.FetchResponse{SessionID: id, Topics: resp.Topics[:0]}
	for i := range results {
		if include[i] {
			t := c.topic(i)
			t.Partitions = append(t.Partitions, c.partition(resp, i, &results[i]))
		}
	}
	if !records { // nothing of it is lent to the answer: it does not wait for the client to take that
		c.reply.Fetch(resp)
		c.released()
		return
	}
	resp.Release = c.releaseFn
	c.reply.Fetch(resp) // c may be another's from here on
}

// topic is the place in the answer for the topic of the i-th partition; partitions of one topic need not be adjacent.
func (c *fetchCall) topic(i int) *wire.FetchTopicResponse {
	p := &c.session.Partitions[i]
	topics := c.resp.Topics
	if n := len(topics); n > 0 && topics[n-1].Name == p.Topic && topics[n-1].ID == p.ID {
		return &topics[n-1]
	}
	key := fetchsession.Key{Topic: p.Topic, ID: p.ID}
	n, ok := c.places[key]
	if !ok {
		n = len(topics)
		c.places[key] = n
		c.resp.Topics = wire.Resize(topics, n+1)
		t := &c.resp.Topics[n]
		t.Name, t.ID, t.Partitions = p.Topic, p.ID, t.Partitions[:0]
	}
	return &c.resp.Topics[n]
}

func (c *fetchCall) partition(resp *wire.FetchResponse, i int, r *partition.FetchResult) wire.FetchPartitionResponse {
	p := &c.session.Partitions[i]
	out := wire.NewFetchPartition(p.Key.Partition, r.Error)
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = r.HighWatermark, r.LastStable, r.LogStart
	out.Records = r.Regions
	out.AbortedKnown = c.readComm
	if r.Diverging != nil {
		out.DivergingEpoch = &wire.EpochEndOffset{Epoch: r.Diverging.Epoch, EndOffset: r.Diverging.Start}
	}
	if r.Error == kerr.NotLeaderForPartition.Code || r.Error == kerr.FencedLeaderEpoch.Code {
		out.CurrentLeader, resp.Endpoints = c.a.newLeader(p.Topic, p.ID, out.Index, resp.Endpoints)
	}
	return out
}
