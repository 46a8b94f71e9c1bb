package brokerconfig

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firnlog/firn/metadata/configdef"
	"github.com/firnlog/firn/metadata/topicconfig"
)

type conf = map[string]string

func resolve(t *testing.T, l Layers) *Values {
	t.Helper()
	v, err := l.Resolve()
	require.NoError(t, err)
	return v
}

func describe(l Layers, name string) Setting {
	for _, s := range l.Describe() {
		if s.Def.Name == name {
			return s
		}
	}
	return Setting{}
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// say writes a setting as kafka-configs does.
func say(s Setting) string {
	var syns []string
	for _, y := range s.Synonyms {
		syns = append(syns, fmt.Sprintf("%d:%s=%s", y.Source, y.Name, text(y.Value)))
	}
	return fmt.Sprintf("%s from %d {%s}", text(s.Value), s.Source, strings.Join(syns, ", "))
}

func TestDefaults(t *testing.T) {
	v := resolve(t, Layers{})
	require.True(t, v.AutoCreateTopics && v.DeleteTopics && v.Cleaner.Enable)
	require.Equal(t, []int32{1, 1, 57671680, 1000, 2000}, []int32{v.NumPartitions, v.DefaultReplicationFactor, v.FetchMaxBytes, v.FetchSessionSlots, v.MaxRequestPartitions})
	require.Empty(t, v.TopicDefaults)
	require.Equal(t, Groups{3000, 6000, 1800000, math.MaxInt32, 4096, 7 * 24 * 3600 * 1000, 600000}, v.Groups)
	require.Equal(t, OffsetsTopic{50, 100 << 20, 0}, v.OffsetsTopic)
	require.Equal(t, Cleaner{true, 1, 128 << 20, 0.9, 512 << 10, math.MaxFloat64, 15000}, v.Cleaner)
	require.Equal(t, Limits{100 << 20, 512 << 20, 256 << 20, 10000, -1, map[string]int32{}, math.MaxInt32, 50000, 64, 0, 600000, 30000, 60000, 128 << 20}, v.Limits)
	require.Equal(t, Disk{0.7, 0, 1 << 30}, v.Disk)
	// What topics get without any broker config is what topicconfig says.
	for _, d := range topicconfig.Defs() {
		if d.BrokerKey != "" {
			s := describe(Layers{}, d.BrokerKey)
			require.Equal(t, d.Default, text(s.Effective()), d.Name)
		}
	}
}

func TestPrecedence(t *testing.T) {
	l := Layers{
		Static:  conf{"log.retention.hours": "1", "log.roll.ms": "5000", "num.partitions": " 7", "log.cleanup.policy": "compact, delete", "auto.create.topics.enable": "FALSE"},
		Cluster: conf{"log.retention.ms": "2000", "log.cleaner.threads": "3", "max.connections.per.ip.overrides": "10.0.0.7:2,[::1]:3,::2:4"},
		Broker:  conf{"log.cleaner.threads": "2", "log.cleaner.io.max.bytes.per.second": "1e6"},
	}
	v := resolve(t, l)
	require.Equal(t, conf{"retention.ms": "2000", "segment.ms": "5000", "cleanup.policy": "compact,delete"}, v.TopicDefaults)
	require.Equal(t, int32(7), v.NumPartitions)
	require.False(t, v.AutoCreateTopics)
	require.Equal(t, int32(2), v.Cleaner.Threads)
	require.Equal(t, 1e6, v.Cleaner.IOBytesPerSecond)
	require.Equal(t, map[string]int32{"10.0.0.7": 2, "::1": 3, "::2": 4}, v.Limits.PerIP)
	for name, want := range map[string]string{
		"log.retention.ms":                    "2000 from 3 {3:log.retention.ms=2000, 4:log.retention.hours=1, 5:log.retention.ms=-1}",
		"log.retention.hours":                 "1 from 4 {4:log.retention.hours=1, 5:log.retention.ms=-1}",
		"log.retention.minutes":               "null from 5 {}",
		"log.roll.hours":                      "168 from 5 {5:log.roll.hours=168}",
		"log.cleaner.threads":                 "2 from 2 {2:log.cleaner.threads=2, 3:log.cleaner.threads=3, 5:log.cleaner.threads=1}",
		"num.partitions":                      "7 from 4 {4:num.partitions= 7, 5:num.partitions=1}",
		"log.cleanup.policy":                  "compact,delete from 4 {4:log.cleanup.policy=compact, delete, 5:log.cleanup.policy=delete}",
		"auto.create.topics.enable":           "false from 4 {4:auto.create.topics.enable=FALSE, 5:auto.create.topics.enable=true}",
		"log.cleaner.io.max.bytes.per.second": "1000000.0 from 2 {2:log.cleaner.io.max.bytes.per.second=1e6, 5:log.cleaner.io.max.bytes.per.second=1.7976931348623157E308}",
		"log.flush.interval.ms":               "null from 5 {}",
		"log.flush.scheduler.interval.ms":     "9223372036854775807 from 5 {5:log.flush.scheduler.interval.ms=9223372036854775807}",
		"broker.rack":                         "null from 5 {}",
	} {
		require.Equal(t, want, say(describe(l, name)), name)
	}
	retention := describe(Layers{Static: conf{"log.retention.minutes": "2"}}, "log.retention.ms")
	require.Equal(t, "null from 5 {}", say(retention), "as Kafka tells it")
	require.Equal(t, "120000", text(retention.Effective()))
	require.Equal(t, conf{"retention.ms": "-1"}, resolve(t, Layers{Static: conf{"log.retention.minutes": "-1"}}).TopicDefaults)
	require.Equal(t, conf{"flush.ms": "9"}, resolve(t, Layers{Static: conf{"log.flush.scheduler.interval.ms": "9"}}).TopicDefaults)
	require.Equal(t, "log.retention.ms", l.TopicSynonyms("retention.ms")[0].Name)
	require.Nil(t, Layers{Static: conf{"log.retention.hours": "4"}}.TopicSynonyms("retention.ms"), "as Kafka tells it")
	require.Nil(t, Layers{}.TopicSynonyms("remote.storage.enable"))
}

func TestDescribeCluster(t *testing.T) {
	l := Layers{Static: conf{"log.cleaner.threads": "9"}, Cluster: conf{"log.cleaner.threads": "3", "log.retention.ms": "7"}, Broker: conf{"log.cleaner.threads": "2"}}
	var got []string
	for _, s := range l.DescribeCluster() {
		got = append(got, s.Def.Name+"="+say(s))
	}
	require.Equal(t, []string{"log.cleaner.threads=3 from 3 {3:log.cleaner.threads=3}", "log.retention.ms=7 from 3 {3:log.retention.ms=7}"}, got)
}

// Passwords are shown to nobody; configs of Kafka's own tests only when they are set; those of a listener likewise.
func TestDescribeHides(t *testing.T) {
	l := Layers{Static: conf{"ssl.key.password": "hunter2", "unstable.api.versions.enable": "true"}, Broker: conf{"listener.name.ext.ssl.key.password": "hunter2"}}
	names := map[string]bool{}
	for _, s := range l.Describe() {
		names[s.Def.Name] = true
		require.NotContains(t, say(s), "hunter2")
		require.NotEqual(t, "hunter2", text(s.Effective()))
	}
	require.True(t, names["unstable.api.versions.enable"] && names["listener.name.ext.ssl.key.password"])
	require.False(t, names["unstable.feature.versions.enable"])
	require.Equal(t, StaticBroker, describe(l, "ssl.key.password").Source)
}

func TestAlter(t *testing.T) {
	set := func(k, v string) Op { return Op{Key: k, Kind: configdef.Set, Value: v} }
	del := func(k string) Op { return Op{Key: k, Kind: configdef.Delete} }
	changed, deleted, err := Alter(conf{"log.cleaner.threads": "2", "from.the.future": "x"},
		[]Op{set("log.retention.ms", "5"), del("log.cleaner.threads"), del("num.partitions"), del("from.the.future")}, false, Layers{Cluster: conf{"log.cleaner.threads": "2", "from.the.future": "x"}})
	require.NoError(t, err)
	require.Equal(t, conf{"log.retention.ms": "5"}, changed)
	require.Equal(t, []string{"from.the.future", "log.cleaner.threads"}, deleted)

	changed, _, err = Alter(nil, []Op{{Key: "log.cleanup.policy", Kind: configdef.Append, Value: "compact"}}, true, Layers{})
	require.NoError(t, err)
	require.Equal(t, conf{"log.cleanup.policy": "delete,compact"}, changed)

	for _, c := range []struct {
		op        Op
		perBroker bool
		is        error
		want      string
	}{
		{set("num.partitions", "3"), true, ErrReadOnly, "num.partitions"},
		{set("listeners", "PLAINTEXT://:1"), true, ErrReadOnly, "--kafka"},
		{set("ssl.keystore.location", "/x"), true, ErrReadOnly, "listener.name.<listener>.ssl.keystore.location"},
		{set("listener.name.x.ssl.keystore.location", "/x"), false, ErrPerBroker, "listener.name.x.ssl.keystore.location"},
		{set("nope", "3"), true, configdef.ErrInvalid, "nope"},
		{del("nope"), true, configdef.ErrInvalid, "nope"},
		{set("log.cleaner.threads", "many"), false, configdef.ErrInvalid, "many"},
		{set("log.cleaner.threads", "1000"), false, configdef.ErrInvalid, "log.cleaner.dedupe.buffer.size"},
		{Op{Key: "log.cleaner.threads", Kind: configdef.Append, Value: "1"}, false, configdef.ErrInvalid, "list"},
		{Op{Key: "log.cleaner.threads", Kind: 9, Value: "1"}, false, configdef.ErrInvalid, "operation 9"},
		{set("log.cleaner.max.compaction.lag.ms", "5"), true, configdef.ErrInvalid, "min.compaction.lag.ms"},
	} {
		_, _, err := Alter(nil, []Op{c.op}, c.perBroker, Layers{Static: conf{"log.cleaner.min.compaction.lag.ms": "10"}})
		require.ErrorIs(t, err, c.is, c.op.Key)
		require.ErrorContains(t, err, c.want)
	}
	_, _, err = Alter(nil, []Op{set("listener.name.x.ssl.keystore.location", "/x")}, true, Layers{})
	require.NoError(t, err)
	_, _, err = Alter(nil, []Op{set("log.retention.ms", "5"), del("log.retention.ms")}, true, Layers{})
	require.ErrorContains(t, err, "twice")
	// What is stored and wrong does not keep what is right from being set.
	_, _, err = Alter(conf{"num.partitions": "3"}, []Op{set("log.retention.ms", "5")}, true, Layers{Broker: conf{"num.partitions": "3"}, Cluster: conf{"log.cleaner.threads": "x"}})
	require.NoError(t, err)
}

func TestSound(t *testing.T) {
	l, errs := Layers{Static: conf{"num.partitions": "2"}, Cluster: conf{"log.retention.ms": "5", "nope": "1", "log.roll.ms": "soon"}, Broker: conf{"num.partitions": "3"}}.Sound()
	require.Equal(t, Layers{Static: conf{"num.partitions": "2"}, Cluster: conf{"log.retention.ms": "5"}, Broker: conf{}}, l)
	require.Len(t, errs, 3)
}

// What Describe calls effective is what Resolve acts on, whatever is given where.
func TestDescribeAgreesWithResolve(t *testing.T) {
	values := conf{"num.partitions": "3", "log.cleaner.threads": "4", "group.max.size": "5", "log.retention.ms": "6", "log.retention.minutes": "7",
		"log.retention.hours": "8", "log.roll.hours": "9", "log.roll.ms": "10", "message.max.bytes": "11", "queued.max.request.bytes": "200000000", "offsets.retention.minutes": "13",
		"log.cleanup.policy": "compact,delete", "log.flush.scheduler.interval.ms": "14", "firn.remote.compression": "none"}
	names := slices.Sorted(func(yield func(string) bool) {
		for k := range values {
			if !yield(k) {
				return
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string) conf {
			m := conf{}
			for _, n := range names {
				if rapid.Bool().Draw(t, what+" "+n) {
					m[n] = values[n]
					if values[n][0] <= '9' && what != "static" {
						m[n] += "0"
					}
				}
			}
			return m
		}
		l := Layers{Static: draw("static"), Cluster: draw("cluster"), Broker: draw("broker")}
		v, err := l.Resolve()
		require.NoError(t, err)
		said := conf{}
		topics := conf{}
		for _, s := range l.Describe() {
			said[s.Def.Name] = text(s.Effective())
			if len(s.Synonyms) > 0 {
				require.Equal(t, s.Synonyms[0].Source, s.Source)
			}
			if counts := l.given(&s.Def); s.Def.Topic != "" && counts[0].Source != Default {
				topics[s.Def.Topic] = text(s.Effective())
			}
		}
		require.Equal(t, topics, v.TopicDefaults)
		require.Equal(t, said["num.partitions"], fmt.Sprint(v.NumPartitions))
		require.Equal(t, said["log.cleaner.threads"], fmt.Sprint(v.Cleaner.Threads))
		require.Equal(t, said["group.max.size"], fmt.Sprint(v.Groups.MaxSize))
		require.Equal(t, said["queued.max.request.bytes"], fmt.Sprint(v.Limits.MemoryBytes))
		minutes, _ := configdef.Long.Parse(said["offsets.retention.minutes"])
		require.Equal(t, minutes.Num*60_000, v.Groups.RetentionMs)
	})
}

func FuzzValidate(f *testing.F) {
	f.Add("num.partitions", "1")
	f.Add("listener.name.a.b.sasl.jaas.config", "x")
	f.Add("max.connections.per.ip.overrides", "[::1]:1,")
	f.Add("log.retention.hours", "2147483647")
	f.Fuzz(func(t *testing.T, key, value string) {
		l := Layers{Static: map[string]string{key: value}}
		if Validate(key, value) == nil {
			_, _ = l.Resolve()
			for _, s := range l.Describe() {
				s.Effective()
			}
		} else if _, err := l.Resolve(); err == nil {
			t.Fatalf("%s=%q is not valid but can be resolved", key, value)
		}
	})
}
