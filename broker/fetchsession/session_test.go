package fetchsession

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/tier/topic"
)

func part(name string, i int32, off int64) Partition {
	return Partition{Key: Key{Topic: name, Partition: i}, Offset: off, LeaderEpoch: -1, LastFetchedEpoch: -1, LogStart: -1, MaxBytes: 100}
}

func names(ps []Partition) (out []int32) {
	for _, p := range ps {
		out = append(out, p.Key.Partition)
	}
	return out
}

func begin(t *testing.T, c *Cache, r Request) *Fetch {
	t.Helper()
	f := new(Fetch)
	require.Zero(t, codeOf(t, c, f, &r))
	return f
}

func codeOf(t *testing.T, c *Cache, f *Fetch, r *Request) int16 {
	t.Helper()
	code, err := c.Begin(f, r)
	require.NoError(t, err)
	return code
}

func open(t *testing.T, c *Cache, ps ...Partition) int32 {
	t.Helper()
	f := begin(t, c, Request{Partitions: ps})
	id, include := f.Finish(make([]Outcome, len(f.Partitions)))
	for _, in := range include {
		require.True(t, in, "a full fetch answers every partition")
	}
	return id
}

func TestIncrementalAnswersOnlyWhatChanged(t *testing.T) {
	c := New(Options{})
	id := open(t, c, part("t", 0, 0), part("t", 1, 0), part("t", 2, 0))
	require.NotZero(t, id)

	f := begin(t, c, Request{ID: id, Epoch: 1})
	require.Equal(t, []int32{0, 1, 2}, names(f.Partitions))
	got, include := f.Finish([]Outcome{{}, {HighWatermark: 5}, {Error: 3, HighWatermark: -1}})
	require.Equal(t, id, got)
	require.Equal(t, []bool{false, true, true}, include)

	// The error is told again until it is gone, and once more when it has gone.
	f = begin(t, c, Request{ID: id, Epoch: 2})
	_, include = f.Finish([]Outcome{{}, {HighWatermark: 5}, {Error: 3, HighWatermark: -1}})
	require.Equal(t, []bool{false, false, true}, include)
	f = begin(t, c, Request{ID: id, Epoch: 3})
	_, include = f.Finish([]Outcome{{}, {HighWatermark: 5, LogStart: 2}, {}})
	require.Equal(t, []bool{false, true, true}, include)
	f = begin(t, c, Request{ID: id, Epoch: 4})
	_, include = f.Finish([]Outcome{{Always: true}, {HighWatermark: 5, LogStart: 2}, {}})
	require.Equal(t, []bool{true, false, false}, include)
}

func TestPartitionsWithDataAreServedLastNextTime(t *testing.T) {
	c := New(Options{})
	id := open(t, c, part("t", 0, 0), part("t", 1, 0), part("t", 2, 0))
	f := begin(t, c, Request{ID: id, Epoch: 1})
	f.Finish([]Outcome{{Bytes: 10}, {}, {}})
	f = begin(t, c, Request{ID: id, Epoch: 2})
	require.Equal(t, []int32{1, 2, 0}, names(f.Partitions))
}

func TestUpdateAddAndForget(t *testing.T) {
	c := New(Options{})
	id := open(t, c, part("t", 0, 0), part("t", 1, 0))
	f := begin(t, c, Request{ID: id, Epoch: 1, Partitions: []Partition{part("t", 1, 7), part("u", 5, 1)},
		Forgotten: []Key{{Topic: "t", Partition: 0}, {Topic: "none", Partition: 9}}})
	require.Equal(t, []int32{1, 5}, names(f.Partitions))
	require.EqualValues(t, 7, f.Partitions[0].Offset)
	require.Equal(t, Stats{Sessions: 1, Partitions: 2}, c.Stats())
	_, include := f.Finish(make([]Outcome, 2))
	require.Equal(t, []bool{false, true}, include, "what is new to the session is answered")

	// A session without partitions is closed and the answer carries no session.
	f = begin(t, c, Request{ID: id, Epoch: 2, Forgotten: []Key{{Topic: "t", Partition: 1}, {Topic: "u", Partition: 5}}})
	got, _ := f.Finish(nil)
	require.Zero(t, got)
	require.Equal(t, Stats{}, c.Stats())
}

func TestEpochsAndErrors(t *testing.T) {
	c := New(Options{})
	id := open(t, c, part("t", 0, 0))
	code := codeOf(t, c, new(Fetch), &Request{ID: id + 1, Epoch: 1})
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, code)
	code = codeOf(t, c, new(Fetch), &Request{ID: id, Epoch: 2})
	require.Equal(t, kerr.InvalidFetchSessionEpoch.Code, code)
	code = codeOf(t, c, new(Fetch), &Request{ID: id, Epoch: 1, UsesIDs: true, Partitions: []Partition{{Key: Key{ID: topic.ID{1}}}}})
	require.Equal(t, kerr.FetchSessionTopicIDError.Code, code)
	f := begin(t, c, Request{ID: id, Epoch: 1}) // the refused ones changed nothing
	require.Len(t, f.Partitions, 1)

	// The final epoch closes the session it names, whatever else it carries.
	f = begin(t, c, Request{ID: id, Epoch: FinalEpoch, Partitions: []Partition{part("t", 4, 0)}})
	got, include := f.Finish(make([]Outcome, 1))
	require.Zero(t, got)
	require.Equal(t, []bool{true}, include)
	code = codeOf(t, c, new(Fetch), &Request{ID: id, Epoch: 2})
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, code)

	require.EqualValues(t, 1, nextEpoch(math.MaxInt32))
	require.EqualValues(t, 2, nextEpoch(1))
}

func TestInitialEpochReplacesTheOldSession(t *testing.T) {
	c := New(Options{})
	id := open(t, c, part("t", 0, 0))
	f := begin(t, c, Request{ID: id, Epoch: InitialEpoch, Partitions: []Partition{part("t", 1, 0), part("t", 1, 3)}})
	require.Len(t, f.Partitions, 1, "the last mention of a partition counts")
	require.EqualValues(t, 3, f.Partitions[0].Offset)
	again, _ := f.Finish(make([]Outcome, 1))
	require.NotZero(t, again)
	code := codeOf(t, c, new(Fetch), &Request{ID: id, Epoch: 1})
	if again != id {
		require.Equal(t, kerr.FetchSessionIDNotFound.Code, code)
	}
	require.Equal(t, 1, c.Stats().Sessions)
}

func TestEviction(t *testing.T) {
	now := time.Unix(1000, 0)
	c := New(Options{MaxSessions: 2, EvictAfter: time.Minute, Now: func() time.Time { return now }})
	a := open(t, c, part("a", 0, 0))
	b := open(t, c, part("b", 0, 0), part("b", 1, 0))
	require.Zero(t, open(t, c, part("c", 0, 0), part("c", 1, 0), part("c", 2, 0)), "nothing may be pushed out yet")

	// Both are in use, but old enough to be compared: the smaller gives way to a larger one only.
	now = now.Add(59 * time.Second)
	begin(t, c, Request{ID: a, Epoch: 1})
	begin(t, c, Request{ID: b, Epoch: 1})
	now = now.Add(time.Second)
	require.Zero(t, open(t, c, part("c", 0, 0)), "an equal claim pushes nobody out")
	d := open(t, c, part("d", 0, 0), part("d", 1, 0), part("d", 2, 0))
	require.NotZero(t, d)
	code := codeOf(t, c, new(Fetch), &Request{ID: a, Epoch: 2})
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, code)

	// A stale one gives way to anybody, however small.
	now = now.Add(59 * time.Second)
	begin(t, c, Request{ID: d, Epoch: 1})
	now = now.Add(time.Second)
	require.NotZero(t, open(t, c, part("e", 0, 0)))
	code = codeOf(t, c, new(Fetch), &Request{ID: b, Epoch: 2})
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, code)
	require.EqualValues(t, 2, c.Stats().Evictions)
}

func TestReplicasPushOutConsumers(t *testing.T) {
	now := time.Unix(1000, 0)
	c := New(Options{MaxSessions: 1, EvictAfter: time.Minute, Now: func() time.Time { return now }})
	a := open(t, c, part("a", 0, 0), part("a", 1, 0))
	now = now.Add(59 * time.Second)
	begin(t, c, Request{ID: a, Epoch: 1})
	now = now.Add(time.Second)
	f := begin(t, c, Request{Follower: true, Partitions: []Partition{part("a", 0, 0)}})
	id, _ := f.Finish(make([]Outcome, 1))
	require.NotZero(t, id)
}

func TestPartitionsInAllSessionsAreBounded(t *testing.T) {
	c := New(Options{MaxPartitions: 3})
	a := open(t, c, part("a", 0, 0), part("a", 1, 0))
	require.Zero(t, open(t, c, part("b", 0, 0), part("b", 1, 0)))
	b := open(t, c, part("b", 0, 0))
	require.NotZero(t, b)
	// Growing past the bound closes the session that grew.
	begin(t, c, Request{ID: a, Epoch: 1, Partitions: []Partition{part("a", 2, 0)}})
	code := codeOf(t, c, new(Fetch), &Request{ID: a, Epoch: 2})
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, code)
	require.Equal(t, 1, c.Stats().Partitions)
}

// I-32: a fetch takes memory for the partitions that its session knows and it does not name before it lists them, also for
// those that others add while it waits for that. If there is none the session ends.
func TestPartitionsOfTheSessionAreReserved(t *testing.T) {
	c := New(Options{})
	id := open(t, c, part("t", 0, 0), part("t", 1, 0), part("t", 2, 0))
	var reserved []int
	var meanwhile func()
	reserve := func(n int) error {
		reserved = append(reserved, n)
		if meanwhile != nil {
			fn := meanwhile
			meanwhile = nil
			fn()
		}
		return nil
	}
	f := begin(t, c, Request{ID: id, Epoch: 1, Partitions: []Partition{part("t", 1, 5)}, Reserve: reserve})
	require.Len(t, f.Partitions, 3)
	require.Equal(t, []int{2}, reserved)

	reserved = nil
	begin(t, c, Request{ID: id, Epoch: 2, Partitions: []Partition{part("t", 0, 0), part("t", 1, 5), part("t", 2, 0)}, Reserve: reserve})
	require.Empty(t, reserved, "all are named")

	meanwhile = func() {
		wide := begin(t, c, Request{ID: id, Epoch: 4, Partitions: []Partition{part("t", 3, 0), part("t", 4, 0)}, Reserve: reserve})
		require.Len(t, wide.Partitions, 5)
	}
	f = begin(t, c, Request{ID: id, Epoch: 3, Reserve: reserve})
	require.Len(t, f.Partitions, 5)
	require.Equal(t, []int{3, 3, 2}, reserved, "the first, the one that came between, and what that had added")
	require.Equal(t, 5, c.Stats().Partitions)

	none := errors.New("no memory")
	wide := new(Fetch)
	_, err := c.Begin(wide, &Request{ID: id, Epoch: 5, Reserve: func(int) error { return none }})
	require.ErrorIs(t, err, none)
	require.Empty(t, wide.Partitions)
	require.Equal(t, Stats{}, c.Stats())
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, codeOf(t, c, new(Fetch), &Request{ID: id, Epoch: 6}))
}

// I-32: what a fetch adds counts before it waits for memory to list it, and a fetch that comes late to correct the count does
// not take away what another has added since.
func TestPartitionsAreCountedAsTheyAre(t *testing.T) {
	c := New(Options{})
	id := open(t, c, part("t", 0, 0))
	begin(t, c, Request{ID: id, Epoch: 1, Partitions: []Partition{part("t", 1, 0)}, Reserve: func(int) error {
		require.Equal(t, 2, c.Stats().Partitions)
		return nil
	}})

	s := c.sessions[id]
	was, size, code := s.update(&Request{ID: id, Epoch: 2, Partitions: []Partition{part("t", 2, 0)}})
	require.Equal(t, []int{2, 3, 0}, []int{was, size, int(code)})
	begin(t, c, Request{ID: id, Epoch: 3, Partitions: []Partition{part("t", 3, 0), part("t", 4, 0)}})
	c.resize(s)
	require.Equal(t, 5, c.Stats().Partitions)
	require.Equal(t, 5, s.size)
}
