package etcd

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// The keys, below one prefix ("/firn/"). Values are JSON unless said otherwise.
//
//	cluster                        cluster id and generation; written once, at the cluster's birth
//	controller                     the controller's broker id, in decimal (under its election lease, later)
//	broker/<id>                    a live broker's registration, under its lease
//	config/<broker id|default>     dynamic broker configs
//	groupconfig/<group id>         configs of a group
//	topic/<name, '.' as '_'>       id, real name, configs, partition count: what makes a topic visible
//	part/<topic id>/<index>        partition state: leader epoch, 4 bytes big-endian, then JSON
//	tomb/<topic id>                a deleted topic (or one whose creation is under way)
//	pids                           the next producer id, in decimal
//	lh/<topic id>/<index>          ledger head, and marks of the last commits
//	ls/<topic id>/<index>/<base>   one recent ledger entry
//
// Folding '.' and '_' makes names that Kafka regards as colliding meet in one key. The leader epoch leads the
// partition's value so that a ledger append can compare it (Value < epoch+1) without knowing the rest. Numbers
// in keys are zero-padded so that keys sort as numbers do.
const (
	kCluster    = "cluster"
	kController = "controller"
	kBroker     = "broker/"
	kConfig     = "config/"
	kGroup      = "groupconfig/"
	kTopic      = "topic/"
	kPart       = "part/"
	kTomb       = "tomb/"
	kPIDs       = "pids"
	kHead       = "lh/"
	kSeg        = "ls/"
)

const defaultsID = "default"

// keys makes full keys from the store's prefix.
type keys struct{ prefix string }

func (k keys) cluster() string               { return k.prefix + kCluster }
func (k keys) pids() string                  { return k.prefix + kPIDs }
func (k keys) broker(id int32) string        { return k.prefix + kBroker + strconv.Itoa(int(id)) }
func (k keys) topic(name string) string      { return k.prefix + kTopic + metadata.CanonicalName(name) }
func (k keys) tomb(id topic.ID) string       { return k.prefix + kTomb + id.String() }
func (k keys) parts(id topic.ID) string      { return k.prefix + kPart + id.String() + "/" }
func (k keys) heads(id topic.ID) string      { return k.prefix + kHead + id.String() + "/" }
func (k keys) topicSegs(id topic.ID) string  { return k.prefix + kSeg + id.String() + "/" }
func (k keys) part(p lkey) string            { return k.parts(p.id) + pad10(p.index) }
func (k keys) head(p lkey) string            { return k.heads(p.id) + pad10(p.index) }
func (k keys) segs(p lkey) string            { return k.topicSegs(p.id) + pad10(p.index) + "/" }
func (k keys) seg(p lkey, base int64) string { return k.segs(p) + fmt.Sprintf("%020d", base) }

func (k keys) config(id int32) string {
	if id == metadata.ClusterDefaults {
		return k.prefix + kConfig + defaultsID
	}
	return k.prefix + kConfig + strconv.Itoa(int(id))
}

func (k keys) group(id string) string { return k.prefix + kGroup + id }

func pad10(n int32) string { return fmt.Sprintf("%010d", n) }

// lkey names a partition by what the keys hold of it.
type lkey struct {
	id    topic.ID
	index int32
}

func lkeyOf(p topic.Partition) lkey { return lkey{p.ID, p.Index} }

// parsePart reads "<topic id>/<index>" and what follows a further slash.
func parsePart(s string) (p lkey, rest string, ok bool) {
	id, s, ok := strings.Cut(s, "/")
	if !ok {
		return p, "", false
	}
	n, rest, _ := strings.Cut(s, "/")
	i, err := strconv.ParseInt(n, 10, 32)
	if err != nil || i < 0 {
		return p, "", false
	}
	if p.id, err = topic.ParseID(id); err != nil {
		return p, "", false
	}
	p.index = int32(i)
	return p, rest, true
}

// identity is the value of kCluster.
type identity struct {
	ClusterID  string `json:"clusterId"`
	Generation string `json:"generation"`
	CreatedAt  int64  `json:"createdAt"`
}

// topicHead is the value of a topic key.
type topicHead struct {
	ID         topic.ID          `json:"id"`
	Name       string            `json:"name"`
	Partitions int32             `json:"partitions"`
	Configs    map[string]string `json:"configs,omitempty"`
	Internal   bool              `json:"internal,omitempty"`
	CreatedAt  int64             `json:"createdAt"`
}

func headOf(t *metadata.Topic) topicHead {
	return topicHead{ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions)), Configs: t.Configs, Internal: t.Internal, CreatedAt: t.CreatedAt}
}

// ledgerHead is the value of a ledger's head. Marks names the last commits, newest last: that is how a writer
// whose answer was lost finds out whether its edit went in.
type ledgerHead struct {
	Ledger ledger.Ledger `json:"ledger"`
	Marks  []string      `json:"marks"`
}

const maxMarks = 16

func encodePartition(p metadata.Partition) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(p.LeaderEpoch))
	return string(b) + encode(p)
}

func decodePartition(b []byte, version int64) (metadata.Partition, error) {
	var p metadata.Partition
	if len(b) < 4 {
		return p, fmt.Errorf("partition state of %d bytes", len(b))
	}
	if err := json.Unmarshal(b[4:], &p); err != nil {
		return p, err
	}
	p.LeaderEpoch, p.Version = int32(binary.BigEndian.Uint32(b)), version
	return p, nil
}

// epochBytes is what the value of every partition state at epoch e begins with; it sorts below them all.
func epochBytes(e uint32) string { return string(binary.BigEndian.AppendUint32(nil, e)) }

// encode marshals plain structs of this package and metadata, which cannot fail.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
