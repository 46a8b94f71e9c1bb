package coord

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/tier/record"
)

// Request is one group request on its way to the shard that it belongs to.
type Request struct {
	Body   kmsg.Request // with topic names filled in; the shard's from now on
	Client group.Client
	// Reply is called exactly once, from any goroutine, and must not block for long.
	Reply func(kmsg.Response)
}

// Options of a Runtime. Open and Group.NewMemberSuffix are needed.
type Options struct {
	// Open gives the log of a partition of __consumer_offsets. kerr.NotCoordinator when this broker does not lead it,
	// other errors when it cannot be opened now.
	Open func(partition int32) (Log, error)
	// Group are the settings of every shard; see SetOptions.
	Group group.Options
	// Codec is how batches are compressed (offsets.topic.compression.codec).
	Codec record.Codec
	// Queue is how many requests of one shard may wait; 0: 1024.
	Queue int

	Logger *slog.Logger     // nil: slog.Default()
	Now    func() time.Time // nil: time.Now
}

// Runtime holds the shards of one broker. All methods may be called concurrently.
type Runtime struct {
	o       Options
	running sync.WaitGroup
	ctx     context.Context
	stop    context.CancelFunc

	mu     sync.Mutex
	shards map[int32]*runner // guarded by mu
	group  group.Options     // of shards that are started; guarded by mu
	closed bool              // guarded by mu
}

// New makes a Runtime without shards.
func New(o Options) *Runtime {
	if o.Queue <= 0 {
		o.Queue = 1024
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Runtime{o: o, group: o.Group, shards: map[int32]*runner{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Submit hands a request to the shard of a partition, loading it if need be. It does not block.
func (r *Runtime) Submit(partition int32, q Request) {
	s, err := r.shard(partition)
	if err != nil {
		q.Reply(Refuse(q.Body, codeOf(err)))
		return
	}
	if !s.offer(q) {
		q.Reply(Refuse(q.Body, kerr.CoordinatorLoadInProgress.Code))
	}
}

// Load begins to load a shard before anybody asks for it, so that its members' sessions and its offsets' retention
// count from now.
func (r *Runtime) Load(partition int32) error {
	_, err := r.shard(partition)
	return err
}

// TopicsDeleted makes every shard forget the offsets of topics that are gone.
func (r *Runtime) TopicsDeleted(topics []group.DeletedTopic) {
	for _, s := range r.all() {
		s.tell(topics)
	}
}

// SetOptions changes the settings of every shard, those that are started later included.
func (r *Runtime) SetOptions(o group.Options) {
	r.mu.Lock()
	if o.NewMemberSuffix == nil {
		o.NewMemberSuffix = r.group.NewMemberSuffix
	}
	r.group = o
	r.mu.Unlock()
	for _, s := range r.all() {
		s.retune(o)
	}
}

// Resign ends a shard: another broker leads its partition now. Whatever waits is answered NOT_COORDINATOR.
func (r *Runtime) Resign(partition int32) {
	r.mu.Lock()
	s := r.shards[partition]
	delete(r.shards, partition)
	r.mu.Unlock()
	if s != nil {
		s.stop()
		<-s.done
	}
}

// Close ends all shards.
func (r *Runtime) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.running.Wait()
}

// has reports whether a shard runs.
func (r *Runtime) has(partition int32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shards[partition] != nil
}

func (r *Runtime) all() []*runner {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ss []*runner
	for _, s := range r.shards {
		ss = append(ss, s)
	}
	return ss
}

// shard finds a partition's runner, or starts one.
func (r *Runtime) shard(partition int32) (*runner, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, kerr.CoordinatorNotAvailable
	}
	if s := r.shards[partition]; s != nil {
		return s, nil
	}
	ctx, cancel := context.WithCancel(r.ctx)
	s := &runner{
		r: r, partition: partition, ctx: ctx, stop: cancel, done: make(chan struct{}),
		inbox: make(chan Request, r.o.Queue), news: make(chan struct{}, 1),
		shard: group.New(r.group), timers: newTimers(), waiting: map[group.Token]Request{},
		log: r.o.Logger.With("coordinator", fmt.Sprintf("__consumer_offsets-%d", partition)),
	}
	r.shards[partition] = s
	r.running.Add(1)
	go func() {
		defer r.running.Done()
		defer close(s.done)
		s.run()
	}()
	return s, nil
}

// drop takes a runner that gave up off the list, so that the next request starts anew.
func (r *Runtime) drop(s *runner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shards[s.partition] == s {
		delete(r.shards, s.partition)
	}
}

// errStopped ends a runner without a complaint.
var errStopped = errors.New("stopped")
