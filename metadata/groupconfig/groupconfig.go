// Package groupconfig knows the configs of groups (Kafka's GroupConfig of 4.3): type, default, rules, documentation.
// All of them speak of group protocols that firn does not have yet: they are stored, validated and described, so that
// tools go on working, and have no effect. The package is pure.
package groupconfig

import (
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/configdef"
)

// Def describes one config.
type Def struct {
	Name     string
	Type     configdef.Type
	Default  string
	Broker   string // the broker config that is its default, "" if there is none
	Doc      string
	Allowed  string // what is allowed, for sentences
	NoEffect string // why nothing in firn depends on it
	rule     configdef.Rule
}

// Defs gives all configs sorted by name. The slice is shared and must not be written to.
func Defs() []Def { return nil }

// Lookup finds a config by name.
func Lookup(name string) (Def, bool) { return Def{}, false }

// Validate checks one config. The error names key, value and what is allowed.
func Validate(name, value string) error { return nil }

// Setting is a config of a group as DescribeConfigs tells it.
type Setting struct {
	Def      Def
	Value    string
	Source   brokerconfig.Source
	Synonyms []brokerconfig.Synonym // in order of precedence
}

// Describe gives every config of a group in name order. stored is what was set for it.
func Describe(stored map[string]string, l brokerconfig.Layers) []Setting { return nil }

// Alter works ops into the configs of a group and tells what is to be set and deleted. Errors are
// configdef.ErrInvalid (INVALID_CONFIG), each a sentence.
func Alter(stored map[string]string, ops []configdef.Op, l brokerconfig.Layers) (set map[string]string, deleted []string, err error) {
	return nil, nil, nil
}
