package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firnlog/firn/metadata/brokerconfig"
)

// Kind tells the layers apart, from the one that yields to all others to the one that yields to none.
type Kind int

// The layers.
const (
	FromDefault Kind = iota
	FromFile
	FromEnv
	FromFlag
)

// Source is where a value comes from.
type Source struct {
	Kind  Kind
	Where string // file:line, the variable's name, the flag with its dashes; "" for a default
}

// String names the source for a person.
func (s Source) String() string {
	switch s.Kind {
	case FromFile:
		return s.Where
	case FromEnv:
		return "env " + s.Where
	case FromFlag:
		return "flag " + s.Where
	}
	return "default"
}

// Input is what a configuration is made from.
type Input struct {
	File  string            // path of the file; "" for none
	Env   []string          // as os.Environ gives it
	Flags map[string]string // the flags given, by name
	Set   map[string]string // what the set flag gave, by broker config
}

// Effective is the outcome: the configuration, and where each of its values comes from.
type Effective struct {
	Config Config
	from   map[string]entry // by key, for what has a value
	lost   map[string]error // by key, paths that nobody can tell the whole of, unless a later layer has a better one
}

// Load reads the file, lays everything over it and checks it. The error names every mistake, one a line.
func Load(in Input) (*Effective, error) {
	var data []byte
	if in.File != "" {
		var err error
		if data, err = readFile(in.File); err != nil {
			return nil, err
		}
	}
	return resolve(in, data)
}

// resolve is Load with the file's text at hand.
func resolve(in Input, data []byte) (*Effective, error) {
	written, err := parse(in.File, data)
	errs := []error{err}
	fromEnv, err := envEntries(in.Env)
	errs = append(errs, err)
	e := &Effective{Config: Config{Settings: map[string]string{}}, from: map[string]entry{}, lost: map[string]error{}}
	bases := map[Kind]string{FromFile: filepath.Dir(in.File)}
	for _, w := range slices.Concat(defaultEntries(), written, fromEnv, flagEntries(in.Flags, in.Set)) {
		if err := e.take(w, bases[w.source.Kind]); err != nil {
			errs = append(errs, err)
		}
		if len(errs) > mostErrors {
			break
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.lost)) {
		errs = append(errs, e.lost[key])
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return e, e.together()
}

func defaultEntries() (list []entry) {
	for _, k := range keys {
		if k.Default != "" {
			list = append(list, entry{key: k.Name, value: k.Default})
		}
	}
	return list
}

func flagEntries(flags, set map[string]string) (list []entry) {
	for _, k := range keys {
		if v, ok := flags[k.Flag]; ok {
			list = append(list, entry{k.Name, v, Source{FromFlag, "--" + k.Flag}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		list = append(list, entry{Settings + "." + name, set[name], Source{FromFlag, "--" + SetFlag}})
	}
	return list
}

// envEntries takes what concerns firn from the environment. An empty variable counts as none, because a script cannot
// always leave it out. Variables that merely begin like firn's own may be somebody else's (Kubernetes makes some from
// a service's name), so only those that look like a slip are refused.
func envEntries(environ []string) (list []entry, err error) {
	known := []string{strings.TrimPrefix(FileEnv, envPrefix)}
	byEnv := map[string]string{}
	for _, k := range keys {
		known = append(known, strings.TrimPrefix(k.Env, envPrefix))
		byEnv[k.Env] = k.Name
	}
	var errs []error
	for _, kv := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(kv, "=")
		if value == "" || !strings.HasPrefix(name, envPrefix) {
			continue
		}
		source := Source{FromEnv, name}
		if key := byEnv[name]; key != "" {
			list = append(list, entry{key, value, source})
		} else if setting, ok := strings.CutPrefix(name, SettingEnv); ok {
			full, ok := settingOfEnv(setting)
			if !ok {
				errs = append(errs, fmt.Errorf("%s is set, but there is no such broker config%s; num.partitions, for one, is %s",
					clip(name), didYouMean(name, settingEnvs()), EnvOf("num.partitions")))
				continue
			}
			list = append(list, entry{Settings + "." + full, value, source})
		} else if !slices.Contains(otherEnvs, name) {
			if meant := nearest(strings.TrimPrefix(name, envPrefix), known); meant != "" {
				errs = append(errs, fmt.Errorf("%s is set, but firn knows no such variable (did you mean %s%s?)", clip(name), envPrefix, meant))
			}
		}
	}
	return list, errors.Join(errs...)
}

const envPrefix = "FIRN_"

// otherEnvs are firn's variables that are no part of a broker's configuration, or have been dealt with.
var otherEnvs = []string{"FIRN_BOOTSTRAP", "FIRN_ADMIN", FileEnv}

// take lays one value over what is there. base is the folder that a relative path starts from; "" is the working
// directory.
func (e *Effective) take(w entry, base string) error {
	if name, ok := strings.CutPrefix(w.key, Settings+"."); ok {
		if err := checkSetting(name, w.value); err != nil {
			return fmt.Errorf("%s: %w", w.place(), err)
		}
		e.override(name, w.source.Kind)
		e.Config.Settings[name] = w.value
		e.from[w.key] = w
		return nil
	}
	k, _ := Lookup(w.key) // there, for whoever made the entry looked
	if k.Type == typePath && w.value != "" {
		var err error
		if w.value, err = absolute(w.value, base); err != nil {
			e.lost[k.Name] = fmt.Errorf("%s: %w", w.place(), err)
			return nil
		}
	}
	delete(e.lost, k.Name)
	if !k.put(&e.Config, w.value) {
		return fmt.Errorf("%s: %q is not allowed; it is %s", w.place(), k.show(w.value), k.Allowed)
	}
	e.from[k.Name] = w
	return nil
}

// override forgets what earlier layers said about a setting by its other names: with log.retention.ms in the file and
// log.retention.hours as a flag, the flag counts, although within one layer the milliseconds would.
func (e *Effective) override(name string, kind Kind) {
	d, _ := brokerconfig.Lookup(name)
	for _, other := range d.Synonyms {
		if was, ok := e.from[Settings+"."+other]; ok && was.source.Kind < kind {
			delete(e.from, Settings+"."+other)
			delete(e.Config.Settings, other)
		}
	}
}

// place begins a sentence about the entry: where it stands and which key it sets.
func (w entry) place() string {
	switch w.source.Kind {
	case FromFile:
		return w.source.Where + ": " + w.key
	case FromDefault:
		return w.key
	}
	return w.source.Where + " (" + w.key + ")"
}

// absolute makes a path absolute, with ~/ for the home folder.
func absolute(path, base string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%q needs a home folder: %w", clip(path), err)
		}
		return filepath.Join(home, rest), nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	whole, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%q starts from the working directory, which is gone (%w): give a path that begins with /", clip(path), err)
	}
	return whole, nil
}

// together checks what only shows when all values are known.
func (e *Effective) together() error {
	if dir, ok := e.from[MetadataDir]; ok && len(e.Config.Endpoints) > 0 {
		return fmt.Errorf("%s: it is for the etcd in the broker's process, but %s (%s) names one that runs apart; leave one of them out",
			dir.place(), Endpoints, e.from[Endpoints].source)
	}
	return e.checkSettings()
}

// Source tells where a key's value comes from.
func (e *Effective) Source(key string) Source { return e.from[key].source }

// CheckBroker checks what a broker in production needs beyond what any broker does.
func (e *Effective) CheckBroker() error {
	if e.Source(Data).Kind == FromDefault {
		return fmt.Errorf("%s is not set: name the folder in the file, with --data or with FIRN_DATA, so that the broker never starts empty somewhere else", Data)
	}
	return nil
}
