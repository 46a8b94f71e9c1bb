package brokerconfig

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata/configdef"
)

// kafkaDef is what Kafka says of a config (testdata/Dump.java).
type kafkaDef struct {
	Name, Type, Validator, Mode string
	Default                     *string
	Internal                    bool
	Synonyms                    []string
}

func kafkaDefs(t *testing.T) []kafkaDef {
	dump, err := os.ReadFile("testdata/kafka-4.3.1.jsonl")
	require.NoError(t, err)
	var all []kafkaDef
	for line := range strings.Lines(string(dump)) {
		var k kafkaDef
		require.NoError(t, json.Unmarshal([]byte(line), &k))
		all = append(all, k)
	}
	require.Greater(t, len(all), 300)
	return all
}

// differs are the configs whose default or mode is another than Kafka's, and why.
var differs = map[string]string{
	"log.flush.interval.messages":      "a record is on disk before it is acknowledged",
	"log.retention.ms":                 "records are kept for ever",
	"log.retention.hours":              "records are kept for ever",
	"log.local.retention.ms":           "archived records stay on local disk for a day",
	"log.retention.check.interval.ms":  "a full disk does not wait five minutes",
	"queued.max.request.bytes":         "every queue is bounded",
	"max.connections":                  "every queue is bounded",
	"max.connections.per.ip":           "one address must not take them all",
	"socket.send.buffer.bytes":         "over a network it bounds the rate",
	"remote.log.storage.system.enable": "firn has an archive",
	"remote.fetch.max.wait.ms":         "an object store may take longer than half a second",
}

// TestAgainstKafka holds the table against what Kafka says of itself: nothing is missing, nothing has another type,
// and another default only where the list above says why.
func TestAgainstKafka(t *testing.T) {
	// Kafka keeps these apart (QuotaConfig.brokerQuotaConfigs), so that its table does not have them.
	known := map[string]bool{"leader.replication.throttled.rate": true, "follower.replication.throttled.rate": true,
		"replica.alter.log.dirs.io.max.bytes.per.second": true}
	for _, k := range kafkaDefs(t) {
		known[k.Name] = true
		d, ok := Lookup(k.Name)
		require.True(t, ok, k.Name)
		require.Equal(t, k.Type, d.Type.String(), k.Name)
		require.Equal(t, k.Default, d.KafkaDefault, k.Name)
		require.Equal(t, k.Mode, d.KafkaMode.String(), k.Name)
		require.Equal(t, k.Internal, d.Internal, k.Name)
		require.Equal(t, k.Type == "password", d.Sensitive, k.Name)
		if len(k.Synonyms) == 1 {
			k.Synonyms = nil
		}
		require.Equal(t, k.Synonyms, d.Synonyms, k.Name)
		if _, listed := differs[k.Name]; listed {
			require.NotEqual(t, d.KafkaDefault, d.Default, k.Name)
		} else {
			require.Equal(t, d.KafkaDefault, d.Default, k.Name)
		}
		if d.Mode != d.KafkaMode {
			require.Equal(t, []Mode{ClusterWide, ReadOnly}, []Mode{d.Mode, d.KafkaMode}, k.Name)
			require.Empty(t, d.NoEffect, k.Name)
		}
	}
	for i, d := range Defs() {
		require.Equal(t, strings.HasPrefix(d.Name, "firn."), !known[d.Name], d.Name)
		require.True(t, i == 0 || Defs()[i-1].Name < d.Name, d.Name)
		require.True(t, d.Doc != "" && strings.HasSuffix(d.Doc, "."), "%s has no documentation", d.Name)
		require.False(t, strings.HasSuffix(d.NoEffect, "."), d.Name)
		require.NotContains(t, d.Doc, "No effect", "%s: NoEffect says it", d.Name)
		if d.Default != nil {
			require.NoError(t, Validate(d.Name, *d.Default))
			require.Equal(t, *d.Default, *canonical(&d, d.Default), "%s: the default is not written as Kafka writes it", d.Name)
		}
	}
}

// stricter are ranges that firn has where Kafka takes more, and why.
var stricter = map[string]string{
	"socket.request.max.bytes":     "smaller requests are no requests",
	"max.connections":              "nobody could connect to change it",
	"max.connection.creation.rate": "nobody could connect to change it",
	"offsets.topic.segment.bytes":  "a topic may not have smaller segments",
}

// TestRangesAgainstKafka: what Kafka takes at the edges of its ranges is taken, and what is beyond them is not.
func TestRangesAgainstKafka(t *testing.T) {
	edges := 0
	for _, k := range kafkaDefs(t) {
		var lo, hi int64
		n, _ := fmt.Sscanf(k.Validator, "[%d,...,%d]", &lo, &hi)
		if n == 0 || k.Type == "double" {
			continue
		}
		edges++
		if _, listed := stricter[k.Name]; listed {
			require.Error(t, Validate(k.Name, fmt.Sprint(lo)), k.Name)
		} else if k.Name != "offsets.topic.num.partitions" || lo != 1 {
			require.NoError(t, Validate(k.Name, fmt.Sprint(lo)), k.Name)
		}
		require.Error(t, Validate(k.Name, fmt.Sprint(lo-1)), k.Name)
		if n == 2 {
			require.NoError(t, Validate(k.Name, fmt.Sprint(hi)), k.Name)
			require.Error(t, Validate(k.Name, fmt.Sprint(hi+1)), k.Name)
		}
	}
	require.Greater(t, edges, 150)
}

// TestBadValues (I-33): a sentence names key, value and what is allowed.
func TestBadValues(t *testing.T) {
	for key, c := range map[string][2]string{
		"num.partition":                     {"1", "Unknown broker config name"},
		"num.partitions":                    {"0", "at least 1"},
		"auto.create.topics.enable":         {"maybe", "true or false"},
		"firn.local.disk.target":            {"70", "share"},
		"firn.local.disk.reserve":           {"-1", "at least 0"},
		"firn.remote.cache.bytes":           {"1000", "at least 1048576"},
		"log.retention.ms":                  {"0", "-1, or at least 1"},
		"max.connections.per.ip.overrides":  {"example.org:5", "IP address"},
		"log.cleaner.io.buffer.load.factor": {"1", "below 1"},
		"firn.connection.request.rate":      {"0", "above 0"},
		"group.max.size":                    {"99999999999", "at least 1"},
		"broker.rack.name":                  {"x", "Unknown"},
		"listener.name.x.num.partitions":    {"1", "Unknown"},
	} {
		err := Validate(key, c[0])
		require.ErrorIs(t, err, configdef.ErrInvalid, key)
		require.ErrorContains(t, err, key)
		require.ErrorContains(t, err, c[1], key)
		if !strings.HasPrefix(c[1], "Unknown") {
			require.ErrorContains(t, err, c[0])
		}
		_, err = Layers{Static: map[string]string{key: c[0]}}.Resolve()
		require.ErrorContains(t, err, key)
	}
	err := Validate("listener.name.external.ssl.keystore.password", "hunter2")
	require.NoError(t, err)
	long := strings.Repeat("x", 10_000)
	require.Less(t, len(Validate("num.partitions", long).Error()), 500)
	require.Less(t, len(Validate(long, "1").Error()), 500)
}

// TestValuesThatRuleEachOtherOut: each alone is right.
func TestValuesThatRuleEachOtherOut(t *testing.T) {
	for want, static := range map[string]map[string]string{
		"group.min.session.timeout.ms":   {"group.min.session.timeout.ms": "10", "group.max.session.timeout.ms": "9"},
		"log.cleaner.dedupe.buffer.size": {"log.cleaner.dedupe.buffer.size": "1048576", "log.cleaner.threads": "2"},
		"queued.max.request.bytes":       {"queued.max.request.bytes": "2000", "socket.request.max.bytes": "2001"},
		"min.compaction.lag.ms":          {"log.cleaner.min.compaction.lag.ms": "10", "log.cleaner.max.compaction.lag.ms": "9"},
	} {
		for k, v := range static {
			require.NoError(t, Validate(k, v))
		}
		_, err := Layers{Static: static}.Resolve()
		require.ErrorIs(t, err, configdef.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}
