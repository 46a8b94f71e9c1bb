// Package layout knows where things lie in the bucket: the keys of segments, folds, the owner object and the
// version markers. It is pure. Uploader, cold reader, collector and the tools that list a bucket agree here
// and nowhere else.
//
//	<cluster id>/owner                                          who may delete (see package compaction)
//	<cluster id>/<generation>/markers/<revision>-<ms>-<random>   versions that the metadata had reached
//	<cluster id>/<generation>/distrust/<random>                  a reason why nothing may be deleted any more
//	<cluster id>/<generation>/<hash>/<topic id>/<partition>/<base>-<epoch>-<random>       a segment
//	<cluster id>/<generation>/<hash>/<topic id>/<partition>/fold-<base>-<version>-<random> a fold
//
// The hash of topic id and partition spreads the keys, because stores shard by key prefix. Every key but the
// owner's ends in 128 random bits: keys are unique per attempt and no object is ever overwritten (I-07).
// Offsets, revisions and versions are written with 19 digits, so that a listing is in their order.
package layout

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/firnlog/firn/tier/topic"
)

// Layout names one life of one cluster in a bucket. The zero Layout is not valid.
type Layout struct {
	ClusterID  string // as in Metadata answers
	Generation string // drawn when the cluster's metadata was created or restored
}

// Check says why the names cannot be parts of keys, or nil.
func (l Layout) Check() error {
	for _, s := range []string{l.ClusterID, l.Generation} {
		if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\") {
			return fmt.Errorf("cluster id %q, generation %q: each must be one component of a key", l.ClusterID, l.Generation)
		}
	}
	return nil
}

// ClusterPrefix is what all keys of the cluster begin with, whatever the generation.
func (l Layout) ClusterPrefix() string { return l.ClusterID + "/" }

// OwnerKey is the key of the object that names the live generation.
func (l Layout) OwnerKey() string { return l.ClusterID + "/owner" }

// Prefix is what all keys of this generation begin with.
func (l Layout) Prefix() string { return l.ClusterID + "/" + l.Generation + "/" }

// MarkerPrefix is what the keys of version markers begin with.
func (l Layout) MarkerPrefix() string { return l.Prefix() + "markers/" }

// MarkerKey is a fresh key for a version marker at the metadata revision, written at atMs (ms).
func (l Layout) MarkerKey(revision, atMs int64) string {
	return fmt.Sprintf("%s%019d-%019d-%s", l.MarkerPrefix(), revision, atMs, random())
}

// DistrustPrefix is what the keys of recorded reasons for distrust begin with.
func (l Layout) DistrustPrefix() string { return l.Prefix() + "distrust/" }

// DistrustKey is a fresh key for a recorded reason.
func (l Layout) DistrustKey() string { return l.DistrustPrefix() + random() }

// ProbeKey is a fresh key to try out what the store can do.
func (l Layout) ProbeKey() string { return l.ClusterID + "/probe-" + random() }

// PartitionPrefix is what the keys of the partition's segments and folds begin with.
func (l Layout) PartitionPrefix(id topic.ID, index int32) string {
	h := fnv.New32a()
	h.Write(id[:])
	h.Write([]byte{byte(index >> 24), byte(index >> 16), byte(index >> 8), byte(index)})
	return fmt.Sprintf("%s%04x/%s/%d/", l.Prefix(), h.Sum32()>>16, id, index)
}

// SegmentKey is a fresh key for a segment of the partition that begins at offset base.
func (l Layout) SegmentKey(id topic.ID, index int32, base int64, epoch int32) string {
	return fmt.Sprintf("%s%019d-%d-%s", l.PartitionPrefix(id, index), base, epoch, random())
}

// FoldKey is a fresh key for a fold that begins at offset base, made from the ledger at version.
func (l Layout) FoldKey(id topic.ID, index int32, base, version int64) string {
	return fmt.Sprintf("%sfold-%019d-%019d-%s", l.PartitionPrefix(id, index), base, version, random())
}

// Name is what a key of a partition's folder says.
type Name struct {
	Fold    bool
	Base    int64
	Epoch   int32 // of a segment
	Version int64 // of a fold
}

// ParseName reads the last component of a segment's or fold's key; false when it is neither.
func ParseName(key string) (Name, bool) {
	last := key[strings.LastIndexByte(key, '/')+1:]
	rest, fold := strings.CutPrefix(last, "fold-")
	parts := strings.Split(rest, "-")
	if len(parts) != 3 || len(parts[0]) != 19 || len(parts[2]) != 32 {
		return Name{}, false
	}
	base, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || base < 0 {
		return Name{}, false
	}
	bits := 32
	if fold {
		bits = 64
	}
	v, err := strconv.ParseInt(parts[1], 10, bits)
	if err != nil || v < 0 {
		return Name{}, false
	}
	if fold {
		return Name{Fold: true, Base: base, Version: v}, true
	}
	return Name{Base: base, Epoch: int32(v)}, true
}

// random gives 128 random bits as text.
func random() string {
	var b [16]byte
	rand.Read(b[:]) // never fails on the platforms that firn supports
	return hex.EncodeToString(b[:])
}
