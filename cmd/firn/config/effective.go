package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/firnlog/firn/metadata/brokerconfig"
)

// Hidden stands for a value that is shown to nobody.
const Hidden = "(hidden)"

// Value is one key of an effective configuration, for people and scripts.
type Value struct {
	Key     string  `json:"key"`
	Value   *string `json:"value"`           // nil: it has none, or it is hidden
	Unset   string  `json:"unset,omitempty"` // what holds while the key has no value
	Hidden  bool    `json:"hidden,omitempty"`
	Set     bool    `json:"set"` // somebody gave it
	Source  string  `json:"source"`
	Default *string `json:"default"`
	Env     string  `json:"env"`
	Flag    string  `json:"flag"`
	Doc     string  `json:"doc"`
}

// Text is the value for a person.
func (v Value) Text() string {
	switch {
	case v.Hidden:
		return Hidden
	case v.Value == nil:
		return "(" + v.Unset + ")"
	}
	return *v.Value
}

// Values lists every key in the order of the file, then the broker configs that were given, in name order; with all,
// those that were not given too. Secrets are hidden.
func (e *Effective) Values(all bool) []Value {
	list := make([]Value, 0, len(keys)+len(e.Config.Settings))
	for _, k := range keys {
		v := Value{Key: k.Name, Unset: k.Unset, Env: k.Env, Flag: "--" + k.Flag, Doc: k.Doc, Source: Source{}.String()}
		if k.Default != "" {
			v.Default = &k.Default
		}
		if w, ok := e.from[k.Name]; ok { // none of these keys can hold a secret: take has seen to that
			v.Value, v.Source, v.Set = &w.value, w.source.String(), w.source.Kind != FromDefault
		}
		list = append(list, v)
	}
	names := slices.Sorted(maps.Keys(e.Config.Settings))
	if all {
		names = append(names, settingNames()...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	for _, name := range names {
		list = append(list, e.setting(name))
	}
	return list
}

func (e *Effective) setting(name string) Value {
	d, _ := brokerconfig.Lookup(name) // known: take has looked
	v := Value{Key: Settings + "." + name, Value: d.Default, Unset: "none", Default: d.Default, Source: Source{}.String(),
		Env: EnvOf(name), Flag: "--" + SetFlag + " " + name + "=…", Doc: d.Doc}
	if w, ok := e.from[v.Key]; ok {
		v.Value, v.Source, v.Set = &w.value, w.source.String(), true
		if d.Sensitive {
			v.Value, v.Hidden = nil, true
		}
	}
	if d.NoEffect != "" && !strings.Contains(v.Doc, d.NoEffect) {
		v.Doc += " No effect: " + d.NoEffect + "."
	}
	return v
}

// YAML gives the values as a configuration file, each with its doc above and its source beside it. What a file cannot
// say (secrets, what holds when nothing is written) stands there as a comment, and so do defaults of broker configs, for
// what is written in a file does not follow when a default changes or a synonym is set.
func YAML(values []Value) ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	var waiting []string // comments for the head of the next section
	for len(values) > 0 {
		section, _, _ := strings.Cut(values[0].Key, ".")
		n := 1
		for n < len(values) && strings.HasPrefix(values[n].Key, section+".") {
			n++
		}
		keys, left := sectionNode(section, values[:n])
		values = values[n:]
		if len(keys.Content) == 0 {
			waiting = append(waiting, "# "+section+":")
			waiting = append(waiting, left...)
			continue
		}
		keys.Content[len(keys.Content)-2].FootComment = strings.Join(left, "\n")
		name := plain(section)
		name.HeadComment = strings.Join(waiting, "\n")
		waiting = nil
		root.Content = append(root.Content, name, keys)
	}
	if n := len(root.Content); n > 0 {
		root.Content[n-2].FootComment = strings.Join(waiting, "\n")
	}
	return encode(root)
}

// sectionNode writes the keys of a section, and gives the comments about those that come after the last one.
func sectionNode(section string, values []Value) (n *yaml.Node, left []string) {
	n = &yaml.Node{Kind: yaml.MappingNode}
	for _, v := range values {
		short := strings.TrimPrefix(v.Key, section+".")
		left = append(left, "# "+v.Doc)
		if v.Value == nil || section == Settings && !v.Set {
			left = append(left, fmt.Sprintf("# %s: %s # %s", short, v.Text(), v.Source))
			continue
		}
		key, value := plain(short), plain(*v.Value)
		key.HeadComment = strings.Join(left, "\n")
		left = nil
		value.LineComment = "# " + v.Source
		n.Content = append(n.Content, key, value)
	}
	return n, left
}

// plain writes text as one would by hand: without quotes where it needs none. The reader takes it as text whatever it
// looks like, but for null.
func plain(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if n.ShortTag() == "!!null" {
		n.SetString(text)
	}
	return n
}

func encode(root *yaml.Node) ([]byte, error) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return []byte(b.String()), nil
}
