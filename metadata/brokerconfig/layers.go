package brokerconfig

// Defs gives all configs sorted by name. The slice is shared and must not be written to.
func Defs() []Def { return nil }

// Lookup finds a config by name; also one of a listener ("listener.name.<listener>.<config>").
func Lookup(name string) (Def, bool) { return Def{}, false }

// Validate checks one config. The error names key, value and what is allowed (I-33).
func Validate(name, value string) error { return nil }

// Resolve puts the layers together. The error says what is wrong with the first config that is (I-33).
func (l Layers) Resolve() (*Values, error) { return nil, nil }

// Describe gives every config in name order. Internal ones are left out unless they were set.
func (l Layers) Describe() []Setting { return nil }

// TopicSynonyms gives the values that were given for the default of a topic config, in order of precedence; nil for
// one that no broker config is the default of.
func (l Layers) TopicSynonyms(topicConfig string) []Synonym { return nil }

// Effective is the value that counts, in the unit of this config, wherever it was given: log.retention.ms is 3600000
// where log.retention.hours is 1. nil is null.
func (s Setting) Effective() *string { return nil }

// Alter works ops into the dynamic configs of one broker (perBroker) or of all, by Kafka's rules, and tells what is to
// be set and deleted. l are the layers as they are, stored included. ErrReadOnly and ErrPerBroker are INVALID_REQUEST,
// configdef.ErrInvalid (topicconfig.ErrInvalid) is INVALID_CONFIG; each is a sentence.
func Alter(stored map[string]string, ops []Op, perBroker bool, l Layers) (set map[string]string, deleted []string, err error) {
	return nil, nil, nil
}
