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
	Key     string `json:"key"`
	Value   string `json:"value"`
	Set     bool   `json:"set"` // false: Value is a default, or a sentence that says what holds
	Source  string `json:"source"`
	Default string `json:"default"`
	Env     string `json:"env"`
	Flag    string `json:"flag"`
	Doc     string `json:"doc"`

	fits bool // Value can be written into a file
}

// Values lists every key in the order of the file, then the broker configs that were given, in name order; with all,
// those that were not given too. Secrets are hidden.
func (e *Effective) Values(all bool) []Value {
	list := make([]Value, 0, len(keys)+len(e.Config.Settings))
	for _, k := range keys {
		v := Value{Key: k.Name, Default: k.Default, Env: k.Env, Flag: "--" + k.Flag, Doc: k.Doc, Source: Source{}.String()}
		if w, ok := e.from[k.Name]; ok {
			v.Value, v.Source, v.Set, v.fits = k.show(w.value), w.source.String(), w.source.Kind != FromDefault, true
		} else {
			v.Value = "(" + k.Unset + ")"
		}
		if v.Default == "" {
			v.Default = "(" + k.Unset + ")"
		}
		list = append(list, v)
	}
	names := slices.Sorted(maps.Keys(e.Config.Settings))
	if all {
		names = settingNames()
		for given := range e.Config.Settings {
			if !slices.Contains(names, given) { // that of a listener, say
				names = append(names, given)
			}
		}
	}
	for _, name := range names {
		list = append(list, e.setting(name))
	}
	return list
}

func (e *Effective) setting(name string) Value {
	d, _ := brokerconfig.Lookup(name) // known: take has looked
	def := "(none)"
	if d.Default != nil {
		def = *d.Default
	}
	v := Value{Key: Settings + "." + name, Value: def, Default: def, Source: Source{}.String(), Env: EnvOf(name), Flag: "--" + SetFlag + " " + name + "=…", Doc: d.Doc}
	if w, ok := e.from[v.Key]; ok {
		v.Value, v.Source, v.Set, v.fits = w.value, w.source.String(), true, true
		if d.Sensitive {
			v.Value, v.fits = Hidden, false
		}
	}
	if d.NoEffect != "" && !strings.Contains(v.Doc, d.NoEffect) {
		v.Doc += " No effect: " + d.NoEffect + "."
	}
	return v
}

// YAML gives the values as a configuration file, each with its doc above and its source beside it. What a file cannot
// say (secrets, what holds when nothing is written) stands there as a comment.
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
		if !v.fits {
			left = append(left, fmt.Sprintf("# %s: %s # %s", short, v.Value, v.Source))
			continue
		}
		key, value := plain(short), plain(v.Value)
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
