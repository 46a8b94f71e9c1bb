// Package brokerconfig knows every broker config: Kafka's (KafkaConfig.configDef of 4.3) and firn's own, which begin
// with "firn.". It says type, default, how a config may be changed (DynamicBrokerConfig), what it does here, and where
// nothing in firn depends on it, why. It puts the layers together in which configs are given, in Kafka's order of
// precedence, into typed Values that brokers act on, and into what DescribeConfigs tells. It is pure: it stores nothing
// and applies nothing.
//
// What is known is accepted even where it can have no effect, so that tools which set it go on working; what is not
// known is refused (I-33).
package brokerconfig

import (
	"github.com/firnlog/firn/metadata/configdef"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// Mode says how a config may be changed (Kafka's update modes).
type Mode int8

// The modes.
const (
	ReadOnly    Mode = iota // with a restart only
	PerBroker               // while the broker runs, for one broker
	ClusterWide             // while brokers run, for one or for all
)

// String names the mode as Kafka's documentation does.
func (m Mode) String() string {
	switch m {
	case PerBroker:
		return "per-broker"
	case ClusterWide:
		return "cluster-wide"
	}
	return "read-only"
}

// Source says where a value comes from, with Kafka's codes (DescribeConfigsResponse.ConfigSource).
type Source int8

// The sources.
const (
	DynamicTopic         Source = 1
	DynamicBroker        Source = 2
	DynamicDefaultBroker Source = 3
	StaticBroker         Source = 4
	Default              Source = 5
	DynamicBrokerLogger  Source = 6
	ClientMetrics        Source = 7
	Group                Source = 8
)

// Def describes one config.
type Def struct {
	Name         string
	Type         configdef.Type
	Default      *string // firn's; nil is Kafka's null
	KafkaDefault *string // Kafka's; nil is null, and that of firn's own configs
	Mode         Mode
	KafkaMode    Mode   // Kafka's, where firn can change it while it runs and Kafka cannot: ReadOnly; else as Mode
	Doc          string // one or two sentences
	Allowed      string // what is allowed, for sentences: "at least 1", "one of a, b"; "" is anything of the type
	NoEffect     string // "": it has effect; else why nothing in firn depends on it
	Sensitive    bool   // its value is shown to nobody
	Internal     bool   // for Kafka's own tests: not described unless it was set
	Topic        string // the topic config that it is the default of, "" if none
	// Synonyms are the configs that say the same, itself among them, in order of precedence: log.roll.ms, log.roll.hours.
	// It is nil where there is no other.
	Synonyms []string
	// Flag is what of firn's own configuration says it ("--kafka"): it is described from what runs and cannot be given
	// by this name. "" for all others.
	Flag string

	check func(configdef.Value) bool
}

// Op is one operation of IncrementalAlterConfigs.
type Op = topicconfig.Op
