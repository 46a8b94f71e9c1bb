package cold

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/topic"
)

func put(p *policy, name string, size int64) (*group, []*group, bool) {
	g := &group{key: groupKey{object: name}, size: size, done: true}
	victims, room := p.evict(size)
	p.admit(g)
	return g, victims, room
}

// A scan far larger than the cache leaves what is read again and again in it.
func TestPolicyResistsScans(t *testing.T) {
	p := newPolicy(100)
	var hot []*group
	for i := range 20 {
		g, _, _ := put(p, fmt.Sprint("hot", i), 1)
		p.touched(g)
		hot = append(hot, g)
	}
	for i := range 1000 {
		_, _, room := put(p, fmt.Sprint("scan", i), 1)
		require.True(t, room)
		require.LessOrEqual(t, p.used(), int64(100))
	}
	for i, g := range hot {
		require.NotNil(t, g.queue, "hot group %d was scanned out", i)
	}
}

// What comes back soon after it left the small queue goes to the main one.
func TestPolicyGhosts(t *testing.T) {
	p := newPolicy(10)
	put(p, "a", 1)
	for i := range 10 {
		put(p, fmt.Sprint(i), 1)
	}
	a, _, _ := put(p, "a", 1)
	require.Equal(t, &p.main, a.queue)
	for i := range 50 {
		p.haunt(groupKey{object: fmt.Sprint("g", i)})
	}
	require.LessOrEqual(t, p.ghostOrder.Len(), 64)
	require.Len(t, p.ghosts, p.ghostOrder.Len())
}

// Pinned groups and groups being filled stay, however little room there is (I-23); those in the other queue go.
func TestPolicyKeepsWhatIsHeld(t *testing.T) {
	p := newPolicy(10)
	var held []*group
	for i := range 5 {
		g, _, _ := put(p, fmt.Sprint("held", i), 2)
		g.pins = 1
		held = append(held, g)
	}
	victims, room := p.evict(2)
	require.Empty(t, victims)
	require.False(t, room)
	held[3].pins = 0
	victims, room = p.evict(2)
	require.Equal(t, []*group{held[3]}, victims)
	require.True(t, room)

	p = newPolicy(10)
	for i := range 2 { // the small queue is over its share, and all of it is held
		g, _, _ := put(p, fmt.Sprint("held", i), 2)
		g.done = false
	}
	p.haunt(groupKey{object: "m"})
	m, _, _ := put(p, "m", 6)
	require.Equal(t, &p.main, m.queue)
	victims, room = p.evict(3)
	require.Equal(t, []*group{m}, victims)
	require.True(t, room)
}

// What was read ahead and not read yet is spared, once.
func TestPolicySparesWhatIsToBeRead(t *testing.T) {
	p := newPolicy(10)
	g, _, _ := put(p, "ahead", 1)
	g.unread = true
	for i := range 10 {
		put(p, fmt.Sprint("a", i), 1)
	}
	require.NotNil(t, g.queue)
	for i := range 10 {
		put(p, fmt.Sprint("b", i), 1)
	}
	require.Nil(t, g.queue)
}

// Readers share what is read ahead; one that went away has no part in it.
func TestStreamsCountReaders(t *testing.T) {
	s, now := newStreams(100), time.Unix(1000, 0)
	require.Equal(t, 1, s.readers(now))
	for i := range int32(6) {
		s.read(tp(i), 0, 1, 1, 8, 40, now)
		s.read(tp(i), 1, 2, 1, 8, 40, now)
	}
	now = now.Add(countEvery)
	require.Equal(t, 6, s.readers(now))
	now = now.Add(restAfter)
	s.read(tp(0), 2, 3, 1, 8, 40, now)
	require.Equal(t, 1, s.readers(now))
}

func TestStreams(t *testing.T) {
	s, now := newStreams(4), time.Unix(1000, 0)
	a := tp(0)
	st := s.read(a, 0, 10, 1, 8, 40, now)
	require.Zero(t, st.window, "one read is no stream")
	for i, want := range []int64{8, 16, 32, 40, 40} {
		st = s.read(a, int64(10*(i+1)), int64(10*(i+2)), 1, 8, 40, now)
		require.Equal(t, want, st.window)
	}
	for i := range 20 { // random reads elsewhere do not end it
		s.read(tp(int32(1+i)), 5, 6, 1, 8, 40, now)
		st = s.read(a, st.next, st.next+1, 1, 8, 40, now)
		require.Equal(t, int64(40), st.window)
	}
	require.LessOrEqual(t, s.count, 5)
	for i := range 50 {
		s.read(a, int64(1000+2*i), int64(1001+2*i), 1, 8, 40, now)
	}
	require.LessOrEqual(t, len(s.all[a]), streamsPerPartition)
}

func tp(i int32) topic.Partition { return topic.Partition{Index: i} }
