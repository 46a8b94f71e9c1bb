package diff

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pace is how long a run waits for what it cannot see: whether a request was taken in that is not answered yet.
type pace struct {
	settle time.Duration // after a request that may wait for others, before the next is sent
	agree  time.Duration // for the other broker, once one has answered; and for readers that lag behind what was changed
	made   time.Duration // until both brokers have the same topics
}

var (
	swift  = pace{10 * time.Millisecond, 4 * time.Second, 20 * time.Second}
	steady = pace{60 * time.Millisecond, 5 * time.Second, 20 * time.Second}
)

// side is one broker in one run of a program.
type side struct {
	addr  string
	names *names
	conns map[int]*conn
	probe *conn           // for what the runner itself wants to know, nil until then
	out   map[int]*answer // what has not been collected, by actor
}

// answer is what comes back to one request.
type answer struct {
	step int
	done chan struct{}
	tree any // set before done is closed
	resp kmsg.Response
}

// notLeader tells whether a lone broker says that it does not lead a partition: Kafka does until its log is open.
func (a *answer) notLeader() bool {
	p, ok := a.resp.(*kmsg.ProduceResponse)
	if !ok {
		return false
	}
	for _, t := range p.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == kerr.NotLeaderForPartition.Code {
				return true
			}
		}
	}
	return false
}

func newSide(addr, prefix string) *side {
	return &side{addr: addr, names: newNames(prefix), conns: map[int]*conn{}, out: map[int]*answer{}}
}

func (s *side) close() {
	for _, c := range s.conns {
		_ = c.Close()
	}
	if s.probe != nil {
		_ = s.probe.Close()
	}
}

// send begins a request. A broker that closes the connection has answered too.
func (s *side) send(index int, st step) *answer {
	a := &answer{step: index, done: make(chan struct{})}
	s.out[st.actor] = a
	req, err := s.names.fill(st)
	if err != nil {
		panic(err) // the generator made what kmsg cannot read back
	}
	c := s.conns[st.actor]
	if c == nil {
		if c, err = dial(s.addr); err != nil {
			a.tree = "no connection"
			close(a.done)
			return a
		}
		s.conns[st.actor] = c
	}
	go func() {
		defer close(a.done)
		if a.resp, err = c.ask(req, patience); err != nil {
			a.resp, a.tree = nil, "connection closed"
			if ne, ok := err.(interface{ Timeout() bool }); ok && ne.Timeout() {
				a.tree = "no answer"
			}
			_ = c.Close()
		}
	}()
	return a
}

// take uses an answer that has come.
func (s *side) take(st step) any {
	a := s.out[st.actor]
	delete(s.out, st.actor)
	if a.resp == nil {
		delete(s.conns, st.actor)
		return a.tree
	}
	s.names.learn(st, a.resp)
	return s.names.normal(st, a.resp)
}

// run is one run of a program against both brokers.
type run struct {
	program     program
	kafka, firn *side
	pace        pace
	listed      *listed
	stopped     bool // after a difference that what follows cannot be compared beyond
	found       []found
	trace       func(format string, args ...any)
}

// found is a difference that is not listed.
type found struct {
	step int
	difference
}

// runs numbers the runs of this process, each with names of its own.
var runs atomic.Int64

// play runs a program and returns the differences that are not listed.
func (b *brokers) play(p program, at pace, trace func(string, ...any)) []found {
	prefix := fmt.Sprintf("r%06d-", runs.Add(1))
	r := &run{program: p, pace: at, listed: b.listed, trace: trace, kafka: newSide(b.kafka, prefix), firn: newSide(b.firn, prefix)}
	if p.own != "" {
		b.shared[p.own].Lock()
		defer b.shared[p.own].Unlock()
	}
	for _, s := range []*side{r.kafka, r.firn} {
		s.names.sharedOwn, s.names.logDir = p.own, b.logDirs[s.addr]
	}
	defer r.kafka.close()
	defer r.firn.close()
	for i, st := range p.steps {
		if r.stopped {
			break
		}
		r.step(i, st)
	}
	r.collectAll()
	r.cleanUp()
	return r.found
}

func (r *run) step(i int, st step) {
	if st.req == nil {
		r.collectAll()
		return
	}
	r.collect(st.actor)
	if r.stopped {
		return
	}
	join := r.joining(st)
	k, f := r.kafka.send(i, st), r.firn.send(i, st)
	if st.parks() && !r.soon(k, f) {
		join.wait(r.pace.agree)
		return
	}
	r.collect(st.actor)
	r.settle(st)
}

// soon waits a moment for answers that may take until other members have done their part, and tells whether they came.
// Either broker's answer means that the other's must come too.
func (r *run) soon(k, f *answer) bool {
	wait := time.NewTimer(r.pace.settle)
	defer wait.Stop()
	select {
	case <-k.done:
	case <-f.done:
	case <-wait.C:
		return false
	}
	wait.Reset(r.pace.agree)
	for _, a := range []*answer{k, f} {
		select {
		case <-a.done:
		case <-wait.C:
			unlisted, _ := r.listed.judge([]difference{{r.program.steps[a.step].call() + " ", answered(k), answered(f)}})
			for _, d := range unlisted {
				r.found = append(r.found, found{a.step, d})
			}
			r.stopped = true
			return false
		}
	}
	return true
}

func answered(a *answer) string {
	select {
	case <-a.done:
		return "answers"
	default:
		return "waits"
	}
}

// collect waits for an actor's answers and compares them.
func (r *run) collect(actor int) {
	k, f := r.kafka.out[actor], r.firn.out[actor]
	if k == nil || r.stopped {
		return
	}
	<-k.done
	<-f.done
	st := r.program.steps[k.step]
	for end := time.Now().Add(r.pace.agree); k.notLeader() && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		k = r.kafka.send(k.step, st)
		<-k.done
	}
	kt, ft := r.kafka.take(st), r.firn.take(st)
	if r.trace != nil {
		r.trace("%2d  %s\n      kafka %s\n      firn  %s", k.step, st, show(kt), show(ft))
	}
	diffs := compare(st.call()+" ", kt, ft)
	if st.reads() && r.unlisted(diffs) {
		diffs = r.again(st, diffs)
	}
	unlisted, stops := r.listed.judge(diffs)
	for _, d := range unlisted {
		r.found = append(r.found, found{k.step, d})
	}
	r.stopped = r.stopped || stops || len(unlisted) > 0 // what follows from the first difference is not told
}

// again sends a request that changes nothing until the answers agree: both brokers, Kafka above all, take a moment
// until readers see what was changed.
func (r *run) again(st step, diffs []difference) []difference {
	for end := time.Now().Add(r.pace.agree); r.unlisted(diffs) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		<-r.kafka.send(0, st).done
		<-r.firn.send(0, st).done
		diffs = compare(st.call()+" ", r.kafka.take(st), r.firn.take(st))
	}
	return diffs
}

func (r *run) unlisted(diffs []difference) bool {
	return slices.ContainsFunc(diffs, func(d difference) bool { return r.listed.find(d, diffs) == nil })
}

// collectAll waits for all answers. It learns from all of them before it compares any: one may name what another gives.
func (r *run) collectAll() {
	actors := slices.Sorted(maps.Keys(r.kafka.out))
	for _, actor := range actors {
		for _, s := range []*side{r.kafka, r.firn} {
			a := s.out[actor]
			if <-a.done; a.resp != nil {
				s.names.learn(r.program.steps[a.step], a.resp)
			}
		}
	}
	for _, actor := range actors {
		if !r.stopped {
			r.collect(actor)
		}
	}
}

// cleanUp deletes the program's topics, so that the brokers do not grow, and what it made of a config that all share.
func (r *run) cleanUp() {
	r.restore()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	for i := range 4 {
		req.TopicNames = append(req.TopicNames, fmt.Sprintf("~t%d", i))
	}
	req.SetVersion(4)
	st := step{actor: -1, req: req}
	k, f := r.kafka.send(0, st), r.firn.send(0, st)
	<-k.done
	<-f.done
}

func (r *run) restore() {
	if r.program.own == "" {
		return
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, name := range []string{"", "1"} {
		res := kmsg.NewIncrementalAlterConfigsRequestResource()
		res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeBroker, name
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op = r.program.own, kmsg.IncrementalAlterConfigOpDelete
		res.Configs = append(res.Configs, c)
		req.Resources = append(req.Resources, res)
	}
	st := step{actor: -2, req: req}
	k, f := r.kafka.send(0, st), r.firn.send(0, st)
	<-k.done
	<-f.done
	time.Sleep(r.pace.settle) // for the next that has it
}
