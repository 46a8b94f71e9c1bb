package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Shard is the coordinator of the groups in one partition of __consumer_offsets. It is not safe for concurrent use:
// it belongs to one goroutine. Requests belong to the shard once given, but the bytes fields in them only until the
// call returns: what is kept of them, and of a record that is replayed, is copied.
type Shard struct {
	o Options

	// Durable; written by Replay alone.
	stored  map[string][]byte // a group's last metadata record, its value
	offsets map[string]groupOffsets

	// Live.
	started bool
	groups  map[string]*group
	writes  map[WriteID][]write
	timers  map[TimerKey]int64
	lastID  WriteID

	// The step that runs.
	now int64
	out Outcome
}

// groupOffsets is what a group has committed, by topic and partition.
type groupOffsets map[string]map[int32]*Offset

// New returns an empty shard that expects [Shard.Replay] for each record of its partition and then [Shard.Start].
// It panics without Options.NewMemberSuffix, which only a programmer can forget.
func New(o Options) *Shard {
	if o.NewMemberSuffix == nil {
		panic("group: Options.NewMemberSuffix is not set")
	}
	return &Shard{o: o, stored: map[string][]byte{}, offsets: map[string]groupOffsets{}, groups: map[string]*group{},
		writes: map[WriteID][]write{}, timers: map[TimerKey]int64{}}
}

// SetOptions changes the settings. Rebalances and sessions under way go on under the old ones; the next look for expired
// offsets is set anew when its interval has changed. NewMemberSuffix is kept if the new options have none.
func (s *Shard) SetOptions(now int64, o Options) Outcome {
	s.begin(now)
	if o.NewMemberSuffix == nil {
		o.NewMemberSuffix = s.o.NewMemberSuffix
	}
	other := o.RetentionCheckInterval != s.o.RetentionCheckInterval
	s.o = o
	if _, started := s.timers[TimerKey{Kind: TimerExpiry}]; started && other {
		s.set(TimerKey{Kind: TimerExpiry}, o.RetentionCheckInterval)
	}
	return s.end()
}

// begin starts a step at now, in ms since the epoch.
func (s *Shard) begin(now int64) { s.now, s.out = now, Outcome{} }

// end gives what the step asks for.
func (s *Shard) end() Outcome {
	out := s.out
	s.out = Outcome{}
	return out
}

// reply answers a token now.
func (s *Shard) reply(t Token, r kmsg.Response) {
	if t != 0 {
		s.out.Replies = append(s.out.Replies, Reply{Token: t, Response: r})
	}
}

// store appends records and registers what is to be done when they are committed. A step stores at most once:
// Kafka's steps do, and Outcome has one Write.
func (s *Shard) store(w write, records ...Record) WriteID {
	s.out.Records = append(s.out.Records, records...)
	if s.out.Write == 0 {
		s.lastID++
		s.out.Write = s.lastID
	}
	if w != nil {
		s.writes[s.out.Write] = append(s.writes[s.out.Write], w)
	}
	return s.out.Write
}

// set starts or moves a timer.
func (s *Shard) set(k TimerKey, after int64) {
	at := s.now + after
	s.timers[k] = at
	s.out.Timers = append(s.out.Timers, Timer{Key: k, At: at})
}

func (s *Shard) cancel(k TimerKey) {
	if _, ok := s.timers[k]; ok {
		delete(s.timers, k)
		s.out.Timers = append(s.out.Timers, Timer{Key: k, Cancel: true})
	}
}

func sessionKey(g *group, memberID string) TimerKey {
	return TimerKey{Kind: TimerSession, Group: g.id, Member: memberID}
}

func joinKey(g *group) TimerKey { return TimerKey{Kind: TimerJoin, Group: g.id} }
func syncKey(g *group) TimerKey { return TimerKey{Kind: TimerSync, Group: g.id} }

// touch starts a member's session anew.
func (s *Shard) touch(g *group, m *member) { s.set(sessionKey(g, m.id), int64(m.sessionTimeout)) }

// Fire is called when a timer is due. A timer that was cancelled or moved in the meantime does nothing, so the
// runtime may be careless about races.
func (s *Shard) Fire(now int64, k TimerKey) Outcome {
	s.begin(now)
	at, ok := s.timers[k]
	if !ok || now < at {
		return s.end()
	}
	delete(s.timers, k)
	if k.Kind == TimerExpiry {
		s.expire()
		return s.end()
	}
	g := s.groups[k.Group]
	if g == nil {
		return s.end()
	}
	switch k.Kind {
	case TimerSession:
		s.sessionExpired(g, k.Member)
	case TimerJoin:
		s.joinExpired(g)
	case TimerSync:
		s.syncExpired(g)
	}
	return s.end()
}

// Done tells how a write ended: 0 when it is committed, else Kafka's code of what went wrong with the append or
// the wait. An id that is not under way is ignored.
func (s *Shard) Done(now int64, id WriteID, code int16) Outcome {
	s.begin(now)
	ws := s.writes[id]
	delete(s.writes, id)
	for _, w := range ws {
		w.done(s, appendError(code))
	}
	return s.end()
}

// Unload answers everything that waits with NOT_COORDINATOR and ends the shard's life: the partition has another
// leader, or the broker stops. The shard must not be used again.
func (s *Shard) Unload(now int64) Outcome {
	s.begin(now)
	code := kerr.NotCoordinator.Code
	for _, id := range slices.Sorted(maps.Keys(s.groups)) {
		for _, m := range s.groups[id].order {
			s.answerJoin(s.groups[id], m, joinError(m.joinVersion, m.id, code))
			s.answerSync(m, syncError(m.syncVersion, code))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.writes)) {
		for _, w := range s.writes[id] {
			if r, ok := w.(*writeReply); ok {
				r.done(s, code)
			}
		}
	}
	s.groups, s.writes, s.timers = map[string]*group{}, map[WriteID][]write{}, map[TimerKey]int64{}
	out := s.end()
	return Outcome{Replies: out.Replies}
}

// Groups is the number of groups.
func (s *Shard) Groups() int { return len(s.groups) }

// Offsets is the number of committed offsets.
func (s *Shard) Offsets() int {
	n := 0
	for _, ts := range s.offsets {
		for _, ps := range ts {
			n += len(ps)
		}
	}
	return n
}

// appendError translates what went wrong with an append into what a member understands (Kafka's
// appendGroupMetadataErrorToResponseError).
func appendError(code int16) int16 {
	switch code {
	case kerr.UnknownTopicOrPartition.Code, kerr.NotEnoughReplicas.Code, kerr.NotEnoughReplicasAfterAppend.Code,
		kerr.RequestTimedOut.Code:
		return kerr.CoordinatorNotAvailable.Code
	case kerr.NotLeaderForPartition.Code, kerr.KafkaStorageError.Code:
		return kerr.NotCoordinator.Code
	case kerr.MessageTooLarge.Code, kerr.RecordListTooLarge.Code, kerr.InvalidFetchSize.Code:
		return kerr.UnknownServerError.Code
	}
	return code
}
