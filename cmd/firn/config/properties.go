package config

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/magiconair/properties"
	"go.yaml.in/yaml/v3"

	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// Taken is a line of server.properties that the new file says too.
type Taken struct {
	Name  string `json:"name"`
	Key   string `json:"key"` // in the new file
	Value string `json:"value"`
	Note  string `json:"note,omitempty"` // what of it is not the same
}

// Dropped is a line of server.properties that the new file does not say.
type Dropped struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Imported is what became of a server.properties.
type Imported struct {
	YAML    []byte    `json:"-"`
	Taken   []Taken   `json:"taken"`
	Dropped []Dropped `json:"dropped"`
	Notes   []string  `json:"notes"` // what to know besides
}

// Import translates Kafka's server.properties, read as Java reads it. The file that it makes passes Load. An error
// means that data is no properties file.
func Import(data []byte) (*Imported, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("it is larger than 1 MiB: that is no configuration")
	}
	loader := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
	p, err := loader.LoadBytes(data)
	if err != nil {
		return nil, fmt.Errorf("it is no properties file: %w", err)
	}
	m := &importer{props: p, settings: map[string]string{}}
	m.listeners()
	for _, name := range p.Keys() {
		m.line(name, p.GetString(name, ""))
	}
	m.agree()
	m.notes()
	if m.out.YAML, err = m.write(); err != nil {
		return nil, err
	}
	return &m.out, nil
}

type importer struct {
	props    *properties.Properties
	out      Imported
	settings map[string]string
	done     map[string]bool // names that listeners has dealt with
}

func (m *importer) take(name, key, value, note string) {
	m.out.Taken = append(m.out.Taken, Taken{name, key, value, note})
}

func (m *importer) drop(name, format string, args ...any) {
	m.out.Dropped = append(m.out.Dropped, Dropped{clip(name), fmt.Sprintf(format, args...)})
}

// line deals with one line. Java's Properties.load has trimmed the name already, and Kafka trims values.
func (m *importer) line(name, value string) {
	value = strings.TrimSpace(value)
	switch {
	case m.done[name]:
	case strings.ContainsFunc(name+value, func(r rune) bool { return !unicode.IsPrint(r) }):
		m.drop(name, "it holds characters that cannot be printed")
	case strings.Contains(value, "${"):
		m.drop(name, "firn has no config providers: write the value itself, or give it by the environment")
	case name == "node.id" || name == "broker.id":
		m.brokerID(name, value)
	case name == "log.dirs" || name == "log.dir":
		m.folder(name, value)
	default:
		m.setting(name, value)
	}
}

func (m *importer) brokerID(name, value string) {
	if _, newer := m.props.Get("node.id"); newer && name == "broker.id" {
		m.drop(name, "node.id counts")
		return
	}
	m.key(name, BrokerID, value, "")
}

func (m *importer) folder(name, value string) {
	if _, wins := m.props.Get("log.dirs"); wins && name == "log.dir" {
		m.drop(name, "log.dirs counts")
		return
	}
	note := "firn does not read Kafka's files and does not start in a folder that has some: choose another one while Kafka's are there"
	dirs := splitList(value)
	if len(dirs) == 0 {
		m.drop(name, "it names no folder")
		return
	}
	if len(dirs) > 1 {
		note = fmt.Sprintf("the first of %d folders, for firn uses one; %s", len(dirs), note)
	}
	m.key(name, Data, dirs[0], note)
}

// key takes a value for one of firn's own keys, if that allows it.
func (m *importer) key(name, key, value, note string) {
	k, _ := Lookup(key)
	if !k.put(new(Config), value) {
		m.drop(name, "%q is not possible for %s, which is %s", clip(value), key, k.Allowed)
		return
	}
	m.take(name, key, value, note)
}

// setting deals with what is no key of firn's own.
func (m *importer) setting(name, value string) {
	d, known := brokerconfig.Lookup(name)
	if why := reasonOf(name); why != "" && (!known || d.NoEffect != "" || d.Flag != "") {
		m.drop(name, "%s", why)
		return
	}
	switch {
	case !known:
		m.unknown(name)
	case d.Flag != "":
		m.drop(name, "in firn it follows from %s", d.Flag)
	case d.NoEffect != "":
		m.drop(name, "it would have no effect: %s", d.NoEffect)
	default:
		if err := brokerconfig.Validate(name, value); err != nil {
			m.drop(name, "%s", err)
			return
		}
		m.settings[name] = value
		shown := value
		if d.Sensitive {
			shown = Hidden
		}
		m.take(name, Settings+"."+name, shown, "")
	}
}

func (m *importer) unknown(name string) {
	if _, ok := topicconfig.Lookup(name); ok {
		m.drop(name, "%s", checkSetting(name, ""))
		return
	}
	m.drop(name, "Kafka 4.3 has no such broker config%s", didYouMean(name, settingNames()))
}

const (
	noQuorum   = "firn keeps its metadata in etcd: one in the broker's process, or those of metadata.endpoints"
	noSecurity = "firn has no TLS, SASL and ACLs yet: whoever reaches the listener may do everything"
	ownArchive = "the archive is built in and needs no plugin: store.url says where it is"
	noReports  = "firn runs no Java plugins; metrics are at http://<broker.http>/metrics"
)

// reasons say by the beginning of a name why the concept is not there or lies elsewhere.
var reasons = []struct{ prefix, why string }{
	{"zookeeper.", noQuorum}, {"process.roles", noQuorum}, {"controller.", noQuorum}, {"quorum.", noQuorum}, {"metadata.log.", noQuorum},
	{"security.", noSecurity}, {"ssl.", noSecurity}, {"sasl.", noSecurity}, {"authorizer.", noSecurity}, {"super.users", noSecurity},
	{"allow.everyone.if.no.acl.found", noSecurity}, {"principal.builder.", noSecurity}, {"listener.name.", noSecurity}, {"delegation.token.", noSecurity},
	{"remote.log.storage.", ownArchive}, {"remote.log.metadata.", ownArchive}, {"remote.log.manager.", ownArchive}, {"rsm.config.", ownArchive}, {"rlmm.config.", ownArchive},
	{"metric.reporters", noReports}, {"metrics.", noReports}, {"auto.include.jmx.reporter", noReports}, {"kafka.metrics.", noReports},
}

func reasonOf(name string) string {
	for _, r := range reasons {
		if strings.HasPrefix(name, r.prefix) {
			return r.why
		}
	}
	return ""
}

// agree drops settings that are right each by itself but not together: the one without which the rest agree, or else
// each that does not agree with those before it.
func (m *importer) agree() {
	resolve := func(settings map[string]string) error {
		_, err := brokerconfig.Layers{Static: settings}.Resolve()
		return err
	}
	whole := resolve(m.settings)
	if whole == nil {
		return
	}
	names := m.props.Keys()
	for _, name := range names {
		value, taken := m.settings[name]
		if !taken {
			continue
		}
		delete(m.settings, name)
		if resolve(m.settings) == nil {
			m.undo(name, whole)
			return
		}
		m.settings[name] = value
	}
	all := m.settings
	m.settings = map[string]string{}
	for _, name := range names {
		value, taken := all[name]
		if !taken {
			continue
		}
		m.settings[name] = value
		if err := resolve(m.settings); err != nil {
			delete(m.settings, name)
			m.undo(name, err)
		}
	}
}

// undo turns what was taken into what is dropped.
func (m *importer) undo(name string, why error) {
	for i, t := range m.out.Taken {
		if t.Name == name {
			m.out.Taken = append(m.out.Taken[:i], m.out.Taken[i+1:]...)
			break
		}
	}
	m.drop(name, "it does not go with the others: %s", why)
}

// notes tells which defaults are other than Kafka's, for what the file leaves open.
func (m *importer) notes() {
	var given map[string]string
	if v, err := (brokerconfig.Layers{Static: m.settings}).Resolve(); err == nil {
		given = v.TopicDefaults
	}
	for _, d := range topicconfig.Defs() {
		if _, ok := given[d.Name]; ok || !d.Differs() {
			continue
		}
		where := "for each topic by " + d.Name
		if d.BrokerKey != "" {
			where = "with " + Settings + "." + d.BrokerKey
		}
		m.out.Notes = append(m.out.Notes, fmt.Sprintf("%s is %s where nobody sets it (Kafka: %s); set it %s", d.Name, d.Default, d.KafkaDefault, where))
	}
}

// write makes the file, each key with the line that it comes from beside it.
func (m *importer) write() ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	root.HeadComment = "# Made by firn config import from Kafka's server.properties."
	for _, section := range sections() {
		n := &yaml.Node{Kind: yaml.MappingNode}
		if section == Settings {
			m.writeSettings(n)
		} else {
			m.writeKeys(n, section)
		}
		if len(n.Content) > 0 {
			root.Content = append(root.Content, plain(section), n)
		}
	}
	if len(root.Content) == 0 {
		return []byte(root.HeadComment + "\n"), nil
	}
	return encode(root)
}

func (m *importer) writeKeys(n *yaml.Node, section string) {
	for _, short := range sectionKeys(section) {
		for _, t := range m.out.Taken {
			if t.Key == section+"."+short {
				value := plain(t.Value)
				value.LineComment = "# " + t.Name
				n.Content = append(n.Content, plain(short), value)
			}
		}
	}
}

func (m *importer) writeSettings(n *yaml.Node) {
	for _, t := range m.out.Taken {
		if value, ok := m.settings[t.Name]; ok {
			n.Content = append(n.Content, plain(t.Name), plain(value))
		}
	}
}
