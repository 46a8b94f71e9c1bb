package node

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/firnlog/firn/metadata/topicconfig"
)

// Broker settings that are not a default of a topic config.
const (
	autoCreateTopics = "auto.create.topics.enable"
	numPartitions    = "num.partitions"
	diskTarget       = "firn.local.disk.target"
	diskReserve      = "firn.local.disk.reserve"
)

// settings are a broker's configs, parsed.
type settings struct {
	autoCreate    bool
	numPartitions int32
	diskTarget    float64
	diskReserve   int64             // bytes; 0: firn decides
	topics        map[string]string // defaults of topic configs, by topic config name
}

// parseSettings reads broker configs by Kafka's names, strictly: an unknown key or a bad value is a sentence that names
// key, value and what is allowed (I-33).
func parseSettings(given map[string]string) (settings, error) {
	s := settings{autoCreate: true, numPartitions: 1, diskTarget: 0.70, topics: map[string]string{}}
	byBrokerKey := map[string]topicconfig.Def{}
	for _, d := range topicconfig.Defs() {
		if d.BrokerKey != "" && !d.Internal {
			byBrokerKey[d.BrokerKey] = d
		}
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if d, ok := byBrokerKey[key]; ok {
			if err := topicconfig.Validate(d.Name, given[key]); err != nil {
				return s, fmt.Errorf("setting %s: %w", key, err)
			}
			s.topics[d.Name] = given[key]
			continue
		}
		if err := s.set(key, given[key]); err != nil {
			return s, err
		}
	}
	if _, err := topicconfig.Resolve(nil, s.topics); err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	return s, nil
}

func (s *settings) set(key, value string) error {
	var err error
	ok := true
	var allowed string
	switch key {
	case autoCreateTopics:
		allowed = "true or false"
		s.autoCreate, err = strconv.ParseBool(strings.ToLower(value))
	case numPartitions:
		var n int64
		allowed = "1 to 10000"
		n, err = strconv.ParseInt(value, 10, 32)
		s.numPartitions, ok = int32(n), n >= 1 && n <= 10_000
	case diskTarget:
		allowed = "a share above 0 and up to 1"
		s.diskTarget, err = strconv.ParseFloat(value, 64)
		ok = s.diskTarget > 0 && s.diskTarget <= 1
	case diskReserve:
		allowed = "a number of bytes from 1 on"
		s.diskReserve, err = strconv.ParseInt(value, 10, 64)
		ok = s.diskReserve > 0
	default:
		return fmt.Errorf("setting %s is unknown: there are %s, %s, %s, %s and the defaults of topic configs (such as log.retention.ms)",
			key, autoCreateTopics, numPartitions, diskTarget, diskReserve)
	}
	if err != nil || !ok {
		return fmt.Errorf("setting %s: %q is not %s", key, value, allowed)
	}
	return nil
}
