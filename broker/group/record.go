package group

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of keys and values as Kafka 4.3 writes them (GroupCoordinatorRecordHelpers). The version of a key is the
// kind of its record.
const (
	keyOffsetLegacy = 0
	keyOffset       = 1
	keyGroup        = 2

	valueOffset        = 4
	valueOffsetExpires = 1 // the only version with an expiry of its own
	valueGroup         = 3

	maxValueOffset = 4
	maxValueGroup  = 4
)

var (
	// ErrUnknownRecord says that a record is of a kind that this coordinator does not know, for example of the
	// protocol of KIP-848. It is no damage: it can be passed over.
	ErrUnknownRecord = errors.New("unknown kind of coordinator record")
	// ErrMalformedRecord says that a record of a known kind cannot be read.
	ErrMalformedRecord = errors.New("malformed coordinator record")
)

// Offset is a committed offset.
type Offset struct {
	Offset          int64
	LeaderEpoch     int32 // -1 if the client sent none
	Metadata        string
	CommitTimestamp int64    // ms
	ExpireTimestamp int64    // ms; -1 if the retention of the broker counts (the usual case)
	TopicID         [16]byte // zero if not known
}

// PartitionFor gives the partition of __consumer_offsets that a group belongs to: Java's hash of the group id, made
// positive, modulo the number of partitions (Utils.abs of Kafka: the hash without its sign, and 0 for the
// least int). partitions must be positive.
func PartitionFor(groupID string, partitions int32) int32 {
	h := javaHash(groupID)
	if h < 0 {
		h = -h
	}
	if h < 0 { // -2^31 has no positive twin
		h = 0
	}
	return h % partitions
}

// javaHash is java.lang.String.hashCode: over UTF-16 units.
func javaHash(s string) int32 {
	var h int32
	for _, r := range s {
		if r > 0xffff {
			hi, lo := utf16.EncodeRune(r)
			h = 31*h + hi
			r = lo
		}
		h = 31*h + r
	}
	return h
}

// utf16Len is java.lang.String.length.
func utf16Len(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if r > 0xffff {
			n++
		}
	}
	return n
}

func offsetKey(groupID, topic string, partition int32) []byte {
	k := kmsg.OffsetCommitKey{Version: keyOffset, Group: groupID, Topic: topic, Partition: partition}
	return k.AppendTo(nil)
}

func offsetRecord(groupID, topic string, partition int32, o *Offset) Record {
	v := kmsg.NewOffsetCommitValue()
	v.Version = valueOffset
	v.Offset = o.Offset
	v.LeaderEpoch = o.LeaderEpoch
	v.Metadata = o.Metadata
	v.CommitTimestamp = o.CommitTimestamp
	v.TopicID = o.TopicID
	if o.ExpireTimestamp >= 0 {
		v.Version, v.ExpireTimestamp = valueOffsetExpires, o.ExpireTimestamp
	}
	return Record{Key: offsetKey(groupID, topic, partition), Value: v.AppendTo(nil)}
}

func offsetTombstone(groupID, topic string, partition int32) Record {
	return Record{Key: offsetKey(groupID, topic, partition)}
}

func groupKey(groupID string) []byte {
	k := kmsg.GroupMetadataKey{Version: keyGroup, Group: groupID}
	return k.AppendTo(nil)
}

func groupTombstone(groupID string) Record { return Record{Key: groupKey(groupID)} }

// groupRecord is the metadata of a group with the given assignment (members without one get an empty one).
func groupRecord(g *group, assignment map[string][]byte) Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version = valueGroup
	v.ProtocolType = g.protocolType
	v.Generation = g.generation
	v.CurrentStateTimestamp = g.stateSince
	if g.hasProtocol {
		v.Protocol = kmsg.StringPtr(g.protocol)
	}
	if g.leader != "" {
		v.Leader = kmsg.StringPtr(g.leader)
	}
	for _, m := range g.order {
		vm := kmsg.NewGroupMetadataValueMember()
		vm.MemberID = m.id
		vm.InstanceID = m.instance
		vm.ClientID = m.client.ID
		vm.ClientHost = m.client.Host
		vm.RebalanceTimeoutMillis = m.rebalanceTimeout
		vm.SessionTimeoutMillis = m.sessionTimeout
		vm.Subscription = m.metadata(g.protocol)
		vm.Assignment = assignment[m.id]
		v.Members = append(v.Members, vm)
	}
	return Record{Key: groupKey(g.id), Value: v.AppendTo(nil)}
}

// emptyGroupRecord says that a group exists, and nothing more of it.
func emptyGroupRecord(g *group) Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version = valueGroup
	v.CurrentStateTimestamp = g.stateSince
	return Record{Key: groupKey(g.id), Value: v.AppendTo(nil)}
}

// decoded is a record in its parts: either an offset or a group's metadata; a nil value is a tombstone.
type decoded struct {
	kind      int16
	group     string
	topic     string
	partition int32
	offset    *Offset
	metadata  *kmsg.GroupMetadataValue
}

// decode reads a record of any version that Kafka ever wrote.
func decode(r Record) (decoded, error) {
	if len(r.Key) < 2 {
		return decoded{}, fmt.Errorf("%w: key of %d bytes", ErrMalformedRecord, len(r.Key))
	}
	kind := int16(r.Key[0])<<8 | int16(r.Key[1])
	switch kind {
	case keyOffsetLegacy, keyOffset:
		return decodeOffset(r)
	case keyGroup:
		return decodeGroup(r)
	}
	return decoded{kind: kind}, fmt.Errorf("%w: key version %d", ErrUnknownRecord, kind)
}

func decodeOffset(r Record) (decoded, error) {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(r.Key); err != nil {
		return decoded{}, fmt.Errorf("%w: key of an offset: %w", ErrMalformedRecord, err)
	}
	d := decoded{kind: keyOffset, group: k.Group, topic: k.Topic, partition: k.Partition}
	if r.Value == nil {
		return d, nil
	}
	v := kmsg.NewOffsetCommitValue()
	if err := checkValue(r.Value, maxValueOffset, v.ReadFrom); err != nil {
		return decoded{}, fmt.Errorf("%w: offset of group %q: %w", ErrMalformedRecord, k.Group, err)
	}
	d.offset = &Offset{Offset: v.Offset, LeaderEpoch: -1, Metadata: v.Metadata, CommitTimestamp: v.CommitTimestamp,
		ExpireTimestamp: -1, TopicID: v.TopicID}
	if v.Version >= 3 {
		d.offset.LeaderEpoch = v.LeaderEpoch
	}
	if v.Version == valueOffsetExpires {
		d.offset.ExpireTimestamp = v.ExpireTimestamp
	}
	return d, nil
}

func decodeGroup(r Record) (decoded, error) {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(r.Key); err != nil {
		return decoded{}, fmt.Errorf("%w: key of a group: %w", ErrMalformedRecord, err)
	}
	d := decoded{kind: keyGroup, group: k.Group}
	if r.Value == nil {
		return d, nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := checkValue(r.Value, maxValueGroup, v.ReadFrom); err != nil {
		return decoded{}, fmt.Errorf("%w: metadata of group %q: %w", ErrMalformedRecord, k.Group, err)
	}
	seen := make(map[string]bool, len(v.Members))
	for i := range v.Members {
		m := &v.Members[i]
		if seen[m.MemberID] {
			return decoded{}, fmt.Errorf("%w: group %q names member %q twice", ErrMalformedRecord, k.Group, m.MemberID)
		}
		seen[m.MemberID] = true
	}
	d.metadata = &v
	return d, nil
}

func checkValue(b []byte, newest int16, read func([]byte) error) error {
	if len(b) < 2 {
		return fmt.Errorf("value of %d bytes", len(b))
	}
	if v := int16(b[0])<<8 | int16(b[1]); v < 0 || v > newest {
		return fmt.Errorf("value version %d, known are 0 to %d", v, newest)
	}
	return read(b)
}
