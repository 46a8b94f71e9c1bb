package groupconfig

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/configdef"
)

// TestAgainstKafka holds the table against what Kafka says of itself (brokerconfig/testdata/Dump.java).
func TestAgainstKafka(t *testing.T) {
	dump, err := os.ReadFile("testdata/kafka-4.3.1.jsonl")
	require.NoError(t, err)
	var names []string
	for line := range strings.Lines(string(dump)) {
		var k struct{ Name, Type, Default, Synonym string }
		require.NoError(t, json.Unmarshal([]byte(line), &k))
		names = append(names, k.Name)
		d, ok := Lookup(k.Name)
		require.True(t, ok, k.Name)
		require.Equal(t, []string{k.Type, k.Default, k.Synonym}, []string{d.Type.String(), d.Default, d.Broker}, k.Name)
		require.NoError(t, Validate(d.Name, d.Default))
		require.NotEmpty(t, d.Doc)
		require.NotEmpty(t, d.NoEffect)
		require.NotEmpty(t, d.Allowed)
	}
	var ours []string
	for _, d := range Defs() {
		ours = append(ours, d.Name)
	}
	require.Equal(t, names, ours)
}

func TestAlter(t *testing.T) {
	op := func(kind configdef.OpKind, key, value string) configdef.Op {
		return configdef.Op{Key: key, Kind: kind, Value: value}
	}
	set, deleted, err := Alter(map[string]string{"share.isolation.level": "read_committed"}, []configdef.Op{
		op(configdef.Set, "consumer.session.timeout.ms", "50000"), op(configdef.Delete, "share.isolation.level", "")}, brokerconfig.Layers{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"consumer.session.timeout.ms": "50000"}, set)
	require.Equal(t, []string{"share.isolation.level"}, deleted)
	_, deleted, err = Alter(map[string]string{"from.the.future": "1"}, []configdef.Op{op(configdef.Delete, "from.the.future", "")}, brokerconfig.Layers{})
	require.NoError(t, err)
	require.Equal(t, []string{"from.the.future"}, deleted)

	for _, c := range []struct {
		op   configdef.Op
		want string
	}{
		{op(configdef.Set, "nope", "1"), "nope"},
		{op(configdef.Delete, "nope", ""), "nope"},
		{op(configdef.Append, "share.isolation.level", "x"), "no list"},
		{op(configdef.Set, "share.delivery.count.limit", "1"), "at least 2"},
		{op(configdef.Set, "share.delivery.count.limit", "11"), "group.share.max.delivery.count.limit (10)"},
		{op(configdef.Set, "share.auto.offset.reset", "by_duration:PT"), "by_duration"},
		{op(configdef.Set, "consumer.session.timeout.ms", "44999"), "group.consumer.min.session.timeout.ms (45000)"},
		{op(configdef.Set, "streams.num.standby.replicas", "3"), "group.streams.max.standby.replicas (2)"},
	} {
		_, _, err := Alter(nil, []configdef.Op{c.op}, brokerconfig.Layers{})
		require.ErrorIs(t, err, configdef.ErrInvalid)
		require.ErrorContains(t, err, c.want)
	}
	wide := brokerconfig.Layers{Static: map[string]string{"group.consumer.min.session.timeout.ms": "1", "group.consumer.max.heartbeat.interval.ms": "60000"}}
	_, _, err = Alter(nil, []configdef.Op{op(configdef.Set, "consumer.session.timeout.ms", "5000")}, wide)
	require.ErrorContains(t, err, "must be greater than consumer.heartbeat.interval.ms (5000)")
	_, _, err = Alter(nil, []configdef.Op{op(configdef.Set, "share.auto.offset.reset", "by_duration:P1DT2.5S")}, wide)
	require.NoError(t, err)
}

func TestDescribe(t *testing.T) {
	l := brokerconfig.Layers{Static: map[string]string{"group.consumer.session.timeout.ms": "46000"}}
	for _, s := range Describe(map[string]string{"consumer.session.timeout.ms": " 47000"}, l) {
		switch s.Def.Name {
		case "consumer.session.timeout.ms":
			require.Equal(t, "47000", s.Value)
			require.Equal(t, brokerconfig.Group, s.Source)
			var got []string
			for _, syn := range s.Synonyms {
				got = append(got, syn.Name+"="+strings.TrimSpace(*syn.Value))
			}
			require.Equal(t, []string{"consumer.session.timeout.ms=47000", "group.consumer.session.timeout.ms=46000", "group.consumer.session.timeout.ms=45000"}, got)
		case "share.isolation.level":
			require.Equal(t, "read_uncommitted", s.Value)
			require.Equal(t, brokerconfig.Default, s.Source)
			require.Len(t, s.Synonyms, 1)
			require.Equal(t, []any{"share.isolation.level", "read_uncommitted", brokerconfig.Default}, []any{s.Synonyms[0].Name, *s.Synonyms[0].Value, s.Synonyms[0].Source})
		}
	}
}
