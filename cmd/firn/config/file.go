package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/firnlog/firn/metadata/brokerconfig"
)

// MaxFile is the most bytes that a configuration may have: it is a page or two.
const MaxFile = 1 << 20

// mostErrors is how many mistakes are told at once.
const mostErrors = 20

// entry is one value that somebody wrote.
type entry struct {
	key    string // Key.Name, or "settings." and a broker config
	value  string
	source Source
}

// readFile reads the file at path, no further than it may be long.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%s is larger than 1 MiB: that is no configuration", path)
	}
	return data, nil
}

// fileParser collects what a file says and what is wrong with it.
type fileParser struct {
	name    string
	entries []entry
	errs    []error
}

// parse reads a file's text. It judges shape and names; values are judged where layers meet.
func parse(name string, data []byte) ([]entry, error) {
	f := &fileParser{name: name}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, f.syntax(err)
	}
	if err := dec.Decode(&more); err == nil {
		f.fail(&more, "a second document begins: one file is one document, without ---")
	} else if !errors.Is(err, io.EOF) {
		return nil, f.syntax(err)
	}
	for _, n := range doc.Content {
		f.root(n)
	}
	if len(f.errs) > mostErrors {
		f.errs = append(f.errs[:mostErrors], fmt.Errorf("%s: and maybe more", name))
	}
	return f.entries, errors.Join(f.errs...)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax turns the library's complaint into one with the file's name.
func (f *fileParser) syntax(err error) error {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return fmt.Errorf("%s: it is no YAML: %w", f.name, err)
	}
	text := strings.TrimPrefix(err.Error(), m[0])
	if m[1] == "" {
		return fmt.Errorf("%s: it is no YAML: %s", f.name, text)
	}
	return fmt.Errorf("%s:%s: it is no YAML: %s", f.name, m[1], text)
}

func (f *fileParser) fail(n *yaml.Node, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s:%d: %s", f.name, n.Line, fmt.Sprintf(format, args...)))
}

func (f *fileParser) root(n *yaml.Node) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		f.fail(n, "it holds no sections: write %s, each with its keys below it", either(sections()))
		return
	}
	f.each("", n, func(name string, k, v *yaml.Node) {
		switch {
		case !slices.Contains(sections(), name):
			f.fail(k, "%s", unknownSection(name))
		case isNull(v): // a section whose keys are all commented out
		case v.Kind != yaml.MappingNode:
			f.fail(k, "%s is a section: write its keys below it, such as %s: …", name, sectionKeys(name)[0])
		case name == Settings:
			f.each(name+".", v, f.setting)
		default:
			f.each(name+".", v, func(short string, k, v *yaml.Node) { f.key(name, short, k, v) })
		}
	})
}

// each calls fn with what stands in a mapping, but for keys that are no words or stand there twice.
func (f *fileParser) each(prefix string, n *yaml.Node, fn func(name string, k, v *yaml.Node)) {
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content) && len(f.errs) <= mostErrors; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" || k.Value == "" {
			f.fail(k, "a key must be a plain word; anchors, merges and compound keys have no place here")
			continue
		}
		name := clip(k.Value)
		if first, twice := lines[name]; twice {
			f.fail(k, "%s%s is given twice, first in line %d", prefix, name, first)
			continue
		}
		lines[name] = k.Line
		if v.Kind == yaml.AliasNode {
			f.fail(v, "%s%s refers to an anchor (*%s): write the value itself", prefix, name, clip(v.Value))
			continue
		}
		fn(name, k, v)
	}
}

func (f *fileParser) key(section, short string, k, v *yaml.Node) {
	key, ok := Lookup(section + "." + short)
	if !ok {
		f.fail(k, "%s", unknownKey(section, short))
		return
	}
	f.value(k, v, key.Name, key.Allowed, key.Type == typeList)
}

func (f *fileParser) setting(name string, k, v *yaml.Node) {
	allowed := "written as name: value, with the whole name, such as num.partitions: 3"
	d, known := brokerconfig.Lookup(name)
	f.value(k, v, Settings+"."+name, allowed, !known || d.Type == brokerconfig.List) // what is unknown is told of as that
}

// value takes a scalar as it is written, and a list, where one is allowed, as its elements with commas between.
func (f *fileParser) value(k, v *yaml.Node, name, allowed string, list bool) {
	e := entry{key: name, source: Source{Kind: FromFile, Where: fmt.Sprintf("%s:%d", f.name, k.Line)}}
	switch {
	case isNull(v):
		f.fail(k, "%s has no value: it is %s; leave the key out for the default", name, allowed)
		return
	case v.Kind == yaml.ScalarNode:
		e.value = v.Value
	case v.Kind == yaml.SequenceNode && list:
		var parts []string
		for _, n := range v.Content {
			if n.Kind != yaml.ScalarNode || isNull(n) {
				f.fail(n, "%s: an element of its list is no plain value", name)
				return
			}
			parts = append(parts, n.Value)
		}
		e.value = strings.Join(parts, ",")
	default:
		f.fail(k, "%s holds %s: it is %s", name, shape(v), allowed)
		return
	}
	f.entries = append(f.entries, e)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func shape(n *yaml.Node) string {
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	return "keys of its own"
}
