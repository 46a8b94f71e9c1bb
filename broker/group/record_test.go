package group

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The bytes below were made by Kafka 4.3.1's own classes (MessageUtil over the generated OffsetCommitKey,
// OffsetCommitValue, GroupMetadataKey and GroupMetadataValue), so that its tools read what the coordinator writes.
const (
	kafkaOffsetKey     = "000100076772c3bc7070650005746f70696300000007"
	kafkaOffsetValue   = "00040000001cbe991a1400000005056e6f74650000018bcfe568000100100102030405060708090a0b0c0d0e0f10"
	kafkaOffsetNoID    = "00040000000000000001ffffffff010000018bcfe5680000"
	kafkaOffsetExpires = "0001000000000000002a00016d0000018bcfe568000000018bcfe6eea0"
	kafkaGroupKey      = "000200076772c3bc707065"
	kafkaGroupValue    = "00030008636f6e73756d657200000003000572616e67650005612d6964310000018bcfe56800000000020005612d69" +
		"6431ffff000161000a2f3139322e302e322e370000ea600000afc8000000020102000000030304050005692d6964320001690001" +
		"62000a2f3139322e302e322e380000ea6000002710000000010600000000"
	kafkaGroupEmpty = "0003000000000000ffffffffffffffffffffffff00000000"

	goldenTime = 1700000000000
)

func goldenGroup() *group {
	g := newGroup("grüppe")
	g.protocolType, g.protocol, g.hasProtocol = consumerType, "range", true
	g.generation, g.stateSince = 3, goldenTime
	add := func(id string, instance *string, client, host string, session int32, sub []byte) {
		g.add(&member{id: id, instance: instance, client: Client{ID: client, Host: host},
			memberSettings: memberSettings{rebalanceTimeout: 60000, sessionTimeout: session,
				protocols: []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: sub}}}})
	}
	add("a-id1", nil, "a", "/192.0.2.7", 45000, []byte{1, 2})
	add("i-id2", kmsg.StringPtr("i"), "b", "/192.0.2.8", 10000, []byte{6})
	return g
}

func TestRecordsAreKafkas(t *testing.T) {
	id := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	empty := newGroup("grüppe")
	for _, c := range []struct {
		name       string
		r          Record
		key, value string
	}{
		{"offset", offsetRecord("grüppe", "topic", 7, &Offset{Offset: 123456789012, LeaderEpoch: 5, Metadata: "note",
			CommitTimestamp: goldenTime, ExpireTimestamp: -1, TopicID: id}), kafkaOffsetKey, kafkaOffsetValue},
		{"offset without topic id", offsetRecord("grüppe", "topic", 7, &Offset{Offset: 1, LeaderEpoch: -1,
			CommitTimestamp: goldenTime, ExpireTimestamp: -1}), kafkaOffsetKey, kafkaOffsetNoID},
		{"offset that expires", offsetRecord("grüppe", "topic", 7, &Offset{Offset: 42, LeaderEpoch: 9, Metadata: "m",
			CommitTimestamp: goldenTime, ExpireTimestamp: goldenTime + 100000}), kafkaOffsetKey, kafkaOffsetExpires},
		{"offset tombstone", offsetTombstone("grüppe", "topic", 7), kafkaOffsetKey, ""},
		{"group", groupRecord(goldenGroup(), map[string][]byte{"a-id1": {3, 4, 5}}), kafkaGroupKey, kafkaGroupValue},
		{"new group", emptyGroupRecord(empty), kafkaGroupKey, kafkaGroupEmpty},
		{"group tombstone", groupTombstone("grüppe"), kafkaGroupKey, ""},
	} {
		if got := hex.EncodeToString(c.r.Key); got != c.key {
			t.Errorf("%s: key %s, want %s", c.name, got, c.key)
		}
		if got := hex.EncodeToString(c.r.Value); got != c.value || (c.r.Value == nil) != (c.value == "") {
			t.Errorf("%s: value %s, want %s", c.name, got, c.value)
		}
	}
}

// A shard that loads Kafka's records knows what Kafka knew.
func TestLoadKafkasRecords(t *testing.T) {
	s := newSim(t, 1, nil)
	sh := New(s.opts)
	for _, r := range [][2]string{{kafkaOffsetKey, kafkaOffsetExpires}, {kafkaOffsetKey, kafkaOffsetValue},
		{kafkaGroupKey, kafkaGroupValue}} {
		key, _ := hex.DecodeString(r[0])
		value, _ := hex.DecodeString(r[1])
		if err := sh.Replay(Record{Key: key, Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	sh.Start(goldenTime)
	o := sh.offsets["grüppe"]["topic"][7]
	if o == nil || o.Offset != 123456789012 || o.LeaderEpoch != 5 || o.Metadata != "note" || o.ExpireTimestamp != -1 || o.TopicID[15] != 16 {
		t.Fatalf("offset %+v", o)
	}
	g := sh.groups["grüppe"]
	if g.state != stateStable || g.leader != "a-id1" || g.generation != 3 || g.static["i"] != "i-id2" || len(g.order) != 2 ||
		string(g.members["a-id1"].assignment) != "\x03\x04\x05" || g.members["i-id2"].sessionTimeout != 10000 {
		t.Fatalf("group %+v", g)
	}
	if sh.Groups() != 1 || sh.Offsets() != 1 {
		t.Fatalf("%d groups, %d offsets", sh.Groups(), sh.Offsets())
	}
}

func TestReplayRefuses(t *testing.T) {
	s := newSim(t, 1, nil)
	key := offsetKey("g", "t", 0)
	for _, c := range []struct {
		name string
		r    Record
		want error
	}{
		{"no key", Record{}, ErrMalformedRecord},
		{"short key", Record{Key: []byte{0, 1, 0}}, ErrMalformedRecord},
		{"a consumer group of KIP-848", Record{Key: []byte{0, 3, 0, 1, 'g'}}, ErrUnknownRecord},
		{"empty value", Record{Key: key, Value: []byte{}}, ErrMalformedRecord},
		{"newer value", Record{Key: key, Value: []byte{0, 5, 0, 0, 0, 0, 0, 0, 0, 0}}, ErrMalformedRecord},
		{"negative version", Record{Key: key, Value: []byte{255, 255, 0, 0}}, ErrMalformedRecord},
		{"cut value", Record{Key: key, Value: []byte{0, 3, 0, 0}}, ErrMalformedRecord},
		{"cut group", Record{Key: groupKey("g"), Value: []byte{0, 3, 0, 9}}, ErrMalformedRecord},
	} {
		if err := s.shard.Replay(c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if s.shard.Groups() != 0 || s.shard.Offsets() != 0 {
		t.Error("a refused record changed the state")
	}
}

// Hashes and partitions as Kafka 4.3.1 computes them.
func TestPartitionFor(t *testing.T) {
	for _, c := range []struct {
		group string
		hash  int32
		want  int32
	}{
		{"", 0, 0}, {"a", 97, 47}, {"group", 98629247, 47}, {"my-consumer-group", 1513705513, 13},
		{"grüppe", -1233264812, 12}, {"😀emoji", -1233692477, 27}, {"polygenelubricants", -2147483648, 0},
		{"connect-cluster", 1440343063, 13},
	} {
		if h := javaHash(c.group); h != c.hash {
			t.Errorf("hash of %q is %d, want %d", c.group, h, c.hash)
		}
		if p := PartitionFor(c.group, 50); p != c.want {
			t.Errorf("partition of %q is %d, want %d", c.group, p, c.want)
		}
	}
	if n := utf16Len("ü😀"); n != 3 {
		t.Errorf("utf16Len %d", n)
	}
}

// The order of a HashMap with these keys, as Java printed it.
func TestHashSlot(t *testing.T) {
	names := []string{"default", "sticky", "range", "roundrobin", "connect", "cooperative-sticky"}
	got := slices.Clone(names)
	slices.Reverse(got)
	slices.SortStableFunc(got, func(a, b string) int { return hashSlot(a) - hashSlot(b) })
	if !slices.Equal(got, names) {
		t.Errorf("%v, want %v", got, names)
	}
}

func FuzzReplay(f *testing.F) {
	for _, r := range [][2]string{{kafkaOffsetKey, kafkaOffsetValue}, {kafkaOffsetKey, kafkaOffsetExpires},
		{kafkaGroupKey, kafkaGroupValue}, {kafkaGroupKey, kafkaGroupEmpty}} {
		key, _ := hex.DecodeString(r[0])
		value, _ := hex.DecodeString(r[1])
		f.Add(key, value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		o := DefaultOptions()
		o.NewMemberSuffix = func() string { return "x" }
		s := New(o)
		r := Record{Key: key, Value: value}
		if err := s.Replay(r); err != nil {
			if !errors.Is(err, ErrMalformedRecord) && !errors.Is(err, ErrUnknownRecord) {
				t.Fatalf("error of no known kind: %v", err)
			}
			return
		}
		out := s.Start(goldenTime)
		for range 1000 { // whatever it holds runs out without a panic
			if len(out.Timers) == 0 || s.Groups() == 0 {
				break
			}
			next := Outcome{}
			for _, tm := range out.Timers {
				o := s.Fire(tm.At, tm.Key)
				for _, rec := range o.Records {
					if err := s.Replay(rec); err != nil {
						t.Fatalf("own record: %v", err)
					}
				}
				next.Timers = append(next.Timers, o.Timers...)
			}
			out = next
		}
	})
}

func FuzzSubscription(f *testing.F) {
	f.Add(subscription("a", "topic"))
	f.Add([]byte{0, 1, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		topics, err := subscribed(b)
		if err == nil && len(topics)*2 > len(b) {
			t.Fatalf("%d topics out of %d bytes", len(topics), len(b))
		}
	})
}
