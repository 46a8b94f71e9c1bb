package diff

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Placeholders of a program. Its requests hold them where brokers give values of their own:
//
//	~t0          in any string: a name with the run's prefix
//	@m2          as a member id: that of actor 2, or none while it has none
//	topicID("~t0")  as a topic id: that of the topic last made under the name
//	@p           as a protocol: that which the actor was told last
//	@dir         as a directory: where the broker keeps its logs
//	lastGeneration  as a generation: the actor's own, lastGeneration-1 the one before
//	lastProducer    as a producer id: the actor's own
//	sub:~t0,~t1  as a member's metadata: a consumer's subscription
//	pid=0 …      as records: see batchOf
const (
	lastGeneration = -100
	lastProducer   = -100
	logDir         = "@dir"
)

var unknownID = topicID("nobody")

func topicID(name string) (id [16]byte) {
	sum := sha256.Sum256([]byte(name))
	copy(id[:], sum[:])
	return id
}

// names is what one side of a run has learned of the values that a broker gave.
type names struct {
	prefix     string
	logDir     string
	sharedOwn  string              // the shared config that the program has for itself
	topicIDs   map[string][16]byte // by placeholder name
	members    map[member]string
	generation map[member]int32
	protocol   map[member]string
	producers  map[int]int64               // by actor
	leaders    map[string]map[int32]string // of a group, by generation
	given      map[int]int                 // how many member ids an actor was given
	back       map[string]string           // from what the broker gave to the placeholder shown instead
}

// member is an actor in a group.
type member struct {
	group string
	actor int
}

func newNames(prefix string) *names {
	return &names{prefix: prefix, topicIDs: map[string][16]byte{}, members: map[member]string{}, generation: map[member]int32{}, protocol: map[member]string{},
		producers: map[int]int64{}, given: map[int]int{}, leaders: map[string]map[int32]string{}, back: map[string]string{}}
}

// fill returns the request with the values of this side.
func (n *names) fill(s step) (kmsg.Request, error) {
	req := kmsg.RequestForKey(s.req.Key())
	req.SetVersion(s.req.GetVersion())
	if err := req.ReadFrom(s.req.AppendTo(nil)); err != nil {
		return nil, fmt.Errorf("%s cannot be copied: %w", s, err)
	}
	who := member{groupOf(s.req), s.actor}
	n.fillValue(reflect.ValueOf(req).Elem(), "", who)
	return req, nil
}

// groupOf is the group that a request names, if it names one.
func groupOf(req kmsg.Request) string {
	if g := reflect.ValueOf(req).Elem().FieldByName("Group"); g.IsValid() {
		return g.String()
	}
	return ""
}

func (n *names) fillValue(v reflect.Value, field string, who member) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			n.fillValue(v.Elem(), field, who)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "UnknownTags" {
				n.fillValue(v.Field(i), name, who)
			}
		}
	case reflect.Slice:
		if b, ok := v.Interface().([]byte); ok {
			v.SetBytes(n.fillBytes(b, field, who))
			return
		}
		for i := range v.Len() {
			n.fillValue(v.Index(i), field, who)
		}
	case reflect.String:
		s := strings.ReplaceAll(v.String(), "~", n.prefix)
		other := who
		if _, err := fmt.Sscanf(s, "@m%d", &other.actor); err == nil {
			s = n.members[other]
		} else if s == "@p" {
			s = n.protocol[who]
		} else if s == logDir {
			s = n.logDir
		}
		v.SetString(s)
	case reflect.Array:
		for name, id := range n.topicIDs {
			if v.Interface() == topicID(name) {
				v.Set(reflect.ValueOf(id))
				return
			}
		}
	case reflect.Int32:
		if field == "Generation" && v.Int() <= lastGeneration {
			v.SetInt(int64(n.generation[who]) + v.Int() - lastGeneration)
		}
	case reflect.Int64:
		if field == "ProducerID" && v.Int() == lastProducer {
			v.SetInt(n.producer(who.actor))
		}
	}
}

func (n *names) producer(actor int) int64 {
	if id, ok := n.producers[actor]; ok {
		return id
	}
	return -1
}

func (n *names) fillBytes(b []byte, field string, who member) []byte {
	s := strings.ReplaceAll(string(b), "~", n.prefix)
	switch {
	case field == "Records" && len(b) > 0:
		return batchOf(s, n.producer(who.actor))
	case field == "Metadata" && strings.HasPrefix(s, "sub:"):
		m := kmsg.NewConsumerMemberMetadata()
		m.Topics = strings.Split(strings.TrimPrefix(s, "sub:"), ",")
		return m.AppendTo(nil)
	}
	if b == nil {
		return nil
	}
	return []byte(s)
}

// firstTime is the timestamp of a batch's first record; each has one ms more.
const firstTime = 1_700_000_000_000

// batchOf builds the records that a text describes:
//
//	plain n=3                       three records without a producer
//	idem epoch=0 seq=4 n=2          two of the actor's idempotent producer
//	plain n=3 crc                   … with a wrong checksum; size makes the first value 2 MB; keyed gives keys;
//	                                magic makes it format 1, cut ends it early
func batchOf(text string, producer int64) []byte {
	b := kmsg.RecordBatch{PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: firstTime, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1}
	words := strings.Fields(text)
	has := func(w string) bool { return slices.Contains(words, w) }
	for _, w := range words {
		_, _ = fmt.Sscanf(w, "n=%d", &b.NumRecords) // each word is one of these or none
		_, _ = fmt.Sscanf(w, "epoch=%d", &b.ProducerEpoch)
		_, _ = fmt.Sscanf(w, "seq=%d", &b.FirstSequence)
	}
	if has("idem") {
		b.ProducerID = producer
	}
	for i := range b.NumRecords {
		b.Records = append(b.Records, recordOf(i, has("keyed"), has("size") && i == 0)...)
	}
	b.LastOffsetDelta, b.MaxTimestamp = b.NumRecords-1, firstTime+int64(b.NumRecords)-1
	if has("magic") {
		b.Magic = 1
	}
	b.Length = int32(len(b.Records) + 49)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	if has("crc") {
		raw[17] ^= 1
	}
	if has("cut") {
		raw = raw[:len(raw)-3]
	}
	return raw
}

func recordOf(i int32, keyed, large bool) []byte {
	r := kmsg.Record{TimestampDelta64: int64(i), OffsetDelta: i, Value: fmt.Appendf(nil, "value %d", i)}
	if keyed {
		r.Key = fmt.Appendf(nil, "key %d", i%2)
	}
	if large {
		r.Value = make([]byte, 2<<20)
	}
	body := r.AppendTo(nil)[1:] // without the length, which is not known before
	return append(binary.AppendVarint(nil, int64(len(body))), body...)
}

// learn takes the values that an answer gives to names of the program.
func (n *names) learn(s step, resp kmsg.Response) {
	switch r := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		if s.req.(*kmsg.CreateTopicsRequest).ValidateOnly {
			return // Kafka's answer has an id that no topic gets
		}
		for _, t := range r.Topics {
			n.learnTopic(t.Topic, t.TopicID)
		}
	case *kmsg.MetadataResponse:
		for _, t := range r.Topics {
			if t.Topic != nil {
				n.learnTopic(*t.Topic, t.TopicID)
			}
		}
	case *kmsg.DescribeTopicPartitionsResponse:
		for _, t := range r.Topics {
			if t.Topic != nil {
				n.learnTopic(*t.Topic, t.TopicID)
			}
		}
	case *kmsg.InitProducerIDResponse:
		if r.ErrorCode == 0 {
			n.producers[s.actor] = r.ProducerID
			n.back[fmt.Sprint(r.ProducerID)] = fmt.Sprintf("producer %d", s.actor)
		}
	case *kmsg.JoinGroupResponse:
		who := member{groupOf(s.req), s.actor}
		if r.ErrorCode == kerr.UnknownMemberID.Code {
			delete(n.members, who)
		} else if r.MemberID != "" {
			n.members[who] = r.MemberID
			if id := uuid.FindString(r.MemberID); id != "" && n.back[id] == "" {
				n.given[s.actor]++
				n.back[id] = fmt.Sprintf("<member %d.%d>", s.actor, n.given[s.actor])
			}
		}
		if r.ErrorCode == 0 {
			n.generation[who] = r.Generation
			if n.leaders[who.group] == nil {
				n.leaders[who.group] = map[int32]string{}
			}
			n.leaders[who.group][r.Generation] = r.LeaderID
			if r.Protocol != nil {
				n.protocol[who] = *r.Protocol
			}
		}
	}
}

func (n *names) learnTopic(name string, id [16]byte) {
	if id == ([16]byte{}) || !strings.HasPrefix(name, n.prefix) {
		return
	}
	name = strings.ReplaceAll(name, n.prefix, "~")
	h := hex.EncodeToString(id[:])
	if n.back[h] == "" {
		n.back[h] = fmt.Sprintf("<id of %s>", name)
	}
	n.topicIDs[name] = id
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
