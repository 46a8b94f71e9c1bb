package metadata

import "github.com/firnlog/firn/tier/topic"

// Edit is one of the kinds below: a change of the cluster that is made whole or not at all.
type Edit interface {
	// Kind names the edit in logs and metrics.
	Kind() string
	plan(img *Image, now int64) (Changes, error)
	// holds reports whether the image shows the edit's outcome, so that an ambiguous answer can be settled.
	holds(img *Image) bool
}

// CreateTopic makes a topic with all its partitions; nobody sees it before it is complete.
type CreateTopic struct {
	ID         topic.ID // fresh (topic.NewID)
	Name       string
	Configs    map[string]string // validated and resolved (topicconfig.AtCreation)
	Partitions []Partition       // Version, and PartitionEpoch, are ignored
	Internal   bool
}

// DeleteTopic hides the topic at once and leaves a tombstone; ledgers stay until ForgetTombstone.
type DeleteTopic struct{ ID topic.ID }

// AddPartitions grows a topic that has From partitions by those given.
type AddPartitions struct {
	ID         topic.ID
	From       int32
	Partitions []Partition
}

// AlterTopicConfigs sets some configs and deletes others of a topic.
type AlterTopicConfigs struct {
	ID      topic.ID
	Version int64 // of the Topic that the edit was made from; 0 compares nothing
	Set     map[string]string
	Delete  []string
	// Unarchived makes the edit fail with ErrArchived when any ledger of the topic names a segment, checked in
	// the same transaction (a change of cleanup.policy to compact).
	Unarchived bool
}

// ChangePartition replaces the state of one partition, if it still has version Version.
type ChangePartition struct {
	ID      topic.ID
	Index   int32
	Version int64
	State   Partition // PartitionEpoch is set by the plan; LeaderEpoch must not go back
}

// AlterBrokerConfigs sets and deletes dynamic configs of one broker, or of all (ClusterDefaults).
type AlterBrokerConfigs struct {
	Broker int32
	Set    map[string]string
	Delete []string
}

// AlterGroupConfigs sets and deletes configs of a group, which need not exist. A group without configs is forgotten.
type AlterGroupConfigs struct {
	Group  string
	Set    map[string]string
	Delete []string
}

// Kind implements Edit.
func (CreateTopic) Kind() string { return "create-topic" }

// Kind implements Edit.
func (DeleteTopic) Kind() string { return "delete-topic" }

// Kind implements Edit.
func (AddPartitions) Kind() string { return "add-partitions" }

// Kind implements Edit.
func (AlterTopicConfigs) Kind() string { return "alter-topic-configs" }

// Kind implements Edit.
func (ChangePartition) Kind() string { return "change-partition" }

// Kind implements Edit.
func (AlterBrokerConfigs) Kind() string { return "alter-broker-configs" }

// Kind implements Edit.
func (AlterGroupConfigs) Kind() string { return "alter-group-configs" }
