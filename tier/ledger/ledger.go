// Package ledger is a partition's list of archived segments: what object storage holds of it, in offset
// order, and the rules by which that list may change. It is pure: no goroutine, lock, clock or I/O. All rules
// stand in apply.go; who calls Apply (metadata/etcd) commits the outcome with a compare on Version.
//
// Invariants after every edit (I-11): the entries (folds, then recent segments) are in offset order, do not
// overlap, and cover [Start, Next) without a gap; Start, Next, Epoch and Fence never go back. Entries below Start
// stay until Expire takes them; a gap may lie wholly below Start only. While there are folds there is at least one
// recent segment.
//
// It deliberately does not read or write objects, does not know etcd, and does not decide when to archive, fold
// or delete: tier/upload and compaction do.
package ledger

import "github.com/firnlog/firn/tier/topic"

// Segment is one archived range of offsets: whole record batches, in one byte range of one object.
type Segment struct {
	Base               int64  `json:"base"`          // first offset of the range
	Next               int64  `json:"next"`          // offset after the range
	Key                string `json:"key"`           // object key, relative to the store's prefix
	Position           int64  `json:"pos,omitempty"` // where the segment begins in the object
	Length             int64  `json:"len"`           // its bytes in the object
	CRC32C             uint32 `json:"crc"`           // of those bytes
	DataBytes          int64  `json:"data"`          // bytes of record batches as a client would fetch them
	IndexLength        int64  `json:"idx"`           // bytes of index and footer at the segment's end
	Epoch              int32  `json:"epoch"`         // leader epoch that appended the entry
	MinTimestamp       int64  `json:"tmin"`          // smallest base timestamp, ms
	MaxTimestamp       int64  `json:"tmax"`          // largest record timestamp, ms
	MaxTimestampOffset int64  `json:"tmaxo"`         // offset of the first record that carries it
	CommittedAt        int64  `json:"at"`            // leader's clock at the append, ms
}

// FoldRef names an immutable object in the bucket that holds older segments of the ledger, many at a time.
type FoldRef struct {
	Base               int64  `json:"base"`
	Next               int64  `json:"next"`
	Key                string `json:"key"`
	Length             int64  `json:"len"`
	CRC32C             uint32 `json:"crc"`
	Count              int    `json:"n"`
	DataBytes          int64  `json:"data"`
	StoredBytes        int64  `json:"stored"` // sum of the segments' Length
	MinTimestamp       int64  `json:"tmin"`
	MaxTimestamp       int64  `json:"tmax"`
	MaxTimestampOffset int64  `json:"tmaxo"`
}

// Ledger is an immutable snapshot. The zero Version is a ledger that was never written (nothing archived).
type Ledger struct {
	Topic   topic.ID  `json:"topic"`
	Index   int32     `json:"partition"`
	Version int64     `json:"v"`     // grows by one with every edit
	Start   int64     `json:"start"` // log start offset of the partition as a whole; nothing below is readable
	Next    int64     `json:"next"`  // offset after the last archived one; where the next upload begins
	Epoch   int32     `json:"epoch"` // leader epoch of the last append
	Fence   int64     `json:"fence"` // gc fence: an append must name the fence that it read before its upload began
	Folds   []FoldRef `json:"folds,omitempty"`
	Recent  []Segment `json:"-"` // unfolded segments, oldest first, after the folds
}
