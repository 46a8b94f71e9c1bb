package compaction

import (
	"fmt"
	"strings"

	"github.com/firnlog/firn/tier/topic"
)

// Owner is the content of `<cluster id>/owner`: which life of the cluster may delete in the bucket.
type Owner struct {
	Format     int    `json:"format"` // 1
	ClusterID  string `json:"cluster"`
	Generation string `json:"generation"`
	ClaimedAt  int64  `json:"claimedAt"` // ms
	// Foreign names what else was in the bucket when it was claimed. As long as it is not empty nothing is deleted:
	// the metadata may be a fresh start over a bucket that holds a former life's data.
	Foreign []string `json:"foreign,omitempty"`
}

// Marker says how far the metadata had come when it was written. It is written before anything is deleted, and from
// time to time.
type Marker struct {
	Format     int            `json:"format"` // 1
	ClusterID  string         `json:"cluster"`
	Generation string         `json:"generation"`
	Revision   int64          `json:"revision"` // of the metadata store
	At         int64          `json:"at"`       // ms
	Ledgers    []MarkedLedger `json:"ledgers"`
}

// MarkedLedger is one partition in a Marker.
type MarkedLedger struct {
	Topic     topic.ID `json:"topic"`
	Partition int32    `json:"partition"`
	Version   int64    `json:"v"`
	Next      int64    `json:"next"`
}

// Recorded is a reason for distrust that was written down, because it may not show again.
type Recorded struct {
	Format int    `json:"format"` // 1
	Reason string `json:"reason"`
	At     int64  `json:"at"` // ms
}

// Evidence is all that the decision to trust a bucket rests on.
type Evidence struct {
	ClusterID, Generation string // of the metadata
	Revision              int64

	Owner    *Owner   // nil: the bucket has none for this cluster
	Lost     bool     // the bucket has nothing of this cluster, and the metadata names segments in it
	Bad      string   // an owner or marker object cannot be understood: what and why
	Others   []string // other generations of this cluster that have objects in the bucket
	Foreign  []string // other names at its top level
	Recorded []string // reasons written down earlier
	Marker   *Marker  // the newest; nil: none

	// Version tells the ledger version of a partition that is live or tombstoned; false for an unknown one.
	Version func(id topic.ID, partition int32) (int64, bool)
}

// Judge tells why the bucket is not to be trusted, as the second half of a sentence that names it; empty when it is.
// record says that the reason should be written down because it may not show at the next start (I-35).
func Judge(e Evidence) (reason string, record bool) {
	switch {
	case e.Bad != "":
		return e.Bad, false
	case e.Lost:
		return "it holds nothing of this cluster, whose metadata names archived segments: it is another bucket, a folder whose disk is " +
			"not mounted, or was emptied", false
	case e.Owner == nil && len(e.Others) > 0:
		// Objects of our own generation are no reason: uploads may have begun before the bucket could be claimed.
		return fmt.Sprintf("it holds objects of generation %s of this cluster but no owner object, the metadata is of generation %s",
			strings.Join(e.Others, ", "), e.Generation), false
	case e.Owner == nil && len(e.Foreign) > 0:
		return foreign(e.Foreign), false
	case e.Owner != nil && e.Owner.ClusterID != e.ClusterID:
		return fmt.Sprintf("its owner object is that of cluster %s, this is cluster %s", e.Owner.ClusterID, e.ClusterID), false
	case e.Owner != nil && e.Owner.Generation != e.Generation:
		return fmt.Sprintf("it belongs to generation %s of this cluster, the metadata is of generation %s",
			e.Owner.Generation, e.Generation), false
	case len(e.Recorded) > 0:
		return e.Recorded[0], false
	case e.Owner != nil && len(e.Owner.Foreign) > 0:
		return foreign(e.Owner.Foreign), false
	case e.Marker == nil:
		return "", false
	case e.Marker.Revision > e.Revision:
		return fmt.Sprintf("it was written to by metadata at revision %d, the metadata is at revision %d now: it is older than the bucket",
			e.Marker.Revision, e.Revision), true
	}
	for _, m := range e.Marker.Ledgers {
		v, known := e.Version(m.Topic, m.Partition)
		switch {
		case !known:
			return fmt.Sprintf("it holds partition %d of topic %s, which the metadata does not know: the metadata is older than the bucket",
				m.Partition, m.Topic), true
		case v < m.Version:
			return fmt.Sprintf("the ledger of partition %d of topic %s had reached version %d and is at %d now: the metadata is older than the bucket",
				m.Partition, m.Topic, m.Version, v), true
		}
	}
	return "", false
}

func foreign(names []string) string {
	return "it already held other data when this cluster first used it (" + strings.Join(names, ", ") +
		"): if the metadata was lost, restore it; if others use the bucket, give this cluster a prefix of its own"
}
