package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// DescribeConfigs 1-4, for topics and brokers, with synonyms, types and documentation.
//
// Deliberate gaps: loggers, client metrics and groups are refused with INVALID_REQUEST; broker configs are those of
// the start and read-only.
var describeConfigsHandler = handler{32, 1, 4, quick((*API).describeConfigs)}

// BrokerConfig is one of the broker's own configs, as it was started with.
type BrokerConfig struct {
	Name, Value, Default string
	Type                 topicconfig.Type
	Doc                  string
	Sensitive            bool
}

func (a *API) describeConfigs(_ context.Context, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	img := a.Cluster.Image()
	for _, r := range req.Resources {
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		configs, err := a.configsOf(img, &r)
		out.ErrorCode, out.ErrorMessage = code(err), message(err)
		out.Configs = []kmsg.DescribeConfigsResponseResourceConfig{}
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
			out.Configs = append(out.Configs, c)
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func (a *API) configsOf(img *metadata.Image, r *kmsg.DescribeConfigsRequestResource) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
	switch r.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := metadata.ValidateTopicName(r.ResourceName); err != nil {
			return nil, err
		}
		t := img.TopicByName(r.ResourceName)
		if t == nil {
			return nil, kerr.UnknownTopicOrPartition
		}
		var out []kmsg.DescribeConfigsResponseResourceConfig
		for _, v := range a.topicConfigs(t.Configs) {
			out = append(out, v.describe())
		}
		return out, nil
	case kmsg.ConfigResourceTypeBroker:
		if r.ResourceName == "" {
			return nil, nil // dynamic defaults for all brokers: there are none
		}
		id, err := strconv.Atoi(r.ResourceName)
		if err != nil {
			return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("broker id %q is not a number", r.ResourceName))
		}
		if int32(id) != a.Config.BrokerID {
			return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("this is broker %d, not %d", a.Config.BrokerID, id))
		}
		return a.brokerConfigs(), nil
	}
	return nil, refuse(kerr.InvalidRequest, "configs are described for topics and brokers")
}

// configValue is one config of a topic with where its value comes from.
type configValue struct {
	def      topicconfig.Def
	value    string
	source   kmsg.ConfigSource
	synonyms []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym
}

// topicConfigs gives all configs of a topic whose stored ones are given, with their sources in order of precedence.
func (a *API) topicConfigs(stored map[string]string) []configValue {
	var out []configValue
	for _, d := range topicconfig.Defs() {
		v := configValue{def: d}
		synonym := func(name, value string, source kmsg.ConfigSource) {
			if len(v.synonyms) == 0 {
				v.value, v.source = value, source
			}
			s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			s.Name, s.Value, s.Source = name, &value, source
			v.synonyms = append(v.synonyms, s)
		}
		broker := d.BrokerKey
		if broker == "" {
			broker = d.Name
		}
		if set, ok := stored[d.Name]; ok {
			synonym(d.Name, set, kmsg.ConfigSourceDynamicTopicConfig)
		} else if d.Internal {
			continue
		}
		if def, ok := a.Config.TopicDefaults[d.Name]; ok {
			synonym(broker, def, kmsg.ConfigSourceStaticBrokerConfig)
		}
		synonym(broker, d.Default, kmsg.ConfigSourceDefaultConfig)
		out = append(out, v)
	}
	return out
}

func (v configValue) describe() kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	value, doc := v.value, v.def.Doc
	c.Name, c.Value, c.Source = v.def.Name, &value, v.source
	c.IsDefault = v.source == kmsg.ConfigSourceDefaultConfig
	c.ConfigSynonyms = v.synonyms
	c.ConfigType, c.Documentation = kmsg.ConfigType(v.def.Type), &doc
	return c
}

// brokerConfigs lists the broker's configs: its own, and the defaults that it gives to topics.
func (a *API) brokerConfigs() []kmsg.DescribeConfigsResponseResourceConfig {
	own := append([]BrokerConfig{
		{Name: "broker.id", Value: strconv.Itoa(int(a.Config.BrokerID)), Default: "-1", Type: topicconfig.Int, Doc: "This broker's number."},
		{Name: "auto.create.topics.enable", Value: strconv.FormatBool(a.Config.AutoCreateTopics), Default: "true", Type: topicconfig.Boolean,
			Doc: "Make a topic when a client asks for one that does not exist."},
		{Name: "num.partitions", Value: strconv.Itoa(int(a.Config.NumPartitions)), Default: "1", Type: topicconfig.Int,
			Doc: "Partitions of a topic that is made without a number."},
		{Name: "default.replication.factor", Value: "1", Default: "1", Type: topicconfig.Int, Doc: "Replicas of a topic that is made without a number."},
		{Name: "fetch.max.bytes", Value: strconv.Itoa(a.Config.FetchMaxBytes), Default: strconv.Itoa(55 << 20), Type: topicconfig.Int,
			Doc: "Most bytes that one fetch is answered with."},
	}, a.Config.Broker...)
	for _, d := range topicconfig.Defs() {
		if d.BrokerKey == "" {
			continue
		}
		value, ok := a.Config.TopicDefaults[d.Name]
		if !ok {
			value = d.Default
		}
		own = append(own, BrokerConfig{Name: d.BrokerKey, Value: value, Default: d.Default, Type: d.Type, Doc: d.Doc})
	}
	slices.SortFunc(own, func(x, y BrokerConfig) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	var out []kmsg.DescribeConfigsResponseResourceConfig
	for _, b := range own {
		out = append(out, b.describe())
	}
	return out
}

func (b BrokerConfig) describe() kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.ReadOnly, c.IsSensitive, c.ConfigType, c.Documentation = b.Name, true, b.Sensitive, kmsg.ConfigType(b.Type), &b.Doc
	synonym := func(value string, source kmsg.ConfigSource) {
		s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		s.Name, s.Source = b.Name, source
		if !b.Sensitive {
			s.Value = &value
		}
		if len(c.ConfigSynonyms) == 0 {
			c.Value, c.Source, c.IsDefault = s.Value, source, source == kmsg.ConfigSourceDefaultConfig
		}
		c.ConfigSynonyms = append(c.ConfigSynonyms, s)
	}
	if b.Value != b.Default {
		synonym(b.Value, kmsg.ConfigSourceStaticBrokerConfig)
	}
	synonym(b.Default, kmsg.ConfigSourceDefaultConfig)
	return c
}
