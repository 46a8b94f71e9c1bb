// Package groupconfig knows the configs of groups (Kafka's GroupConfig of 4.3): type, default, rules, documentation.
// All of them speak of group protocols that firn does not have yet: they are stored, validated and described, so that
// tools go on working, and have no effect. The package is pure.
package groupconfig

import (
	"maps"
	"slices"
	"strconv"

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

	check  func(configdef.Value) bool
	lo, hi string // broker configs that bound it, "" if none
}

// Defs gives all configs sorted by name. The slice is shared and must not be written to.
func Defs() []Def { return defs }

// Lookup finds a config by name.
func Lookup(name string) (Def, bool) {
	i, ok := slices.BinarySearchFunc(defs, name, func(d Def, n string) int {
		switch {
		case d.Name < n:
			return -1
		case d.Name > n:
			return 1
		}
		return 0
	})
	if !ok {
		return Def{}, false
	}
	return defs[i], true
}

// Validate checks one config. The error names key, value and what is allowed.
func Validate(name, value string) error {
	d, ok := Lookup(name)
	if !ok {
		return configdef.Invalid(name, "Unknown group config name: %s", configdef.Clip(name))
	}
	if v, ok := d.Type.Parse(value); !ok || d.check != nil && !d.check(v) {
		return configdef.Invalid(name, "Invalid value %s for configuration %s: it is %s, allowed is %s", configdef.Clip(value), name, d.Type.WithArticle(), d.Allowed)
	}
	return nil
}

// Setting is a config of a group as DescribeConfigs tells it.
type Setting struct {
	Def      Def
	Value    string
	Source   brokerconfig.Source
	Synonyms []brokerconfig.Synonym // in order of precedence
}

// Describe gives every config of a group in name order. stored is what was set for it.
func Describe(stored map[string]string, l brokerconfig.Layers) []Setting {
	broker := map[string]brokerconfig.Setting{}
	for _, s := range l.Describe() {
		broker[s.Def.Name] = s
	}
	var all []Setting
	for _, d := range defs {
		s := Setting{Def: d, Value: d.Default, Source: brokerconfig.Default}
		if b, ok := broker[d.Broker]; ok {
			s.Value, s.Source, s.Synonyms = *b.Value, b.Source, b.Synonyms
		} else {
			s.Synonyms = []brokerconfig.Synonym{{Name: d.Name, Value: &d.Default, Source: brokerconfig.Default}}
		}
		if v, ok := stored[d.Name]; ok {
			parsed, _ := d.Type.Parse(v)
			s.Value, s.Source = d.Type.Canonical(parsed), brokerconfig.Group
			s.Synonyms = slices.Concat([]brokerconfig.Synonym{{Name: d.Name, Value: &v, Source: brokerconfig.Group}}, s.Synonyms)
		}
		all = append(all, s)
	}
	return all
}

// Alter works ops into the configs of a group and tells what is to be set and deleted. Errors are
// configdef.ErrInvalid (INVALID_CONFIG), each a sentence.
func Alter(stored map[string]string, ops []configdef.Op, l brokerconfig.Layers) (set map[string]string, deleted []string, err error) {
	next := maps.Clone(stored)
	if next == nil {
		next = map[string]string{}
	}
	for _, op := range ops {
		switch op.Kind {
		case configdef.Set:
			if err := Validate(op.Key, op.Value); err != nil {
				return nil, nil, err
			}
			next[op.Key] = op.Value
		case configdef.Delete:
			if _, there := next[op.Key]; !there {
				if _, known := Lookup(op.Key); !known {
					return nil, nil, configdef.Invalid(op.Key, "Unknown group config name: %s", configdef.Clip(op.Key))
				}
			}
			delete(next, op.Key)
		default:
			return nil, nil, configdef.Invalid(op.Key, "%s is no list: nothing can be appended to it or subtracted from it", configdef.Clip(op.Key))
		}
	}
	if err := check(next, l); err != nil {
		return nil, nil, err
	}
	set, deleted = configdef.Diff(stored, next)
	return set, deleted, nil
}

// check holds what was set against the bounds that the broker gives groups, and session timeouts against heartbeats
// (GroupConfig.validateValues).
func check(stored map[string]string, l brokerconfig.Layers) error {
	bounds := map[string]int64{}
	for _, s := range l.Describe() {
		if v := s.Effective(); v != nil {
			if n, err := strconv.ParseInt(*v, 10, 64); err == nil {
				bounds[s.Def.Name] = n
			}
		}
	}
	now := map[string]int64{}
	for _, d := range defs {
		text, set := stored[d.Name]
		if !set {
			now[d.Name] = bounds[d.Broker]
			continue
		}
		v, _ := d.Type.Parse(text)
		now[d.Name] = v.Num
		if lo, ok := bounds[d.lo]; ok && v.Num < lo {
			return configdef.Invalid(d.Name, "%s (%d) must not be less than %s (%d)", d.Name, v.Num, d.lo, lo)
		}
		if hi, ok := bounds[d.hi]; ok && v.Num > hi {
			return configdef.Invalid(d.Name, "%s (%d) must not be greater than %s (%d)", d.Name, v.Num, d.hi, hi)
		}
	}
	for _, kind := range []string{"consumer", "share", "streams"} {
		session, beat := kind+".session.timeout.ms", kind+".heartbeat.interval.ms"
		if now[session] <= now[beat] {
			return configdef.Invalid(session, "%s (%d) must be greater than %s (%d)", session, now[session], beat, now[beat])
		}
	}
	return nil
}
