package group

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const modelPartitions = 6

// world is the groups' clients and what may be expected of the coordinator.
type world struct {
	*sim
	clients []*consumer
	owners  map[string]string // incarnation/group/generation/partition → who was told that it owns it
	leaders map[string]string // life/incarnation/group/generation → protocol that members were told
	reborn  map[string]int    // by group: how often it was deleted
	acked   map[string]int64  // by group/partition: the highest commit that was acknowledged
	resets  map[string]int    // by group/partition: how often its offset was taken away or set by an administrator
	stored  map[string]int64  // by group/partition: what the shard holds, to see it never go back
	life    int               // of stored
	seen    int               // records of the log that were looked at
}

// consumer is one client process. What it waits for is forgotten when epoch moves on.
type consumer struct {
	w        *world
	name     string
	group    string
	instance *string
	version  int16

	epoch  int
	busy   bool
	step   string // "join", "sync" or "stable"
	id     string
	gen    int32
	assign []kmsg.SyncGroupRequestGroupAssignment
	others []kmsg.JoinGroupResponseMember
	owned  []int32
	pos    map[int32]int64

	stableGen int32
	oldGen    int32 // what it owned before, and where it was: a zombie goes on from there
	oldPos    map[int32]int64
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{owners: map[string]string{}, leaders: map[string]string{}, reborn: map[string]int{},
		acked: map[string]int64{}, resets: map[string]int{}, stored: map[string]int64{}}
	w.sim = newSim(t, seed, func(o *Options) {
		o.Retention = 10 * 60 * 1000
		o.RetentionCheckInterval = 60 * 1000
		if seed%5 == 0 {
			o.MaxSize = 3
		}
	})
	w.check = func() { w.observe(); w.checkShard() }
	for i := range 2 + w.rnd.IntN(6) {
		c := &consumer{w: w, name: fmt.Sprintf("c%d", i), group: "g" + strconv.Itoa(w.rnd.IntN(2)), step: "join"}
		c.version = []int16{3, 5, 6, 9}[w.rnd.IntN(4)]
		if c.version >= 5 && w.rnd.IntN(3) == 0 {
			c.instance = kmsg.StringPtr("static-" + c.name)
		}
		w.clients = append(w.clients, c)
	}
	return w
}

// observe looks at new records and at the offsets, after each step.
func (w *world) observe() {
	if w.life != w.lives {
		w.life, w.seen, w.stored, w.reborn = w.lives, len(w.log), map[string]int64{}, map[string]int{}
		for _, r := range w.log { // a deletion that was lost did not happen
			if d, err := decode(r); err == nil && d.kind == keyGroup && d.metadata == nil {
				w.reborn[d.group]++
			}
		}
	}
	for ; w.seen < len(w.log); w.seen++ {
		d, err := decode(w.log[w.seen])
		if err != nil {
			w.fatalf("own record: %v", err)
		}
		switch {
		case d.kind == keyGroup && d.metadata == nil:
			w.reborn[d.group]++
		case d.kind == keyOffset && d.offset == nil:
			k := fmt.Sprint(d.group, "/", d.partition)
			w.resets[k]++
			delete(w.acked, k)
			delete(w.stored, k)
		case d.kind == keyOffset:
			k := fmt.Sprint(d.group, "/", d.partition)
			if d.offset.Metadata == "reset" {
				w.resets[k]++
				delete(w.acked, k)
			} else if was, ok := w.stored[k]; ok && d.offset.Offset < was {
				w.fatalf("offset of %s goes back from %d to %d", k, was, d.offset.Offset)
			}
			w.stored[k] = d.offset.Offset
		}
	}
}

// moved makes the client forget what it waits for.
func (c *consumer) moved(step string) {
	c.epoch++
	c.busy, c.step = false, step
}

func (c *consumer) send(reply func(kmsg.Response), step func(Token) Outcome) {
	c.busy = true
	epoch, gen := c.epoch, c.gen
	c.w.call(func(r kmsg.Response) {
		if c.epoch != epoch {
			reply = func(kmsg.Response) {}
		} else {
			c.busy = false
		}
		c.w.judge(c, gen, r)
		reply(r)
	}, step)
}

// judge checks what any client is told, also one that no longer listens.
func (w *world) judge(c *consumer, gen int32, r kmsg.Response) {
	switch r := r.(type) {
	case *kmsg.JoinGroupResponse:
		if r.ErrorCode != 0 {
			return
		}
		k := fmt.Sprint(w.lives, "/", w.reborn[c.group], "/", c.group, "/", r.Generation)
		told := fmt.Sprint(*r.Protocol)
		if was, ok := w.leaders[k]; ok && was != told {
			w.fatalf("generation %s was told of %s, then of %s", k, was, told)
		}
		w.leaders[k] = told
		if r.LeaderID == "" {
			w.fatalf("generation %s has no leader", k)
		}
	case *kmsg.SyncGroupResponse:
		if r.ErrorCode != 0 {
			return
		}
		for _, p := range partitionsOf(r.MemberAssignment) {
			k := fmt.Sprint(w.reborn[c.group], "/", c.group, "/", gen, "/", p)
			if was, ok := w.owners[k]; ok && was != c.name {
				w.fatalf("partition %s belongs to %s and to %s", k, was, c.name)
			}
			w.owners[k] = c.name
		}
	}
}

func partitionsOf(b []byte) []int32 {
	var out []int32
	for f := range strings.FieldsSeq(string(b)) {
		n, _ := strconv.Atoi(f)
		out = append(out, int32(n))
	}
	return out
}

// act lets the client send what it would send next.
func (c *consumer) act() {
	if c.busy {
		return
	}
	switch c.step {
	case "join":
		c.join()
	case "sync":
		c.sync()
	default:
		switch c.w.rnd.IntN(4) {
		case 0:
			c.heartbeat()
		default:
			c.consume()
		}
	}
}

func (c *consumer) join() {
	w := c.w
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID = c.version, c.group, c.id
	req.InstanceID, req.ProtocolType = c.instance, consumerType
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, int32(5_000+w.rnd.IntN(30_000))
	for _, name := range []string{"range", "sticky"}[w.rnd.IntN(2):] {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, subscription("topic")
		req.Protocols = append(req.Protocols, p)
	}
	w.tracef("%s joins %s as %q v%d", c.name, c.group, c.id, c.version)
	c.send(func(r kmsg.Response) { c.joined(r.(*kmsg.JoinGroupResponse)) },
		func(t Token) Outcome { return w.shard.JoinGroup(w.now, t, Client{ID: c.name, Host: "/h"}, req) })
}

func (c *consumer) joined(r *kmsg.JoinGroupResponse) {
	c.w.tracef("%s joined: code %d id %s gen %d leader %s members %d", c.name, r.ErrorCode, r.MemberID, r.Generation,
		r.LeaderID, len(r.Members))
	switch r.ErrorCode {
	case 0:
		c.id, c.gen, c.assign = r.MemberID, r.Generation, nil
		if r.LeaderID == c.id && !r.SkipAssignment {
			c.assign = divide(r.Members, 0)
			c.others = r.Members
		}
		c.moved("sync")
	case kerr.MemberIDRequired.Code:
		c.id = r.MemberID
	case kerr.UnknownMemberID.Code, kerr.FencedInstanceID.Code, kerr.GroupMaxSizeReached.Code:
		c.id = ""
	}
}

func divide(members []kmsg.JoinGroupResponseMember, turn int) []kmsg.SyncGroupRequestGroupAssignment {
	parts := make([]string, len(members))
	for p := range modelPartitions {
		parts[(p+turn)%len(members)] += strconv.Itoa(p) + " "
	}
	var out []kmsg.SyncGroupRequestGroupAssignment
	for i, m := range members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = m.MemberID, []byte(parts[i])
		out = append(out, a)
	}
	return out
}

func (c *consumer) sync() {
	w := c.w
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID = 5, c.group, c.id, c.instance
	if len(c.assign) > 0 { // a leader that asks again need not say the same
		c.assign = divide(c.others, w.rnd.IntN(len(c.others)))
	}
	req.Generation, req.GroupAssignment = c.gen, c.assign
	w.tracef("%s syncs %s gen %d, assigning %d", c.name, c.group, c.gen, len(c.assign))
	c.send(func(r kmsg.Response) {
		resp := r.(*kmsg.SyncGroupResponse)
		w.tracef("%s synced: code %d %q", c.name, resp.ErrorCode, resp.MemberAssignment)
		if resp.ErrorCode == 0 {
			c.oldGen, c.oldPos = c.stableGen, c.pos
			c.stableGen = c.gen
			c.owned, c.pos = partitionsOf(resp.MemberAssignment), map[int32]int64{}
			c.moved("stable")
			return
		}
		c.lost(resp.ErrorCode)
	}, func(t Token) Outcome { return w.shard.SyncGroup(w.now, t, req) })
}

// lost goes back to joining after an error.
func (c *consumer) lost(code int16) {
	switch code {
	case 0, kerr.NotCoordinator.Code, kerr.CoordinatorNotAvailable.Code:
		if c.step == "stable" {
			return
		}
	case kerr.UnknownMemberID.Code, kerr.FencedInstanceID.Code:
		c.id = ""
	}
	c.moved("join")
}

func (c *consumer) heartbeat() {
	w := c.w
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 4, c.group, c.id, c.instance, c.gen
	c.send(func(r kmsg.Response) { c.lost(r.(*kmsg.HeartbeatResponse).ErrorCode) },
		func(t Token) Outcome { return w.shard.Heartbeat(w.now, t, req) })
}

// consume reads the position of a partition that it owns, or commits the next one.
func (c *consumer) consume() {
	if len(c.owned) == 0 {
		c.heartbeat()
		return
	}
	w := c.w
	p := c.owned[w.rnd.IntN(len(c.owned))]
	k := fmt.Sprint(c.group, "/", p)
	resets := w.resets[k]
	pos, known := c.pos[p]
	if !known {
		least, any := w.acked[k]
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.Group = 7, c.group
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "topic", Partitions: []int32{p}}}
		c.send(func(r kmsg.Response) {
			resp := r.(*kmsg.OffsetFetchResponse)
			if resp.ErrorCode != 0 {
				return
			}
			at := resp.Topics[0].Partitions[0].Offset
			if any && resets == w.resets[k] && at < least {
				w.fatalf("%s fetches %d for %s, %d was acknowledged", c.name, at, k, least)
			}
			if at >= 0 && !w.committed(c.group, p, at) {
				w.fatalf("%s fetches %d for %s, which is not committed", c.name, at, k)
			}
			c.pos[p] = max(at, 0)
		}, func(t Token) Outcome { return w.shard.OffsetFetch(w.now, t, req) })
		return
	}
	pos++
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.MemberID, req.InstanceID = 8, c.group, c.gen, c.id, c.instance
	req.Topics = commitOf(p, pos, "")
	pending := c.pos
	pending[p] = pos
	c.send(func(r kmsg.Response) {
		code := r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
		c.lost(code)
	}, func(t Token) Outcome {
		inner := w.waiting[t]
		w.waiting[t] = func(r kmsg.Response) { // what was acknowledged counts, whoever listens
			code := r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
			if code == 0 && resets == w.resets[k] {
				w.acked[k] = max(w.acked[k], pos)
			}
			inner(r)
		}
		return w.shard.OffsetCommit(w.now, t, req)
	})
}

// zombie commits as the member that it was in its generation before.
func (c *consumer) zombie() {
	w := c.w
	if c.oldGen == c.stableGen {
		return // a static member that came back is who it was
	}
	for _, p := range sortedKeys(c.oldPos) {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation, req.MemberID, req.InstanceID = 8, c.group, c.oldGen, c.id, c.instance
		req.Topics = commitOf(p, c.oldPos[p], "")
		w.call(func(kmsg.Response) {}, func(t Token) Outcome { return w.shard.OffsetCommit(w.now, t, req) })
	}
}

// committed says whether an offset stands in the committed part of the log.
func (w *world) committed(group string, p int32, at int64) bool {
	for i := w.hw - 1; i >= 0; i-- {
		d, err := decode(w.log[i])
		if err == nil && d.kind == keyOffset && d.group == group && d.partition == p && d.offset != nil && d.offset.Offset == at {
			return true
		}
	}
	return false
}

func commitOf(p int32, at int64, note string) []kmsg.OffsetCommitRequestTopic {
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset, rp.Metadata = p, at, kmsg.StringPtr(note)
	return []kmsg.OffsetCommitRequestTopic{{Topic: "topic", Partitions: []kmsg.OffsetCommitRequestTopicPartition{rp}}}
}

func (c *consumer) leave() {
	w := c.w
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, c.group
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.id, InstanceID: c.instance}}
	w.tracef("%s leaves", c.name)
	w.call(func(kmsg.Response) {}, func(t Token) Outcome { return w.shard.LeaveGroup(w.now, t, req) })
	c.id = ""
	c.moved("join")
}

func (w *world) admin() {
	g := "g" + strconv.Itoa(w.rnd.IntN(2))
	nothing := func(kmsg.Response) {}
	switch w.rnd.IntN(5) {
	case 0:
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{g, "none", g}
		w.call(nothing, func(t Token) Outcome { return w.shard.DeleteGroups(w.now, t, req) })
	case 1:
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = g
		req.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "topic",
			Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: w.rnd.Int32N(modelPartitions)}}}}
		w.call(nothing, func(t Token) Outcome { return w.shard.OffsetDelete(w.now, t, req) })
	case 2: // reset by an administrator, allowed while the group is empty
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation = 8, g, -1
		req.Topics = commitOf(w.rnd.Int32N(modelPartitions), int64(w.rnd.IntN(5)), "reset")
		w.call(nothing, func(t Token) Outcome { return w.shard.OffsetCommit(w.now, t, req) })
	case 3:
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups = 6, []string{g}
		w.call(nothing, func(t Token) Outcome { return w.shard.DescribeGroups(w.now, t, req) })
		lreq := kmsg.NewPtrListGroupsRequest()
		w.call(nothing, func(t Token) Outcome { return w.shard.ListGroups(w.now, t, lreq) })
	default:
		w.do(w.shard.TopicsDeleted(w.now, []DeletedTopic{{Name: "other"}}))
	}
}

// step does one thing chosen by the seed.
func (w *world) step() {
	c := w.clients[w.rnd.IntN(len(w.clients))]
	switch n := w.rnd.IntN(100); {
	case n < 55:
		c.act()
	case n < 70:
		w.commit(1 + w.rnd.IntN(4))
	case n < 82:
		w.pass(int64(w.rnd.IntN(2500)))
	case n < 84:
		w.pass(int64(w.rnd.IntN(20_000)))
	case n < 86: // it gives up waiting and asks again
		c.moved(c.step)
	case n < 88: // the process dies and another one starts
		w.tracef("%s dies", c.name)
		c.id = ""
		c.moved("join")
	case n < 89:
		c.zombie()
	case n < 91:
		if c.id != "" {
			c.leave()
		}
	case n < 93:
		w.giveUp()
	case n < 95:
		w.failNext = kerr.KafkaStorageError.Code
	case n < 97:
		w.restart()
	default:
		w.admin()
	}
}

// settle stops all trouble and expects that the groups come to rest with every partition owned.
func (w *world) settle() {
	w.failNext = 0
	w.commitAll()
	for _, c := range w.clients {
		c.moved(c.step)
	}
	for range 400 {
		for _, c := range w.clients {
			c.act()
			w.commitAll()
		}
		w.pass(1000)
		w.commitAll()
		if w.rests() {
			break
		}
	}
	for _, c := range w.clients {
		g := w.shard.groups[c.group]
		if g == nil || g.state != stateStable || w.opts.MaxSize > 10 && (c.step != "stable" || c.gen != g.generation) {
			w.fatalf("%s does not come to rest: %s, generation %d, group %+v", c.name, c.step, c.gen, g)
		}
		for p := range modelPartitions {
			if _, ok := w.owners[fmt.Sprint(w.reborn[c.group], "/", c.group, "/", g.generation, "/", p)]; !ok {
				w.fatalf("nobody owns partition %d of %s", p, c.group)
			}
		}
	}
}

// rests says whether all clients are members of one stable generation.
func (w *world) rests() bool {
	count := map[string]int{}
	for _, c := range w.clients {
		count[c.group]++
	}
	for _, c := range w.clients {
		g := w.shard.groups[c.group]
		if w.opts.MaxSize <= 10 || g == nil || g.state != stateStable || c.step != "stable" || c.gen != g.generation ||
			len(g.members) != count[c.group] {
			return false
		}
	}
	return true
}

// TestModel runs random schedules of joins, leaves, deaths, time, commits, failing and lost appends and coordinator
// restarts: no partition has two owners in one generation, members of a generation see one protocol, committed
// offsets never go back except by reset, every request is answered once, and the log gives the state back.
func TestModel(t *testing.T) {
	runs := 500
	if os.Getenv("FIRN_E2E_FULL") == "1" {
		runs = 10_000
	}
	for seed := range uint64(runs) {
		w := newWorld(t, seed)
		for range 300 {
			w.step()
		}
		w.checkReplay()
		w.settle()
		w.checkReplay()
		if seed%2 == 0 {
			w.restart()
		} else { // everybody falls silent
			w.pass(20 * 60 * 1000)
			w.commitAll()
		}
		if len(w.waiting) != 0 {
			w.fatalf("%d requests were never answered", len(w.waiting))
		}
	}
}

// subscription is a consumer's subscription, version 0.
func subscription(topics ...string) []byte {
	b := []byte{0, 0, 0, 0, 0, byte(len(topics))}
	for _, t := range topics {
		b = append(b, 0, byte(len(t)))
		b = append(b, t...)
	}
	return append(b, 0xff, 0xff, 0xff, 0xff)
}
