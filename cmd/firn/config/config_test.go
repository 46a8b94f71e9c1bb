package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata/brokerconfig"
)

const full = `
broker:
  id: 3
  data: data            # relative to this file
  kafka: ":9092"
  advertise: broker.example:9092
  http: 127.0.0.1:9645
store:
  url: minio://minio:9000/firn?secure=false
metadata:
  endpoints: [etcd-1:2379, "http://etcd-2:2379"]
archive:
  grace: 2h
  interval: 5m
  delete-delay: 24h
log:
  level: info
  format: json
settings:
  num.partitions: 6
  auto.create.topics.enable: false
  log.cleanup.policy: [delete, compact]
  firn.local.disk.target: 0.5
`

// TestFile: every key of the file reaches the configuration, and says where it comes from.
func TestFile(t *testing.T) {
	e, err := resolve(Input{File: "/etc/firn/firn.yaml"}, []byte(full))
	require.NoError(t, err)
	require.Equal(t, Config{
		BrokerID: 3, Data: "/etc/firn/data", Kafka: ":9092", Advertise: "broker.example:9092", HTTP: "127.0.0.1:9645",
		Store: "minio://minio:9000/firn?secure=false", Endpoints: []string{"etcd-1:2379", "http://etcd-2:2379"},
		ArchiveGrace: 2 * time.Hour, ArchiveInterval: 5 * time.Minute, ArchiveDeleteDelay: 24 * time.Hour,
		LogFormat: "json",
		Settings: map[string]string{"num.partitions": "6", "auto.create.topics.enable": "false", "log.cleanup.policy": "delete,compact",
			"firn.local.disk.target": "0.5"},
	}, e.Config)
	require.Equal(t, "/etc/firn/firn.yaml:5", e.Source(Kafka).String())
	require.Equal(t, "/etc/firn/firn.yaml:20", e.Source("settings.num.partitions").String())
	require.NoError(t, e.CheckBroker())
}

// TestEmpty: nothing written is the defaults, and enough for a broker that is only tried.
func TestEmpty(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n", "broker:\nsettings:\n", "{}\n"} {
		e, err := resolve(Input{File: "firn.yaml"}, []byte(text))
		require.NoError(t, err, text)
		require.Equal(t, int32(1), e.Config.BrokerID)
		require.Equal(t, "127.0.0.1:9092", e.Config.Kafka)
		require.True(t, filepath.IsAbs(e.Config.Data))
		require.Equal(t, time.Hour, e.Config.ArchiveGrace)
		require.Equal(t, "default", e.Source(Kafka).String())
		require.ErrorContains(t, e.CheckBroker(), "broker.data is not set")
	}
}

// TestMistakesInTheFile (I-33): an unknown key, a bad value, a key given twice or of the wrong shape stops the start with
// a sentence that names the place, the key, the value and what is allowed.
func TestMistakesInTheFile(t *testing.T) {
	for text, want := range map[string][]string{
		"broker:\n  kafak: x:1":                               {"firn.yaml:2: broker.kafak is unknown", "did you mean kafka?", "id, data, kafka, advertise and http"},
		"borker:\n  id: 1":                                    {"firn.yaml:1: section borker is unknown", "did you mean broker?", "store, metadata"},
		"broker.id: 1":                                        {"firn.yaml:1: broker.id is written in two lines"},
		"kafka: x:1":                                          {"firn.yaml:1: kafka is no section", "below broker:"},
		"num.partitions: 1":                                   {"firn.yaml:1: num.partitions is no section", "below settings:"},
		"broker:\n  num.partitions: 1":                        {"firn.yaml:2: broker.num.partitions is unknown", "below settings:"},
		"broker:\n  id: 1\n  id: 2":                           {"firn.yaml:3: broker.id is given twice, first in line 2"},
		"broker:\n  id: 1\nlog: {}\nbroker:\n  id: 1":         {"firn.yaml:4: broker is given twice, first in line 1"},
		"settings:\n  num.partitions: 1\n  num.partitions: 2": {"firn.yaml:3: settings.num.partitions is given twice"},
		"broker:\n  id: one":                                  {`firn.yaml:2: broker.id: "one"`, "0 to 2147483647"},
		"broker:\n  id: -1":                                   {`firn.yaml:2: broker.id: "-1"`, "0 to 2147483647"},
		"broker:\n  id: [1]":                                  {"firn.yaml:2: broker.id holds a list", "0 to 2147483647"},
		"broker:\n  id:\n    n: 1":                            {"firn.yaml:2: broker.id holds keys of its own"},
		"broker:\n  kafka: 9092":                              {`firn.yaml:2: broker.kafka: "9092"`, "HOST:PORT"},
		"broker:\n  kafka: a:99999":                           {`"a:99999"`, "HOST:PORT"},
		"broker:\n  advertise: \":9092\"":                     {`broker.advertise: ":9092"`, "HOST:PORT"},
		"broker:\n  data:":                                    {"firn.yaml:2: broker.data has no value"},
		"broker:\n  data: \"\"":                               {`broker.data: ""`, "path"},
		"broker: 5":                                           {"firn.yaml:1: broker is a section"},
		"[1, 2]":                                              {"firn.yaml:1: it holds no sections"},
		"store:\n  url: http://x/y":                           {`store.url: "http://x/y"`, "dir:///path"},
		"metadata:\n  endpoints: []":                          {"metadata.endpoints", "HOST:PORT"},
		"metadata:\n  endpoints: [[a]]":                       {"metadata.endpoints", "no plain value"},
		"metadata:\n  endpoints: a:1,b":                       {`"a:1,b"`, "HOST:PORT"},
		"metadata:\n  endpoints: a:1\n  dir: m":               {"firn.yaml:3: metadata.dir", "metadata.endpoints", "leave one"},
		"archive:\n  grace: 5":                                {`archive.grace: "5"`, "such as 90s"},
		"archive:\n  interval: 0s":                            {`archive.interval: "0s"`, "above 0"},
		"log:\n  level: loud":                                 {`log.level: "loud"`, "debug, info, warn, error"},
		"log:\n  format: xml":                                 {`log.format: "xml"`, "text, json"},
		"settings:\n  num.partition: 1":                       {"firn.yaml:2: settings.num.partition", "unknown", "did you mean num.partitions?"},
		"settings:\n  num.partitions: many":                   {"firn.yaml:2: settings.num.partitions", "many", "at least 1"},
		"settings:\n  num.partitions: [3]":                    {"firn.yaml:2: settings.num.partitions holds a list"},
		"settings:\n  log.cleanup.policy: [[a]]":              {"firn.yaml:2: settings.log.cleanup.policy: an element"},
		"settings:\n  num.partitions:":                        {"firn.yaml:2: settings.num.partitions has no value"},
		"settings:\n  num:\n    partitions: 1":                {"firn.yaml:2: settings.num holds keys of its own", "whole name"},
		"settings:\n  node.id: 1":                             {"firn.yaml:2: settings.node.id", "broker.id instead"},
		"settings:\n  retention.ms: 1":                        {"firn.yaml:2", "retention.ms is a config of topics", "log.retention.ms"},
		"settings:\n  remote.storage.enable: true":            {"firn.yaml:2", "remote.storage.enable is a config of topics", "topic create"},
		"broker:\n  <<: {id: 1}":                              {"firn.yaml:2: a key must be a plain word"},
		"broker: &b\n  id: 1\nlog: *b":                        {"firn.yaml:3: log refers to an anchor"},
		"broker:\n id: 1\n---\nbroker:\n  id: 2":              {"a second document"},
		"broker:\n  id: 1\n wrong":                            {"firn.yaml:2: it is no YAML"},
		"\x00":                                                {"firn.yaml", "it is no YAML"},
		"broker: {id: 1":                                      {"firn.yaml:1: it is no YAML"},
	} {
		_, err := resolve(Input{File: "firn.yaml"}, []byte(text))
		for _, w := range want {
			require.ErrorContains(t, err, w, text)
		}
		require.NotContains(t, err.Error(), "\n", "one mistake is one sentence: %s", text)
	}
}

// TestEveryMistakeIsTold: a person mends a file once, not line by line; a hostile one does not fill the screen.
func TestEveryMistakeIsTold(t *testing.T) {
	_, err := resolve(Input{File: "f", Flags: map[string]string{"kafka": "y"}}, []byte("broker: {id: x}\nlog: {level: y, lvl: z}\n"))
	require.Equal(t, 4, len(strings.Split(err.Error(), "\n")), err)
	_, err = resolve(Input{File: "f"}, []byte("broker:\n"+strings.Repeat("  x: 1\n", 1000)))
	require.LessOrEqual(t, len(strings.Split(err.Error(), "\n")), mostErrors+1)
	_, err = resolve(Input{File: "f"}, []byte("settings:\n"+manySettings(1000)))
	require.LessOrEqual(t, len(strings.Split(err.Error(), "\n")), mostErrors+1)
}

func manySettings(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  some.config.%d: 1\n", i)
	}
	return b.String()
}

// TestMistakesElsewhere (I-33): variables and flags are judged as the file is, and named.
func TestMistakesElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		in   Input
		want []string
	}{
		"variable":          {Input{Env: []string{"FIRN_KAFKA=x"}}, []string{`FIRN_KAFKA (broker.kafka): "x"`, "HOST:PORT"}},
		"variable misspelt": {Input{Env: []string{"FIRN_KAFAK=x:1"}}, []string{"FIRN_KAFAK", "did you mean FIRN_KAFKA?"}},
		"setting variable":  {Input{Env: []string{"FIRN_SETTING_NUM_PARTITIONS=x"}}, []string{"FIRN_SETTING_NUM_PARTITIONS (settings.num.partitions)", "x", "at least 1"}},
		"setting unknown":   {Input{Env: []string{"FIRN_SETTING_NUM_PARTITION=1"}}, []string{"FIRN_SETTING_NUM_PARTITION is set", "did you mean FIRN_SETTING_NUM_PARTITIONS?"}},
		"setting elsewhere": {Input{Env: []string{"FIRN_SETTING_NODE_ID=1"}}, []string{"FIRN_SETTING_NODE_ID", "broker.id instead"}},
		"flag":              {Input{Flags: map[string]string{"log-level": "loud"}}, []string{`--log-level (log.level): "loud"`, "debug, info"}},
		"set":               {Input{Set: map[string]string{"num.partition": "1"}}, []string{"--set (settings.num.partition)", "did you mean num.partitions?"}},
		"no file":           {Input{File: "/nowhere/firn.yaml"}, []string{"/nowhere/firn.yaml", "no such file"}},
	} {
		_, err := Load(c.in)
		for _, w := range c.want {
			require.ErrorContains(t, err, w, name)
		}
	}
	_, err := Load(Input{Env: []string{"FIRN_PORT=tcp://10.0.0.1:9092", "FIRN_SERVICE_HOST=10.0.0.1", "FIRN_BOOTSTRAP=x:1", "FIRN_CONFIG=x", "FIRN_KAFAK=", "PATH=/bin"}})
	require.NoError(t, err, "variables of others, and empty ones")
}

// TestPrecedence: for every key, what is said in a later layer wins, and the source says which it was.
func TestPrecedence(t *testing.T) {
	samples := map[string][3]string{ // of file, environment and flag
		BrokerID: {"2", "3", "4"}, Data: {"/a", "/b", "/c"}, Store: {"dir:///a", "dir:///b", "dir:///c"}, Endpoints: {"a:1", "b:1", "c:1"}, MetadataDir: {"/a", "/b", "/c"},
		"archive.grace": {"2s", "3s", "4s"}, "archive.interval": {"2s", "3s", "4s"}, "archive.delete-delay": {"2s", "3s", "4s"},
		"log.level": {"debug", "info", "error"}, "log.format": {"json", "text", "json"},
		Kafka: {"a:1", "b:1", "c:1"}, Advertise: {"a:1", "b:1", "c:1"}, HTTP: {"a:1", "b:1", "c:1"},
	}
	value := func(in Input, file, key string) Value {
		e, err := resolve(in, []byte(file))
		require.NoError(t, err, key)
		for _, v := range e.Values(true) {
			if v.Key == key {
				return v
			}
		}
		t.Fatalf("%s is not among the values", key)
		return Value{}
	}
	check := func(key, file, env, flag string, in Input, s [3]string) {
		byDefault := value(Input{}, "", key)
		require.Equal(t, "default", byDefault.Source, key)
		require.False(t, byDefault.Set, key)
		v := value(Input{File: "/f.yaml"}, file, key)
		require.Equal(t, []any{s[0], "/f.yaml:2", true}, []any{v.Text(), v.Source, v.Set}, key)
		withEnv := Input{File: "/f.yaml", Env: []string{env + "=" + s[1]}}
		v = value(withEnv, file, key)
		require.Equal(t, []any{s[1], "env " + env, true}, []any{v.Text(), v.Source, v.Set}, key)
		in.File, in.Env = withEnv.File, withEnv.Env
		v = value(in, file, key)
		require.Equal(t, []any{s[2], "flag --" + flag, true}, []any{v.Text(), v.Source, v.Set}, key)
	}
	for _, k := range Keys() {
		s, ok := samples[k.Name]
		require.True(t, ok, "no samples of %s", k.Name)
		check(k.Name, k.Section()+":\n  "+k.Short()+": "+s[0]+"\n", k.Env, k.Flag, Input{Flags: map[string]string{k.Flag: s[2]}}, s)
	}
	check("settings.num.partitions", "settings:\n  num.partitions: 2\n", "FIRN_SETTING_NUM_PARTITIONS", "set",
		Input{Set: map[string]string{"num.partitions": "4"}}, [3]string{"2", "3", "4"})
}

// TestSynonyms: a later layer wins also where it says the same by another of Kafka's names.
func TestSynonyms(t *testing.T) {
	file := []byte("settings:\n  log.retention.ms: 1000\n  log.retention.minutes: 5\n")
	e, err := resolve(Input{File: "f"}, file)
	require.NoError(t, err)
	require.Len(t, e.Config.Settings, 2, "within a layer Kafka's order holds")
	e, err = resolve(Input{File: "f", Env: []string{"FIRN_SETTING_LOG_RETENTION_HOURS=2"}}, file)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"log.retention.hours": "2"}, e.Config.Settings)
	require.Equal(t, "default", e.Source("settings.log.retention.ms").String())
}

// TestTable: the table of keys is complete, and nothing in it means two things.
func TestTable(t *testing.T) {
	seen := map[string]string{"config": "the file's flag", "set": "the settings' flag", FileEnv: "the file's variable"}
	for _, k := range Keys() {
		for _, name := range []string{k.Name, k.Env, k.Flag} {
			require.Empty(t, seen[name], name)
			seen[name] = k.Name
		}
		require.True(t, strings.HasPrefix(k.Env, envPrefix) && !strings.HasPrefix(k.Env, SettingEnv), k.Name)
		require.NotEmpty(t, k.Doc+k.Type, k.Name)
		require.NotEmpty(t, k.Allowed, k.Name)
		require.NotEmpty(t, k.Placeholder, k.Name)
		require.True(t, (k.Default == "") != (k.Unset == ""), "%s says what holds while it has no value", k.Name)
		if k.Default != "" {
			require.True(t, k.put(new(Config), k.Default), k.Name)
		}
	}
	envs := map[string]string{}
	for _, name := range settingNames() {
		require.Empty(t, envs[EnvOf(name)], name)
		envs[EnvOf(name)] = name
		back, ok := settingOfEnv(strings.TrimPrefix(EnvOf(name), SettingEnv))
		require.True(t, ok)
		require.Equal(t, name, back)
	}
	for name, home := range homeOf {
		_, ok := Lookup(home)
		require.True(t, ok, home)
		_, ok = brokerconfig.Lookup(name)
		require.True(t, ok, name)
	}
}

// TestSecrets: what may be a password is neither listed nor repeated in a complaint.
func TestSecrets(t *testing.T) {
	e, err := resolve(Input{File: "f"}, []byte("settings:\n  ssl.key.password: hunter2\n"))
	require.NoError(t, err)
	for _, v := range e.Values(false) {
		scripts, err := json.Marshal(v)
		require.NoError(t, err)
		require.NotContains(t, string(scripts)+v.Text(), "hunter2")
		require.Equal(t, v.Key == "settings.ssl.key.password", v.Hidden)
	}
	text, err := YAML(e.Values(true))
	require.NoError(t, err)
	require.NotContains(t, string(text), "hunter2")
	require.Contains(t, string(text), "# ssl.key.password: "+Hidden)
	for text, says := range map[string]string{
		"store:\n  url: s3://me:hunter2@bucket/x":             "credentials do not go in it",
		"metadata:\n  endpoints: http://me:hunter2@etcd:2379": "without a user or password",
	} {
		_, err = resolve(Input{File: "f"}, []byte(text))
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// TestYAMLRoundTrip: what firn config prints as YAML is a file that makes the same configuration.
func TestYAMLRoundTrip(t *testing.T) {
	for _, text := range []string{"", full, "settings:\n  log.cleanup.policy: \"\"\n  broker.rack: \"null\"\n", "settings:\n  broker.rack: \"a: b # c\"\n"} {
		e, err := resolve(Input{File: "/etc/firn.yaml", Env: []string{"FIRN_LOG_LEVEL=error"}}, []byte(text))
		require.NoError(t, err)
		out, err := YAML(e.Values(false))
		require.NoError(t, err)
		again, err := resolve(Input{File: "/tmp/again.yaml"}, out)
		require.NoError(t, err, "%s", out)
		require.Equal(t, e.Config, again.Config, "%s", out)
		require.Contains(t, string(out), "# Where Kafka clients connect")
		require.Contains(t, string(out), "level: error # env FIRN_LOG_LEVEL")

		out, err = YAML(e.Values(true)) // defaults of broker configs are there as comments
		require.NoError(t, err)
		require.Contains(t, string(out), "# num.io.threads: 8 # default")
		again, err = resolve(Input{File: "/tmp/again.yaml"}, out)
		require.NoError(t, err, "%s", out)
		require.Equal(t, e.Config, again.Config, "%s", out)
	}
}

func TestHugeFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "firn.yaml")
	require.NoError(t, os.WriteFile(name, make([]byte, MaxFile+1), 0o600))
	_, err := Load(Input{File: name})
	require.ErrorContains(t, err, "larger than 1 MiB")
	_, err = Import(make([]byte, MaxFile+1))
	require.ErrorContains(t, err, "larger than 1 MiB")
}

// FuzzFile: whatever the file holds, reading it ends with a configuration or with sentences that name the file, and
// what is accepted can be printed and read again.
func FuzzFile(f *testing.F) {
	for _, s := range []string{full, "", "broker: &b {id: 1}\nlog: *b", "? [a]\n: b", "broker:\n  <<: *x", "settings: {a.b: [1, [2]]}", "\xff\xfe", "a: !!binary x", "broker:\n  data: \"\\0\"", "--- {}\n--- {}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := resolve(Input{File: "/firn.yaml"}, data)
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				if !strings.Contains(line, "/firn.yaml") && !strings.HasPrefix(line, Settings+": ") {
					t.Fatalf("a sentence that does not say where: %q", line)
				}
			}
			return
		}
		out, err := YAML(e.Values(false))
		if err != nil {
			t.Fatal(err)
		}
		again, err := resolve(Input{File: "/firn.yaml"}, out)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		for k, v := range e.Config.Settings {
			if d, _ := brokerconfig.Lookup(k); !d.Sensitive && again.Config.Settings[k] != v {
				t.Fatalf("%s was %q and is %q in\n%s", k, v, again.Config.Settings[k], out)
			}
		}
	})
}

// TestWithoutWorkingDirectory: a folder that is gone harms nobody who does not ask for it.
func TestWithoutWorkingDirectory(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	require.NoError(t, os.Mkdir(gone, 0o755))
	t.Chdir(gone)
	t.Setenv("PWD", "")
	require.NoError(t, os.Remove(gone))
	e, err := resolve(Input{Flags: map[string]string{"data": "/somewhere"}}, nil)
	require.NoError(t, err)
	require.Equal(t, "/somewhere", e.Config.Data)
	_, err = resolve(Input{}, nil)
	require.ErrorContains(t, err, "broker.data")
	require.ErrorContains(t, err, "give a path that begins with /")
}
