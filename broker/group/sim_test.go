package group

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sim is a runtime around one shard that lives in a test: a log in memory with a high watermark that lags, a
// clock that only it moves, timers in a map, and a choice of everything from one seed.
type sim struct {
	t    testing.TB
	seed uint64
	rnd  *rand.Rand
	now  int64
	opts Options

	shard    *Shard
	log      []Record
	hw       int // records that are committed
	inflight []flight
	timers   map[TimerKey]int64
	failNext int16 // code for the next append, 0 for none

	tokens  Token
	waiting map[Token]func(kmsg.Response)
	lives   int // incremented by every restart of the coordinator
	ids     int
	trace   []string

	check func() // after every step
}

type flight struct {
	id WriteID
	at int // log length that must be committed
}

func newSim(t testing.TB, seed uint64, tune func(*Options)) *sim {
	s := &sim{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 17)), now: 1_000_000,
		timers: map[TimerKey]int64{}, waiting: map[Token]func(kmsg.Response){}, check: func() {}}
	s.opts = DefaultOptions()
	s.opts.NewMemberSuffix = func() string { s.ids++; return fmt.Sprintf("id%d", s.ids) }
	if tune != nil {
		tune(&s.opts)
	}
	s.shard = New(s.opts)
	s.do(s.shard.Start(s.now))
	return s
}

func (s *sim) tracef(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf("%d ", s.now)+fmt.Sprintf(format, args...))
}

func (s *sim) fatalf(format string, args ...any) {
	s.t.Helper()
	for _, l := range s.trace[max(0, len(s.trace)-60):] {
		s.t.Log(l)
	}
	s.t.Fatalf("seed %d: %s", s.seed, fmt.Sprintf(format, args...))
}

// call gives a request to the shard and remembers who wants the reply.
func (s *sim) call(reply func(kmsg.Response), step func(Token) Outcome) {
	s.tokens++
	t := s.tokens
	s.waiting[t] = reply
	s.do(step(t))
}

// do carries an outcome out, as the package's contract says.
func (s *sim) do(out Outcome) {
	for _, tm := range out.Timers {
		if tm.Cancel {
			delete(s.timers, tm.Key)
		} else {
			s.timers[tm.Key] = tm.At
		}
	}
	failed := int16(0)
	if out.Write != 0 {
		if len(out.Records) > 0 && s.failNext != 0 {
			failed, s.failNext = s.failNext, 0
		} else {
			for _, r := range out.Records {
				s.log = append(s.log, r)
				if err := s.shard.Replay(r); err != nil {
					s.fatalf("replay of an own record: %v", err)
				}
			}
			s.inflight = append(s.inflight, flight{out.Write, len(s.log)})
		}
	} else if len(out.Records) > 0 {
		s.fatalf("records without a write")
	}
	for _, r := range out.Replies {
		fn, ok := s.waiting[r.Token]
		if !ok {
			s.fatalf("token %d answered twice, or never asked: %T %+v", r.Token, r.Response, r.Response)
		}
		delete(s.waiting, r.Token)
		fn(r.Response)
	}
	s.check()
	if failed != 0 {
		s.tracef("append of write %d fails with %d", out.Write, failed)
		s.do(s.shard.Done(s.now, out.Write, failed))
	}
}

// commit moves the high watermark over n more records and ends the writes below it.
func (s *sim) commit(n int) {
	s.hw = min(s.hw+n, len(s.log))
	for len(s.inflight) > 0 && s.inflight[0].at <= s.hw {
		f := s.inflight[0]
		s.inflight = s.inflight[1:]
		s.do(s.shard.Done(s.now, f.id, 0))
	}
}

func (s *sim) commitAll() {
	for s.hw < len(s.log) || len(s.inflight) > 0 {
		s.commit(len(s.log))
	}
}

// giveUp ends the oldest write as timed out; its records stay and may be committed later.
func (s *sim) giveUp() {
	if len(s.inflight) == 0 {
		return
	}
	f := s.inflight[0]
	s.inflight = s.inflight[1:]
	s.tracef("write %d times out", f.id)
	s.do(s.shard.Done(s.now, f.id, kerr.RequestTimedOut.Code))
}

// pass lets time go by, firing what is due in order.
func (s *sim) pass(ms int64) {
	end := s.now + ms
	for {
		var next TimerKey
		at := end + 1
		for k, t := range s.timers {
			if t < at || t == at && at <= end && cmp.Compare(fmt.Sprint(k), fmt.Sprint(next)) < 0 {
				next, at = k, t
			}
		}
		if at > end {
			break
		}
		s.now = max(s.now, at)
		delete(s.timers, next)
		s.tracef("timer %v", next)
		s.do(s.shard.Fire(s.now, next))
	}
	s.now = end
}

// restart replaces the coordinator by another that loads the log. What was not committed may be lost, in part.
func (s *sim) restart() {
	s.lives++
	keep := s.hw + s.rnd.IntN(len(s.log)-s.hw+1)
	s.tracef("restart, keeping %d of %d records, %d committed", keep, len(s.log), s.hw)
	out := s.shard.Unload(s.now)
	for _, r := range out.Replies {
		fn, ok := s.waiting[r.Token]
		if !ok {
			s.fatalf("token %d answered twice by unload", r.Token)
		}
		delete(s.waiting, r.Token)
		fn(r.Response)
	}
	if len(s.waiting) != 0 {
		s.fatalf("%d requests not answered by unload", len(s.waiting))
	}
	s.log = s.log[:keep]
	s.hw = keep
	s.inflight = nil
	clear(s.timers)
	s.shard = s.load(s.log)
	s.do(s.shard.Start(s.now))
}

func (s *sim) load(log []Record) *Shard {
	sh := New(s.opts)
	for i, r := range log {
		if err := sh.Replay(r); err != nil {
			s.fatalf("record %d: %v", i, err)
		}
	}
	return sh
}

// compacted is what the cleaner would leave of the log.
func compacted(log []Record) []Record {
	last := map[string]int{}
	for i, r := range log {
		last[string(r.Key)] = i
	}
	var out []Record
	for i, r := range log {
		if last[string(r.Key)] == i {
			out = append(out, r)
		}
	}
	return out
}

// checkReplay says whether the log, compacted or not, gives the durable state that the live shard has.
func (s *sim) checkReplay() {
	for _, log := range [][]Record{s.log, compacted(s.log)} {
		sh := s.load(log)
		if !reflect.DeepEqual(sh.stored, s.shard.stored) || !reflect.DeepEqual(sh.offsets, s.shard.offsets) {
			s.fatalf("replaying %d records gives another durable state", len(log))
		}
	}
}

// checkShard looks at the invariants of the machine itself.
func (s *sim) checkShard() {
	for id, g := range s.shard.groups {
		if err := checkGroup(g); err != nil {
			s.fatalf("group %s: %v", id, err)
		}
		if g.state == stateStable && len(s.shard.writes) == 0 && s.failNext == 0 && len(s.inflight) == 0 {
			if err := checkStored(g, s.shard.stored[id]); err != nil {
				s.fatalf("group %s is stable but its record differs: %v", id, err)
			}
		}
	}
}

func checkGroup(g *group) error {
	waiting := 0
	for _, m := range g.order {
		if g.members[m.id] != m {
			return fmt.Errorf("member %s is listed but not known", m.id)
		}
		if m.join != 0 {
			waiting++
		}
		if m.instance != nil && g.static[*m.instance] != m.id {
			return fmt.Errorf("instance %s is not mapped to %s", *m.instance, m.id)
		}
		if g.pending[m.id] {
			return fmt.Errorf("member %s is pending", m.id)
		}
		if m.sync != 0 && g.state != stateCompleting {
			return fmt.Errorf("member %s waits for a sync in state %v", m.id, g.state)
		}
	}
	switch {
	case len(g.order) != len(g.members):
		return fmt.Errorf("%d members listed, %d known", len(g.order), len(g.members))
	case waiting != g.waiting:
		return fmt.Errorf("%d wait for a join, counted %d", waiting, g.waiting)
	case len(g.members) > 0 && g.members[g.leader] == nil:
		return fmt.Errorf("leader %q is no member", g.leader)
	case g.state == stateEmpty && len(g.members) > 0:
		return fmt.Errorf("empty with %d members", len(g.members))
	case (g.state == stateStable || g.state == stateCompleting) && len(g.members) == 0:
		return fmt.Errorf("%v without members", g.state)
	}
	return nil
}

func checkStored(g *group, raw []byte) error {
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(raw); err != nil {
		return err
	}
	if v.Generation != g.generation || v.Leader == nil || *v.Leader != g.leader || v.Protocol == nil || *v.Protocol != g.protocol {
		return fmt.Errorf("record %d %v %v, live %d %s %s", v.Generation, v.Leader, v.Protocol, g.generation, g.leader, g.protocol)
	}
	if len(v.Members) != len(g.members) {
		return fmt.Errorf("record has %d members, live %d", len(v.Members), len(g.members))
	}
	for _, vm := range v.Members {
		m := g.members[vm.MemberID]
		if m == nil || string(m.assignment) != string(vm.Assignment) {
			return fmt.Errorf("member %s of the record", vm.MemberID)
		}
	}
	return nil
}

func sortedKeys[M ~map[K]V, K cmp.Ordered, V any](m M) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
