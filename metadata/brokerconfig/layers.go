package brokerconfig

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/firnlog/firn/metadata/configdef"
)

// Layers are the places where configs are given. What is said for one broker goes before what is said for all, and
// that before what the broker was started with.
type Layers struct {
	Static  map[string]string // file, environment, flags, and what runs (listeners, node.id, log.dirs)
	Cluster map[string]string // dynamic, of all brokers
	Broker  map[string]string // dynamic, of this broker
}

// Setting is a config as DescribeConfigs tells it.
type Setting struct {
	Def    Def
	Value  *string // under its own name, as Kafka gives it: null where only a synonym is set, and what is sensitive
	Source Source  // of the first of Synonyms; Default if there is none
	// Synonyms are the values that were given, in order of precedence, from the first under the config's own name on:
	// Kafka does not tell what goes before that, such as hours where the ms are not set. Effective does.
	Synonyms []Synonym

	effective *string
}

// Synonym is a value that was given somewhere, maybe under another name.
type Synonym struct {
	Name   string
	Value  *string // null for what is sensitive
	Source Source
}

// layer is one of the Layers with its source.
type layer struct {
	values map[string]string
	source Source
}

func (l Layers) inOrder() []layer {
	return []layer{{l.Broker, DynamicBroker}, {l.Cluster, DynamicDefaultBroker}, {l.Static, StaticBroker}}
}

// given lists the values of a config and its synonyms, in order of precedence: layer by layer, and within one by the
// order of the synonyms (ConfigHelper.configSynonyms).
func (l Layers) given(d *Def) []Synonym {
	names := d.Synonyms
	if names == nil {
		names = []string{d.Name}
	}
	var all []Synonym
	for _, layer := range l.inOrder() {
		for _, n := range names {
			if v, ok := layer.values[n]; ok {
				all = append(all, Synonym{n, &v, layer.source})
			}
		}
	}
	for _, n := range names {
		if s, ok := Lookup(n); ok && s.Default != nil {
			all = append(all, Synonym{n, s.Default, Default})
		}
	}
	return all
}

// listed are those of the given values that Kafka tells: from the first under the config's own name on. firn's default
// of log.retention.ms, which has none in Kafka, is not told where it gives way to hours or minutes.
func listed(d *Def, given []Synonym) []Synonym {
	at := slices.IndexFunc(given, func(s Synonym) bool { return s.Name == d.Name })
	if at < 0 || at > 0 && given[at].Source == Default && given[0].Source != Default && d.KafkaDefault == nil {
		return nil
	}
	return given[at:]
}

// own is the value that a config has under its own name.
func own(d *Def, given []Synonym) *string {
	if told := listed(d, given); len(told) > 0 {
		return canonical(d, told[0].Value)
	}
	return nil
}

// effective is the value that counts, in the config's unit.
func effective(d *Def, given []Synonym) *string {
	if len(d.Synonyms) == 0 || d.Synonyms[0] != d.Name || len(given) == 0 || given[0].Name == d.Name {
		return own(d, given)
	}
	v, ok := configdef.Long.Parse(*given[0].Value)
	if !ok {
		return nil
	}
	if v.Num > 0 {
		v.Num *= unitMs(given[0].Name)
	}
	text := strconv.FormatInt(v.Num, 10)
	return &text
}

// canonical writes a value as Kafka shows it.
func canonical(d *Def, value *string) *string {
	if value == nil {
		return nil
	}
	v, ok := d.Type.Parse(*value)
	if !ok {
		return value
	}
	text := d.Type.Canonical(v)
	return &text
}

// Describe gives every config in name order. Internal ones are left out unless they were set.
func (l Layers) Describe() []Setting {
	var all []Setting
	for i := range defs {
		if s := l.setting(&defs[i]); !s.Def.Internal || s.Source != Default {
			all = append(all, s)
		}
	}
	names := map[string]bool{}
	for _, layer := range l.inOrder() {
		for n := range layer.values {
			if _, ok := index[n]; !ok {
				names[n] = true
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(names)) { // of listeners; what is not known at all does not get this far
		if d, ok := Lookup(n); ok {
			all = append(all, l.setting(&d))
		}
	}
	slices.SortStableFunc(all, func(a, b Setting) int { return strings.Compare(a.Def.Name, b.Def.Name) })
	return all
}

func (l Layers) setting(d *Def) Setting {
	given := l.given(d)
	s := Setting{Def: *d, Value: own(d, given), Source: Default, Synonyms: listed(d, given), effective: effective(d, given)}
	if len(s.Synonyms) > 0 {
		s.Source = s.Synonyms[0].Source
	}
	return s.hidden()
}

// hidden takes the values of what is sensitive away.
func (s Setting) hidden() Setting {
	if s.Def.Sensitive {
		s.Value, s.effective = nil, nil
		for i := range s.Synonyms {
			s.Synonyms[i].Value = nil
		}
	}
	return s
}

// DescribeCluster gives what is set for all brokers, in name order: the broker resource without a name.
func (l Layers) DescribeCluster() []Setting {
	var all []Setting
	for _, n := range slices.Sorted(maps.Keys(l.Cluster)) {
		d, ok := Lookup(n)
		if !ok {
			continue
		}
		value := l.Cluster[n]
		s := Setting{Def: d, Value: &value, Source: DynamicDefaultBroker, effective: canonical(&d, &value)}
		for _, syn := range listed(&d, l.given(&d)) {
			if syn.Source == DynamicDefaultBroker {
				s.Synonyms = append(s.Synonyms, syn)
			}
		}
		all = append(all, s.hidden())
	}
	return all
}

// TopicSynonyms gives the values that were given for the default of a topic config, in order of precedence and in the
// units of their names, as far as Kafka tells them (Setting.Synonyms); nil for one that no broker config is the default
// of.
func (l Layers) TopicSynonyms(topicConfig string) []Synonym {
	for i := range defs {
		if defs[i].Topic == topicConfig {
			return listed(&defs[i], l.given(&defs[i]))
		}
	}
	return nil
}

// Effective is the value that counts, in the unit of this config, wherever it was given: log.retention.ms is 3600000
// where log.retention.hours is 1. nil is null.
func (s Setting) Effective() *string { return s.effective }
