package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/broker/fetchsession"
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/tier/topic"
)

// Fetch 4-18, for consumers, with sessions (KIP-227), topic ids (KIP-516) and the new leader's address (KIP-951).
//
// Deliberate gaps: fetches of replicas are refused with NOT_LEADER_OR_FOLLOWER until there is replication; there is
// no preferred read replica, and, without transactions, no aborted transaction to list.
var fetchHandler = handler{1, 4, 18, (*API).fetch}

// fetchCall is one Fetch request on its way.
type fetchCall struct {
	a        *API
	reply    *wire.Reply
	version  int16
	readComm bool
	session  *fetchsession.Fetch
	names    []string // by partition: the topic's name, for the answer
	ids      []topic.ID
}

func (a *API) fetch(ctx context.Context, req *wire.Request, reply *wire.Reply) {
	r, err := req.Fetch()
	if err != nil {
		reply.Close(err)
		return
	}
	c := &fetchCall{a: a, reply: reply, version: req.Version, readComm: r.Isolation == 1}
	session, code := a.Sessions.Begin(sessionRequest(r, req.Version))
	if code != 0 {
		reply.Fetch(&wire.FetchResponse{ErrorCode: code})
		return
	}
	c.session = session
	maxBytes := min(int(r.MaxBytes), int(a.Configs.Values().FetchMaxBytes))
	q := partition.FetchRequest{
		MaxWait:    time.Duration(max(r.MaxWaitMs, 0)) * time.Millisecond,
		MinBytes:   min(int(r.MinBytes), maxBytes),
		MaxBytes:   max(maxBytes, 0),
		Partitions: make([]partition.FetchPartition, len(session.Partitions)),
	}
	c.names, c.ids = make([]string, len(session.Partitions)), make([]topic.ID, len(session.Partitions))
	for i, p := range session.Partitions {
		c.names[i], c.ids[i] = p.Topic, p.ID
		q.Partitions[i] = partition.FetchPartition{Offset: p.Offset, LeaderEpoch: p.LeaderEpoch,
			LastFetchedEpoch: p.LastFetchedEpoch, MaxBytes: int(max(p.MaxBytes, 0))}
		pt, err := a.partition(p.Topic, p.ID, p.Key.Partition, req.Version >= 13)
		if err == nil && r.ReplicaID >= 0 {
			err = kerr.NotLeaderForPartition
		}
		if err != nil {
			q.Partitions[i].Err = errCode(err)
			continue
		}
		q.Partitions[i].Partition = pt
	}
	a.Partitions.Fetch(ctx, q, c.done)
}

func errCode(err error) int16 { return code(err) }

// sessionRequest is what of a request the session cache is about.
func sessionRequest(r *wire.FetchRequest, version int16) fetchsession.Request {
	out := fetchsession.Request{ID: r.SessionID, Epoch: r.SessionEpoch, UsesIDs: version >= 13, Follower: r.ReplicaID >= 0}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, fetchsession.Partition{
				Key:    fetchsession.Key{Topic: t.Name, ID: t.ID, Partition: p.Index},
				Offset: p.Offset, LeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
				LogStart: p.LogStartOffset, MaxBytes: p.MaxBytes,
			})
		}
	}
	for _, t := range r.Forgotten {
		for _, p := range t.Partitions {
			out.Forgotten = append(out.Forgotten, fetchsession.Key{Topic: t.Name, ID: t.ID, Partition: p})
		}
	}
	return out
}

// done builds the answer from what was found: only what the session's client does not know yet.
func (c *fetchCall) done(results []partition.FetchResult, release func()) {
	outcomes := make([]fetchsession.Outcome, len(results))
	for i, r := range results {
		outcomes[i] = fetchsession.Outcome{Error: r.Error, Bytes: r.Bytes, HighWatermark: r.HighWatermark,
			LogStart: r.LogStart, Always: r.Diverging != nil}
	}
	id, include := c.session.Finish(outcomes)
	resp := &wire.FetchResponse{SessionID: id, Release: release}
	at := make(map[fetchsession.Key]int) // topic → its place in the answer; partitions of one topic need not be adjacent
	for i := range results {
		if !include[i] {
			continue
		}
		k := fetchsession.Key{Topic: c.names[i], ID: c.ids[i]}
		n, ok := at[k]
		if !ok {
			n = len(resp.Topics)
			at[k] = n
			resp.Topics = append(resp.Topics, wire.FetchTopicResponse{Name: k.Topic, ID: k.ID})
		}
		resp.Topics[n].Partitions = append(resp.Topics[n].Partitions, c.partition(resp, i, &results[i]))
	}
	c.reply.Fetch(resp)
}

func (c *fetchCall) partition(resp *wire.FetchResponse, i int, r *partition.FetchResult) wire.FetchPartitionResponse {
	out := wire.NewFetchPartition(c.session.Partitions[i].Key.Partition, r.Error)
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = r.HighWatermark, r.LastStable, r.LogStart
	out.Records = r.Regions
	out.AbortedKnown = c.readComm
	if r.Diverging != nil {
		out.DivergingEpoch = &wire.EpochEndOffset{Epoch: r.Diverging.Epoch, EndOffset: r.Diverging.Start}
	}
	if r.Error == kerr.NotLeaderForPartition.Code || r.Error == kerr.FencedLeaderEpoch.Code {
		out.CurrentLeader, resp.Endpoints = c.a.newLeader(c.names[i], c.ids[i], out.Index, resp.Endpoints)
	}
	return out
}
