package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/loglevel"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/configdef"
	"github.com/firnlog/firn/metadata/groupconfig"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// DescribeConfigs 1-4, for topics, brokers ("": what is set for all of them), broker loggers and groups, with types,
// documentation and every value that was given, in order of precedence. A group need not exist.
//
// Deliberate gaps: client metrics do not exist here; like resources of an unknown type they are refused with
// INVALID_REQUEST, which leaves the answer to the other resources of the request as it is. A resource that is named more
// than once is answered once, with all configs that are asked for of it.
var describeConfigsHandler = handler{32, 1, 4, (*API).describeConfigs}

type describedConfig = kmsg.DescribeConfigsResponseResourceConfig

func (a *API) describeConfigs(_ context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	q := m.(*kmsg.DescribeConfigsRequest)
	resp := q.ResponseKind().(*kmsg.DescribeConfigsResponse)
	img := a.Cluster.Image()
	for _, r := range askedConfigs(q.Resources) {
		out := a.describeResource(img, q, &r)
		// Of how many resources there is much to say only what they are says: any name is a group's.
		if err := req.Reserve(describedSize(&out)); err != nil {
			reply.Close(err)
			return
		}
		resp.Resources = append(resp.Resources, out)
	}
	reply.Message(resp)
}

// askedConfigs names each resource once.
func askedConfigs(rs []kmsg.DescribeConfigsRequestResource) []kmsg.DescribeConfigsRequestResource {
	return merged(rs, func(r *kmsg.DescribeConfigsRequestResource) configResource {
		return configResource{r.ResourceType, r.ResourceName}
	}, func(to, from *kmsg.DescribeConfigsRequestResource) {
		if len(to.ConfigNames) == 0 || len(from.ConfigNames) == 0 {
			to.ConfigNames = nil // all
		} else {
			to.ConfigNames = append(to.ConfigNames, from.ConfigNames...)
		}
	})
}

func (a *API) describeResource(img *metadata.Image, req *kmsg.DescribeConfigsRequest, r *kmsg.DescribeConfigsRequestResource) kmsg.DescribeConfigsResponseResource {
	out := kmsg.NewDescribeConfigsResponseResource()
	out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
	configs, err := a.configsOf(img, r.ResourceType, r.ResourceName)
	out.ErrorCode, out.ErrorMessage = code(err), message(err)
	kept := configs[:0]
	for _, c := range configs {
		if len(r.ConfigNames) > 0 && !slices.Contains(r.ConfigNames, c.Name) {
			continue
		}
		if !req.IncludeSynonyms {
			c.ConfigSynonyms = nil
		}
		if !req.IncludeDocumentation {
			c.Documentation = nil
		}
		kept = append(kept, c)
	}
	out.Configs = append(make([]describedConfig, 0, len(kept)), kept...) // no more than is answered stays in memory
	return out
}

// describedSize is what the configs of a resource take in an answer, made and encoded.
func describedSize(r *kmsg.DescribeConfigsResponseResource) (size int) {
	const config, synonym = 128, 64 // beside their texts
	for i := range r.Configs {
		c := &r.Configs[i]
		size += config + len(c.Name) + 2*lengthOf(c.Value) + lengthOf(c.Documentation)
		for j := range c.ConfigSynonyms {
			s := &c.ConfigSynonyms[j]
			size += synonym + len(s.Name) + lengthOf(s.Value)
		}
	}
	return size
}

func lengthOf(s *string) int {
	if s == nil {
		return 0
	}
	return len(*s)
}

func (a *API) configsOf(img *metadata.Image, kind kmsg.ConfigResourceType, name string) ([]describedConfig, error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		return a.describeTopicConfigs(img, name)
	case kmsg.ConfigResourceTypeBroker:
		if name == "" {
			return describeSettings(a.Configs.Layers().DescribeCluster()), nil
		}
		if err := a.thisBroker(name); err != nil {
			return nil, err
		}
		return describeSettings(a.Configs.Layers().Describe()), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		if err := a.thisBroker(name); err != nil {
			return nil, err
		}
		return a.describeLoggers(), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if name == "" {
			return nil, refuse(kerr.InvalidRequest, "a group's name must not be empty")
		}
		return a.describeGroupConfigs(img, name), nil
	}
	return nil, unknownResource(kind)
}

func unknownResource(kind kmsg.ConfigResourceType) error {
	if kind == kmsg.ConfigResourceTypeClientMetrics {
		return refuse(kerr.InvalidRequest, "client metrics are not collected here; there are configs of topics, brokers, broker loggers and groups")
	}
	return refuse(kerr.InvalidRequest, fmt.Sprintf("unknown resource type %d; there are configs of topics, brokers, broker loggers and groups", kind))
}

// thisBroker checks that a resource's name is this broker's number.
func (a *API) thisBroker(name string) error {
	id, err := strconv.Atoi(name)
	if err != nil {
		return refuse(kerr.InvalidRequest, fmt.Sprintf("broker id %q is not a number", name))
	}
	if int32(id) != a.Config.BrokerID {
		return refuse(kerr.InvalidRequest, fmt.Sprintf("this is broker %d, not %d", a.Config.BrokerID, id))
	}
	return nil
}

// described makes an entry of the answer. given are the values that were given, the one that counts first.
func described(name string, value *string, t configdef.Type, doc string, given []brokerconfig.Synonym) describedConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.ConfigType, c.Documentation = name, value, kmsg.ConfigType(t), &doc
	c.Source = kmsg.ConfigSourceDefaultConfig
	for i, g := range given {
		if i == 0 {
			c.Source = kmsg.ConfigSource(g.Source)
		}
		s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		s.Name, s.Value, s.Source = g.Name, g.Value, kmsg.ConfigSource(g.Source)
		c.ConfigSynonyms = append(c.ConfigSynonyms, s)
	}
	return c
}

// noEffect adds to a config's documentation why nothing depends on it, where nothing does.
func noEffect(doc, why string) string {
	if why == "" {
		return doc
	}
	return doc + " No effect: " + why + "."
}

func describeSettings(settings []brokerconfig.Setting) []describedConfig {
	out := make([]describedConfig, 0, len(settings))
	for _, s := range settings {
		c := described(s.Def.Name, s.Value, s.Def.Type, noEffect(s.Def.Doc, s.Def.NoEffect), s.Synonyms)
		c.ReadOnly, c.IsSensitive = s.Def.Mode == brokerconfig.ReadOnly || s.Def.Flag != "", s.Def.Sensitive
		out = append(out, c)
	}
	return out
}

func (a *API) describeTopicConfigs(img *metadata.Image, name string) ([]describedConfig, error) {
	if err := metadata.ValidateTopicName(name); err != nil {
		return nil, err
	}
	t := img.TopicByName(name)
	if t == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	stored := make(map[string]string, len(t.Configs))
	for name, value := range t.Configs {
		stored[name] = asRead(name, value)
	}
	return a.topicConfigs(stored), nil
}

// asRead writes a topic's value as it is read: DescribeConfigs of Kafka gives 1.0 where 1 was stored, and each element of
// a list once. CreateTopics gives what was stored.
func asRead(name, value string) string {
	d, known := topicconfig.Lookup(name)
	if !known {
		return value
	}
	v, ok := d.Type.Parse(value)
	if !ok {
		return value
	}
	var once []string
	for _, e := range v.List {
		if !slices.Contains(once, e) {
			once = append(once, e)
		}
	}
	v.List = once
	return d.Type.Canonical(v)
}

// topicConfigs gives all configs of a topic whose stored ones are given.
func (a *API) topicConfigs(stored map[string]string) []describedConfig {
	layers, defaults := a.Configs.Layers(), a.Configs.Values().TopicDefaults
	var out []describedConfig
	for _, d := range topicconfig.Defs() {
		value, given := d.Default, layers.TopicSynonyms(d.Name)
		if v, ok := defaults[d.Name]; ok {
			value = v
		}
		if v, ok := stored[d.Name]; ok {
			value = v
			given = append([]brokerconfig.Synonym{{Name: d.Name, Value: &v, Source: brokerconfig.DynamicTopic}}, given...)
		} else if d.Internal {
			continue
		}
		out = append(out, described(d.Name, &value, d.Type, d.Doc, given))
	}
	return out
}

func (a *API) describeGroupConfigs(img *metadata.Image, group string) []describedConfig {
	var out []describedConfig
	for _, s := range groupconfig.Describe(storedForGroup(img, group), a.Configs.Layers()) {
		out = append(out, described(s.Def.Name, &s.Value, s.Def.Type, noEffect(s.Def.Doc, s.Def.NoEffect), s.Synonyms))
	}
	return out
}

func storedForGroup(img *metadata.Image, group string) map[string]string {
	if c := img.GroupConfigs[group]; c != nil {
		return c.Configs
	}
	return nil
}

func (a *API) describeLoggers() []describedConfig {
	var out []describedConfig
	for _, name := range a.Loggers.Names() {
		level, set, known := a.Loggers.Level(name)
		if !known {
			continue
		}
		doc := "The least level that this logger writes; set for it alone."
		switch {
		case name == loglevel.Root:
			doc = "The least level that loggers write which have none of their own."
		case !set:
			doc = "The least level that this logger writes; it follows " + loglevel.Root + "."
		}
		c := described(name, &level, configdef.String, doc, nil)
		c.Source = kmsg.ConfigSourceDynamicBrokerLoggerConfig
		out = append(out, c)
	}
	return out
}
