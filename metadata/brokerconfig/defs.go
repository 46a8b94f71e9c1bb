package brokerconfig

import (
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/firnlog/firn/metadata/configdef"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// The types of configs.
const (
	Boolean  = configdef.Boolean
	String   = configdef.String
	Int      = configdef.Int
	Short    = configdef.Short
	Long     = configdef.Long
	Double   = configdef.Double
	List     = configdef.List
	Class    = configdef.Class
	Password = configdef.Password
)

const (
	maxLong = "9223372036854775807"
	null    = "\x00null" // in the tables: no default
)

// Defs gives all configs sorted by name. The slice is shared and must not be written to.
func Defs() []Def { return defs }

// listenerPrefix begins the name of a config that is given for one listener (DynamicBrokerConfig.ListenerConfigRegex).
var listenerPrefix = regexp.MustCompile(`^listener\.name\.[^.]*\.(.+)$`)

// Lookup finds a config by name; also one of a listener ("listener.name.<listener>.<config>").
func Lookup(name string) (Def, bool) {
	if i, ok := index[name]; ok {
		return defs[i], true
	}
	m := listenerPrefix.FindStringSubmatch(name)
	if m == nil {
		return Def{}, false
	}
	base := m[1]
	if _, rest, ok := strings.Cut(base, "."); ok && strings.HasPrefix(rest, "sasl.") {
		base = rest // of one mechanism: listener.name.<listener>.<mechanism>.sasl.…
	}
	i, ok := index[base]
	if !ok || !slices.ContainsFunc([]string{"ssl.", "sasl.", "principal.builder.class", "max.connections", "max.connection.creation.rate", "connections.max.reauth.ms"},
		func(p string) bool { return strings.HasPrefix(base, p) }) {
		return Def{}, false
	}
	d := defs[i]
	d.Name, d.Default, d.KafkaDefault, d.Synonyms = name, nil, nil, nil
	if d.NoEffect == "" {
		d.NoEffect = "there is one listener; " + base + " speaks of it"
	}
	return d, true
}

var (
	defs  = all()
	index = func() map[string]int {
		m := make(map[string]int, len(defs))
		for i, d := range defs {
			m[d.Name] = i
		}
		return m
	}()
)

func all() []Def {
	ds := slices.Concat(topicDefaultDefs(), creationDefs(), cleanerDefs(), logNoEffectDefs(),
		classicGroupDefs(), coordinatorDefs(), consumerGroupDefs(), shareGroupDefs(), shareCoordinatorDefs(), streamsGroupDefs(), transactionDefs(),
		identityDefs(), limitDefs(), networkDefs(), listenerDefs(),
		quorumDefs(), replicationDefs(), quotaDefs(), pluginDefs(), remoteDefs(), archiveWorkDefs(), archiveReadDefs(),
		sslDefs(), saslDefs(), oauthDefs(), aclDefs(), firnDefs())
	for i := range ds {
		ds[i].Sensitive = ds[i].Type == Password
		for _, s := range synonyms {
			if slices.Contains(s, ds[i].Name) && ds[i].Name != "log.flush.scheduler.interval.ms" {
				ds[i].Synonyms = s
			}
		}
	}
	slices.SortFunc(ds, func(a, b Def) int { return strings.Compare(a.Name, b.Name) })
	return ds
}

// synonyms are the configs that say the same, in order of precedence (DynamicBrokerConfig.brokerConfigSynonyms). The
// first one is in ms. The last pair works in one direction only.
var synonyms = [][]string{
	{"log.roll.ms", "log.roll.hours"},
	{"log.roll.jitter.ms", "log.roll.jitter.hours"},
	{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
}

// unitMs tells what a synonym's value is to be multiplied with.
func unitMs(name string) int64 {
	switch {
	case strings.HasSuffix(name, ".hours"):
		return 3600_000
	case strings.HasSuffix(name, ".minutes"):
		return 60_000
	}
	return 1
}

// topicDefaultDefs are the defaults of topic configs, as topicconfig has them.
func topicDefaultDefs() []Def {
	var ds []Def
	for _, t := range topicconfig.Defs() {
		if t.BrokerKey == "" {
			continue
		}
		d := Def{Name: t.BrokerKey, Type: t.Type, Default: &t.Default, KafkaDefault: &t.KafkaDefault, Mode: ClusterWide, KafkaMode: ClusterWide, Topic: t.Name,
			Doc: "Default of " + t.Name + " for all topics. " + t.Doc, Allowed: t.Allowed,
			check: func(v configdef.Value) bool { return topicconfig.Validate(t.Name, v.Text) == nil }}
		if t.Name == d.Name {
			d.Doc = t.Doc
		}
		if t.NoEffect {
			d.Doc, d.NoEffect = strings.TrimSuffix(d.Doc, " No effect yet: "+t.Why+"."), t.Why
		}
		switch d.Name {
		case "log.retention.ms":
			d.KafkaDefault = nil            // log.retention.hours has it
			d.Allowed = "-1, or at least 1" // KafkaConfig.validateValues; 0 is for single topics
			d.check = func(v configdef.Value) bool { return v.Num == -1 || v.Num >= 1 }
		case "log.roll.ms", "log.roll.jitter.ms", "log.flush.interval.ms":
			d.Default, d.KafkaDefault = nil, nil // their synonyms have it
		}
		if isFirn(d.Name) {
			d.KafkaDefault = nil
		}
		ds = append(ds, d)
	}
	return ds
}

func isFirn(name string) bool { return strings.HasPrefix(name, "firn.") }

func firnDefs() []Def {
	ds := []Def{
		def(Double, "firn.local.disk.target", "0.7", ClusterWide, rule("a share above 0 and up to 1", func(v configdef.Value) bool { return v.Real > 0 && v.Real <= 1 }),
			"The share of the disk, of what firn uses and what is free together, that local logs may take. The oldest archived data goes first, across partitions."),
		def(Long, "firn.local.disk.reserve", "0", ClusterWide, from(0),
			"Bytes that the local log and the cache leave free; produce is refused below. 0 means the larger of 512 MiB and 2% of the disk, at most a quarter."),
		def(Long, "firn.remote.cache.bytes", "1073741824", ClusterWide, from(1<<20),
			"Bytes of what was read from the archive that are kept on local disk to be read again, as long as the reserve allows. All cold reads together are read ahead by at most a quarter of it."),
		def(Double, "firn.connection.request.rate", "50000.0", ClusterWide, rule("a number above 0, or -1", func(v configdef.Value) bool { return v.Real > 0 || v.Real == -1 }),
			"Requests a second of one connection; reading from it pauses beyond. -1 is no limit."),
		def(Int, "firn.connection.max.in.flight", "64", ClusterWide, within(1, 100_000),
			"Requests of one connection that may wait for their answers; reading from it pauses beyond."),
		def(Long, "firn.answer.memory.bytes", "268435456", ClusterWide, from(1<<20),
			"Bytes of answers in memory that clients have not taken yet, of all connections."),
		def(Long, "firn.frame.timeout.ms", "30000", ClusterWide, from(1),
			"How long a client may take to send one request, from its first byte to its last."),
		def(Long, "firn.write.timeout.ms", "60000", ClusterWide, from(1),
			"How long a client may take for each MiB of an answer."),
		def(Int, "firn.decompress.max.bytes", "134217728", ClusterWide, from(1<<20),
			"What one record batch of a producer may decompress to, where the broker has to look inside."),
	}
	for i := range ds {
		ds[i].KafkaDefault = nil
	}
	return ds
}

// maker is a rule that depends on the type.
type maker func(configdef.Type) configdef.Rule

func rule(allowed string, check func(configdef.Value) bool) maker {
	return func(configdef.Type) configdef.Rule { return configdef.Rule{Allowed: allowed, Check: check} }
}

func from(lo int64) maker { return within(lo, math.MaxInt64) }

func within(lo, hi int64) maker {
	return func(t configdef.Type) configdef.Rule { return configdef.Range(t, lo, hi) }
}

func oneOf(words ...string) maker {
	return func(configdef.Type) configdef.Rule { return configdef.OneOf(words...) }
}

func eitherCase(words ...string) maker {
	return func(configdef.Type) configdef.Rule { return configdef.OneOfFold(words...) }
}

func someOf(words ...string) maker {
	return func(configdef.Type) configdef.Rule { return configdef.SubsetOf(words...) }
}

func orMinusOne(lo int64) maker {
	return rule("at least "+strconv.FormatInt(lo, 10)+", or -1", func(v configdef.Value) bool { return v.Num >= lo || v.Num == -1 })
}

var (
	anything maker
	notEmpty = rule("anything but nothing", func(v configdef.Value) bool { return v.Text != "" })
	positive = rule("a number above 0", func(v configdef.Value) bool { return v.Real > 0 })
	share    = rule("a share above 0 and below 1", func(v configdef.Value) bool { return v.Real > 0 && v.Real < 1 })

	perAddress = rule("pairs of an IP address and a number, such as 10.0.0.7:200, separated by commas", func(v configdef.Value) bool {
		_, ok := parsePerAddress(v.Text)
		return ok
	})
)

// parsePerAddress reads "10.0.0.7:200,[::1]:5" (and Kafka's ::1:5); false if it is anything else. Host names, which
// Kafka looks up, are not taken: what they stand for changes.
func parsePerAddress(text string) (map[string]int32, bool) {
	limits := map[string]int32{}
	for _, pair := range configdef.SplitList(text) {
		at := strings.LastIndexByte(pair, ':')
		if at < 0 {
			return nil, false
		}
		addr, err := netip.ParseAddr(strings.Trim(pair[:at], "[]"))
		n, numErr := strconv.ParseInt(strings.TrimSpace(pair[at+1:]), 10, 32)
		if err != nil || addr.Zone() != "" || numErr != nil || n < 0 {
			return nil, false
		}
		limits[addr.Unmap().String()] = int32(n)
	}
	return limits, true
}

// def makes a config whose default is Kafka's.
func def(t configdef.Type, name, dflt string, mode Mode, m maker, doc string) Def {
	d := Def{Name: name, Type: t, Mode: mode, KafkaMode: mode, Doc: doc}
	if dflt != null {
		d.Default, d.KafkaDefault = &dflt, &dflt
	}
	if t == Boolean {
		d.Allowed = "true or false"
	}
	if m != nil {
		r := m(t)
		d.Allowed, d.check = r.Allowed, r.Check
	}
	return d
}

// kafka says what Kafka's default is where firn has another.
func kafka(dflt string, d Def) Def {
	d.KafkaDefault = &dflt
	return d
}

// livelier is a config that Kafka reads at the start only.
func livelier(d Def) Def {
	d.Mode = ClusterWide
	return d
}

// as says what of firn's own configuration says it.
func as(flag string, d Def) Def {
	d.Flag = flag
	return d
}

func internal(d Def) Def {
	d.Internal = true
	return d
}

// without gives configs that nothing in firn depends on, and why.
func without(why string, ds ...Def) []Def {
	for i := range ds {
		ds[i].NoEffect = why
	}
	return ds
}
