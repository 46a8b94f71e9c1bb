package coord

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/group"
)

// ended is a write whose end is known.
type ended struct {
	id   group.WriteID
	code int16
}

// runner owns one shard: everything below but the fields that say otherwise is touched by its goroutine alone.
type runner struct {
	r         *Runtime
	partition int32
	log       *slog.Logger
	ctx       context.Context
	stop      context.CancelFunc
	done      chan struct{} // closed when the goroutine has ended
	inbox     chan Request
	news      chan struct{} // capacity 1: writes has something

	shard   *group.Shard
	file    Log
	timers  *timers
	waiting map[group.Token]Request // requests whose reply is owed
	token   group.Token
	end     int64 // offset after the last append

	mu     sync.Mutex
	ended  bool                 // guarded by mu; nobody reads the inbox any more
	writes []ended              // guarded by mu; as many as there are writes under way at most
	gone   []group.DeletedTopic // guarded by mu; news from the metadata, few and never refused
	tuned  *group.Options       // guarded by mu; the newest settings, if they are news
}

// offer puts a request into the queue; false when it is full or nobody will read it any more.
func (s *runner) offer(q Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	select {
	case s.inbox <- q:
		return true
	default:
		return false
	}
}

// tell passes on news that must not be lost.
func (s *runner) tell(gone []group.DeletedTopic) {
	s.mu.Lock()
	s.gone = append(s.gone, gone...)
	s.mu.Unlock()
	s.poke()
}

// retune passes on new settings.
func (s *runner) retune(o group.Options) {
	s.mu.Lock()
	s.tuned = &o
	s.mu.Unlock()
	s.poke()
}

func (s *runner) poke() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// written is called, by whoever moves the high watermark, when a write's end is known.
func (s *runner) written(id group.WriteID, code int16) {
	s.mu.Lock()
	s.writes = append(s.writes, ended{id, code})
	s.mu.Unlock()
	s.poke()
}

func (s *runner) now() int64 { return s.r.o.Now().UnixMilli() }

func (s *runner) run() {
	err := s.load()
	if err == nil {
		err = s.serve()
	}
	code := kerr.NotCoordinator.Code
	if !errors.Is(err, errStopped) {
		code = codeOf(err)
		if code != kerr.NotCoordinator.Code {
			s.log.Error("the coordinator of a partition gave up; the next request starts it again", "error", err)
			code = kerr.CoordinatorNotAvailable.Code
		}
	}
	s.r.drop(s)
	s.replies(s.shard.Unload(s.now()).Replies)
	for token, q := range s.waiting { // none, unless the shard broke its promise
		delete(s.waiting, token)
		q.Reply(Refuse(q.Body, code))
	}
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.refuseAll(code)
}

// refuseAll empties the queue.
func (s *runner) refuseAll(code int16) {
	for {
		select {
		case q := <-s.inbox:
			q.Reply(Refuse(q.Body, code))
		default:
			return
		}
	}
}

// load reads the log into the shard. Requests wait in the queue meanwhile.
func (s *runner) load() error {
	file, err := s.r.o.Open(s.partition)
	if err != nil {
		return err
	}
	s.file = file
	// Records above the high watermark may be there and become committed later: they belong to a former life of this
	// coordinator, whose clients may have been told of none of them, or will repeat what they asked.
	if err := s.settle(); err != nil {
		return err
	}
	err = load(file, s.shard.Replay, func(offset int64, err error) {
		if !errors.Is(err, group.ErrUnknownRecord) {
			s.log.Warn("a record cannot be read and is passed over", "offset", offset, "error", err)
		}
	})
	if err != nil {
		return err
	}
	s.end = file.HighWatermark()
	s.act(s.shard.Start(s.now()))
	return nil
}

// settle waits until all that is in the log is committed, so that loading sees it.
func (s *runner) settle() error {
	settled := make(chan int16, 1)
	s.file.Await(s.file.End(), func(code int16) { settled <- code })
	select {
	case code := <-settled:
		if code != 0 {
			return kerr.TypedErrorForCode(code)
		}
		return nil
	case <-s.ctx.Done():
		return errStopped
	}
}

func (s *runner) serve() error {
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		s.fire()
		wait := time.Hour
		if at, ok := s.timers.next(); ok {
			wait = time.Duration(max(0, at-s.now())) * time.Millisecond
		}
		alarm.Reset(wait)
		select {
		case <-s.ctx.Done():
			return errStopped
		case <-s.news:
			s.hear()
		case q := <-s.inbox:
			s.request(q)
		case <-alarm.C:
		}
	}
}

func (s *runner) fire() {
	for {
		key, ok := s.timers.pop(s.now())
		if !ok {
			return
		}
		s.act(s.shard.Fire(s.now(), key))
	}
}

// hear takes what others left: ends of writes, and news.
func (s *runner) hear() {
	s.mu.Lock()
	writes, gone, tuned := s.writes, s.gone, s.tuned
	s.writes, s.gone, s.tuned = nil, nil, nil
	s.mu.Unlock()
	if tuned != nil {
		s.act(s.shard.SetOptions(s.now(), *tuned))
	}
	for _, w := range writes {
		s.act(s.shard.Done(s.now(), w.id, w.code))
	}
	if len(gone) > 0 {
		s.act(s.shard.TopicsDeleted(s.now(), gone))
	}
}

func (s *runner) request(q Request) {
	s.token++
	s.waiting[s.token] = q
	s.act(s.step(s.token, q))
}

// step asks the shard.
func (s *runner) step(t group.Token, q Request) group.Outcome {
	now := s.now()
	switch b := q.Body.(type) {
	case *kmsg.JoinGroupRequest:
		return s.shard.JoinGroup(now, t, q.Client, b)
	case *kmsg.SyncGroupRequest:
		return s.shard.SyncGroup(now, t, b)
	case *kmsg.HeartbeatRequest:
		return s.shard.Heartbeat(now, t, b)
	case *kmsg.LeaveGroupRequest:
		return s.shard.LeaveGroup(now, t, b)
	case *kmsg.OffsetCommitRequest:
		return s.shard.OffsetCommit(now, t, b)
	case *kmsg.OffsetFetchRequest:
		return s.shard.OffsetFetch(now, t, b)
	case *kmsg.OffsetDeleteRequest:
		return s.shard.OffsetDelete(now, t, b)
	case *kmsg.DescribeGroupsRequest:
		return s.shard.DescribeGroups(now, t, b)
	case *kmsg.ListGroupsRequest:
		return s.shard.ListGroups(now, t, b)
	case *kmsg.DeleteGroupsRequest:
		return s.shard.DeleteGroups(now, t, b)
	}
	return group.Outcome{Replies: []group.Reply{{Token: t, Response: Refuse(q.Body, kerr.InvalidRequest.Code)}}}
}

// act does what the shard asks for.
func (s *runner) act(out group.Outcome) {
	s.timers.apply(out.Timers)
	s.replies(out.Replies)
	if out.Write == 0 {
		return
	}
	if err := s.append(out); err != nil {
		s.act(s.shard.Done(s.now(), out.Write, codeOf(err)))
		return
	}
	id := out.Write
	s.file.Await(s.end, func(code int16) { s.written(id, code) })
}

// append writes the records and replays each batch that went in: the one way to durable state.
func (s *runner) append(out group.Outcome) error {
	if len(out.Records) == 0 {
		return nil
	}
	rest := out.Records
	for _, b := range batches(s.r.o.Codec, out.Records, s.now(), s.file.MaxBatchBytes(), out.Split) {
		next, err := s.file.Append(b.bytes)
		if err != nil {
			return err
		}
		s.end = next
		for _, r := range rest[:b.records] {
			if err := s.shard.Replay(r); err != nil {
				s.log.Error("the shard cannot read its own record", "error", err) // a bug: decide and replay disagree
			}
		}
		rest = rest[b.records:]
	}
	return nil
}

func (s *runner) replies(rs []group.Reply) {
	for _, r := range rs {
		q, ok := s.waiting[r.Token]
		if !ok {
			continue
		}
		delete(s.waiting, r.Token)
		q.Reply(r.Response)
	}
}
