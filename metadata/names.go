package metadata

import (
	"fmt"
	"strings"
)

// MaxTopicName is the longest name: the partition's folder must fit into 255 bytes (Kafka's
// org.apache.kafka.common.internals.Topic).
const MaxTopicName = 249

// ValidateTopicName tells in a sentence what is wrong with a name, by Kafka's rules: 1 to 249 of letters,
// digits, '.', '_' and '-', and neither "." nor "..". The error wraps ErrInvalidTopic.
func ValidateTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidTopic)
	case name == "." || name == "..":
		return fmt.Errorf("%w: %q stands for a folder", ErrInvalidTopic, name)
	case len(name) > MaxTopicName:
		return fmt.Errorf("%w: %d characters, at most %d are allowed", ErrInvalidTopic, len(name), MaxTopicName)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%w: %q has a character other than letters, digits, '.', '_' and '-'", ErrInvalidTopic, name)
		}
	}
	return nil
}

// CanonicalName folds '.' and '_': names that are equal afterwards collide, because metrics cannot tell them apart.
func CanonicalName(name string) string { return strings.ReplaceAll(name, ".", "_") }

// IsInternal reports whether Kafka reserves the topic for itself.
func IsInternal(name string) bool {
	return name == "__consumer_offsets" || name == "__transaction_state" || name == "__share_group_state"
}
