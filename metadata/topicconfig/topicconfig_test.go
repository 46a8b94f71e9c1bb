package topicconfig

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Names, types and defaults of Apache Kafka 4.3.1, as its own LogConfig prints them.
const kafka43 = `
cleanup.policy LIST delete
compression.gzip.level INT -1
compression.lz4.level INT 9
compression.type STRING producer
compression.zstd.level INT 3
delete.retention.ms LONG 86400000
file.delete.delay.ms LONG 60000
flush.messages LONG 9223372036854775807
flush.ms LONG 9223372036854775807
follower.replication.throttled.replicas LIST -
index.interval.bytes INT 4096
internal.segment.bytes INT -
leader.replication.throttled.replicas LIST -
local.retention.bytes LONG -2
local.retention.ms LONG -2
max.compaction.lag.ms LONG 9223372036854775807
max.message.bytes INT 1048588
message.timestamp.after.max.ms LONG 3600000
message.timestamp.before.max.ms LONG 9223372036854775807
message.timestamp.type STRING CreateTime
min.cleanable.dirty.ratio DOUBLE 0.5
min.compaction.lag.ms LONG 0
min.insync.replicas INT 1
preallocate BOOLEAN false
remote.log.copy.disable BOOLEAN false
remote.log.delete.on.disable BOOLEAN false
remote.storage.enable BOOLEAN false
retention.bytes LONG -1
retention.ms LONG 604800000
segment.bytes INT 1073741824
segment.index.bytes INT 10485760
segment.jitter.ms LONG 0
segment.ms LONG 604800000
unclean.leader.election.enable BOOLEAN false
`

func TestKafkasConfigsAreAllThere(t *testing.T) {
	known := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(kafka43), "\n") {
		f := strings.Fields(line)
		d, ok := Lookup(f[0])
		require.True(t, ok, f[0])
		require.Equal(t, strings.ToLower(f[1]), d.Type.String(), f[0])
		if f[2] == "-" {
			f[2] = ""
		}
		require.Equal(t, f[2], d.KafkaDefault, f[0])
		known[f[0]] = true
	}
	var differ []string
	for _, d := range Defs() {
		require.NotEmpty(t, d.Doc, d.Name)
		require.True(t, known[d.Name] || strings.HasPrefix(d.Name, "firn."), d.Name)
		if d.Name != InternalSegmentBytes {
			require.NoError(t, Validate(d.Name, d.Default), d.Name)
		}
		if d.Differs() {
			differ = append(differ, d.Name)
		}
	}
	require.Equal(t, []string{FlushMessages, LocalRetentionMs, RemoteStorageEnable, RetentionMs}, differ)
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		key, value string
		ok         bool
	}{
		{"segment.bytes", "1048576", true}, {"segment.bytes", "1048575", false}, {"segment.bytes", "2147483648", false}, {"segment.bytes", " 1048576 ", true},
		{"segment.bytes", "1e6", false}, {"segment.bytes", "", false}, {"internal.segment.bytes", "1", true},
		{"retention.ms", "-1", true}, {"retention.ms", "-2", false}, {"retention.bytes", "-9", true}, {"retention.bytes", "x", false},
		{"local.retention.ms", "-2", true}, {"local.retention.ms", "-3", false},
		{"preallocate", "TRUE", true}, {"preallocate", "yes", false}, {"preallocate", "", false},
		{"cleanup.policy", "delete", true}, {"cleanup.policy", "compact, delete", true}, {"cleanup.policy", "", true}, {"cleanup.policy", "delete,delete", true}, {"cleanup.policy", "Delete", false},
		{"compression.type", "zstd", true}, {"compression.type", "none", false}, {"compression.gzip.level", "-1", true}, {"compression.gzip.level", "0", false},
		{"message.timestamp.type", "LogAppendTime", true}, {"message.timestamp.type", "logappendtime", false},
		{"min.cleanable.dirty.ratio", "0.3", true}, {"min.cleanable.dirty.ratio", "1.01", false}, {"min.cleanable.dirty.ratio", "NaN", false},
		{"leader.replication.throttled.replicas", "*", true}, {"leader.replication.throttled.replicas", "0:1,2:3", true}, {"leader.replication.throttled.replicas", "0:1,x", false}, {"leader.replication.throttled.replicas", "-1:1", false},
		{"firn.remote.segment.bytes", "4096", true}, {"firn.remote.segment.bytes", "4095", false}, {"firn.remote.compression", "zstd", true}, {"firn.remote.compression", "gzip", false},
		{"flush.messages", "0", false}, {"min.insync.replicas", "0", false}, {"no.such.config", "1", false}, {"message.format.version", "3.0", false},
	} {
		err := Validate(c.key, c.value)
		if c.ok {
			require.NoError(t, err, c)
			continue
		}
		require.ErrorIs(t, err, ErrInvalid, c)
		require.ErrorContains(t, err, c.key)
	}
	// I-33: key, value and what is allowed.
	require.EqualError(t, Validate("segment.bytes", "17"), "Invalid value 17 for configuration segment.bytes: it is an int, allowed is at least 1048576")
	require.Less(t, len(Validate("segment.bytes", strings.Repeat("9", 1<<20)).Error()), 500)
}

func resolve(t *testing.T, set, defaults map[string]string) Values {
	t.Helper()
	v, err := Resolve(set, defaults)
	require.NoError(t, err)
	return v
}

type conf = map[string]string

func TestResolve(t *testing.T) {
	v := resolve(t, nil, nil)
	require.True(t, v.Delete && !v.Compact && v.RemoteStorage)
	require.Equal(t, int64(1), v.FlushMessages)
	require.Equal(t, int64(-1), v.RetentionMs)
	require.Equal(t, int64(86400000), v.LocalRetentionMs)
	require.Equal(t, int64(-1), v.LocalRetentionBytes)
	require.Equal(t, int32(1<<30), v.SegmentBytes)
	require.Equal(t, int32(64<<20), v.RemoteSegmentBytes)
	require.Equal(t, int64(math.MaxInt64), v.FlushMs)

	v = resolve(t, conf{"retention.ms": "1000", "internal.segment.bytes": "300", "message.timestamp.type": "LogAppendTime"}, nil)
	require.Equal(t, int64(1000), v.LocalRetentionMs, "the default gives way to a shorter retention")
	require.Equal(t, int32(300), v.SegmentBytes)
	require.True(t, v.LogAppendTime)

	v = resolve(t, conf{"local.retention.bytes": "10"}, conf{"segment.bytes": "2097152", "local.retention.ms": "7", "retention.bytes": "100"})
	require.Equal(t, int32(2<<20), v.SegmentBytes, "broker defaults")
	require.Equal(t, int64(7), v.LocalRetentionMs)
	require.Equal(t, int64(10), v.LocalRetentionBytes)

	v = resolve(t, conf{"cleanup.policy": "compact", "retention.ms": "5"}, nil)
	require.False(t, v.RemoteStorage || v.Delete)
	require.Equal(t, int64(-1), v.RetentionMs, "nothing is dropped without delete")
	v = resolve(t, conf{"cleanup.policy": ""}, nil)
	require.True(t, v.RemoteStorage)
	require.Equal(t, int64(86400000), v.LocalRetentionMs)
	v = resolve(t, conf{"remote.storage.enable": "false", "local.retention.ms": "5", "retention.ms": "9"}, nil)
	require.Equal(t, int64(9), v.LocalRetentionMs, "without remote storage there is one retention")
	v = resolve(t, conf{"remote.log.copy.disable": "true"}, nil)
	require.Equal(t, int64(-1), v.LocalRetentionMs)
	v = resolve(t, conf{"local.retention.ms": "-2", "retention.ms": "77"}, nil)
	require.Equal(t, int64(77), v.LocalRetentionMs)

	for _, bad := range []conf{
		{"remote.storage.enable": "true", "cleanup.policy": "compact"},
		{"remote.storage.enable": "true", "cleanup.policy": "compact,delete"},
		{"local.retention.ms": "11", "retention.ms": "10"},
		{"local.retention.ms": "-1", "retention.ms": "10"},
		{"local.retention.bytes": "11", "retention.bytes": "10"},
		{"remote.log.copy.disable": "true", "local.retention.ms": "5"},
		{"min.compaction.lag.ms": "2", "max.compaction.lag.ms": "1"},
		{"nope": "1"},
	} {
		_, err := Resolve(bad, nil)
		require.ErrorIs(t, err, ErrInvalid, bad)
	}
}

func TestAtCreation(t *testing.T) {
	for _, c := range []struct {
		set      conf
		internal bool
		want     string
	}{
		{nil, false, "true"}, {conf{"cleanup.policy": "compact"}, false, "false"}, {conf{"remote.storage.enable": "False"}, false, "false"},
		{nil, true, "false"}, {conf{"cleanup.policy": "compact"}, true, "false"},
	} {
		got, err := AtCreation(c.set, nil, c.internal)
		require.NoError(t, err)
		require.Equal(t, c.want, got[RemoteStorageEnable], c)
	}
	_, err := AtCreation(conf{"remote.storage.enable": "true"}, nil, true)
	require.ErrorIs(t, err, ErrInvalid)
	_, err = AtCreation(conf{"remote.storage.enable": "true", "cleanup.policy": "compact"}, nil, false)
	require.ErrorContains(t, err, "the archive cannot compact yet")
	require.ErrorContains(t, err, "cleanup.policy=compact")
}

func TestAlter(t *testing.T) {
	got, err := Alter(conf{"a": "kept", "retention.ms": "5"}, nil, []Op{op("retention.ms", Delete, ""), op("segment.ms", Set, "9"), op("cleanup.policy", Append, "compact")})
	require.NoError(t, err)
	require.Equal(t, conf{"a": "kept", "segment.ms": "9", "cleanup.policy": "delete,compact"}, got)
	got, err = Alter(got, nil, []Op{op("cleanup.policy", Subtract, "delete")})
	require.NoError(t, err)
	require.Equal(t, "compact", got["cleanup.policy"])
	for _, ops := range [][]Op{{op("nope", Set, "1")}, {op("segment.ms", Append, "1")}, {op("segment.ms", 9, "1")}, {op("segment.ms", Set, "1"), op("segment.ms", Delete, "")}} {
		_, err = Alter(nil, nil, ops)
		require.ErrorIs(t, err, ErrInvalid, ops)
	}
}

func TestChange(t *testing.T) {
	remote := conf{"remote.storage.enable": "true"}
	change := func(current conf, archived bool, ops ...Op) (Changed, error) {
		next, err := Alter(current, nil, ops)
		require.NoError(t, err)
		return Change(current, next, nil, false, archived)
	}
	c, err := change(remote, false, op(CleanupPolicy, Set, "compact"))
	require.NoError(t, err)
	require.Equal(t, conf{"cleanup.policy": "compact", "remote.storage.enable": "false"}, c.Set, "the topic turns local in the same edit")
	require.True(t, c.Unarchived && !c.DropsArchive)
	require.False(t, c.Values.RemoteStorage)
	_, err = change(remote, true, op(CleanupPolicy, Set, "compact"))
	require.ErrorContains(t, err, "archived segments")
	_, err = change(remote, true, op(CleanupPolicy, Append, "compact"))
	require.ErrorIs(t, err, ErrInvalid)

	_, err = change(remote, true, op(RemoteStorageEnable, Set, "false"))
	require.ErrorContains(t, err, "remote.log.delete.on.disable=true")
	c, err = change(remote, true, op(RemoteStorageEnable, Set, "false"), op(RemoteDeleteOnDisable, Set, "true"))
	require.NoError(t, err)
	require.True(t, c.DropsArchive && !c.Unarchived)
	_, err = change(conf{"remote.storage.enable": "false", "cleanup.policy": "compact"}, false, op(RemoteStorageEnable, Set, "true"))
	require.ErrorIs(t, err, ErrInvalid)
	c, err = change(conf{"remote.storage.enable": "false"}, false, op(RemoteStorageEnable, Set, "true"))
	require.NoError(t, err)
	require.True(t, c.Values.RemoteStorage)
	c, err = change(remote, true, op(RemoteStorageEnable, Delete, ""), op("retention.ms", Set, "5"))
	require.NoError(t, err)
	require.Equal(t, conf{"retention.ms": "5"}, c.Set, "unset follows cleanup.policy, and stays stored")
	require.Empty(t, c.Delete)
	c, err = change(conf{"remote.storage.enable": "true", "retention.ms": "5"}, true, op("retention.ms", Delete, ""))
	require.NoError(t, err)
	require.Equal(t, []string{"retention.ms"}, c.Delete)
	require.Empty(t, c.Set)

	_, err = Change(conf{"remote.storage.enable": "false"}, remote, nil, true, false)
	require.ErrorIs(t, err, ErrInvalid, "internal topics stay local")
	_, err = Change(conf{"remote.storage.enable": "false", "gone.config": "1"}, conf{"remote.storage.enable": "false"}, nil, false, false)
	require.NoError(t, err, "a stored config that is no longer valid can be removed")
}

func FuzzValidate(f *testing.F) {
	f.Add("segment.bytes", "1")
	f.Add("cleanup.policy", ",,")
	f.Fuzz(func(t *testing.T, key, value string) {
		if Validate(key, value) == nil {
			if _, err := Resolve(map[string]string{key: value}, nil); err != nil && !slices.Contains([]string{LocalRetentionMs, LocalRetentionBytes, "min.compaction.lag.ms"}, key) {
				t.Fatalf("%s=%q is valid but cannot be resolved: %v", key, value, err)
			}
		}
	})
}

func op(key string, kind OpKind, value string) Op { return Op{Key: key, Kind: kind, Value: value} }
