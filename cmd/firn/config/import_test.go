package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/magiconair/properties"
	"github.com/stretchr/testify/require"
)

// TestImport: what firn has a word for arrives under that word, everything else is named with a reason, and the file
// that comes out is in order.
func TestImport(t *testing.T) {
	data, err := os.ReadFile("testdata/server.properties")
	require.NoError(t, err)
	m, err := Import(data)
	require.NoError(t, err)
	e, err := resolve(Input{File: "/etc/firn.yaml"}, m.YAML)
	require.NoError(t, err, "%s", m.YAML)
	require.NoError(t, e.CheckBroker())
	c := e.Config
	require.Equal(t, int32(3), c.BrokerID)
	require.Equal(t, "/disk1/kafka", c.Data)
	require.Equal(t, []string{":9092", "kafka.example:9092"}, []string{c.Kafka, c.Advertise}, "the listener for clients, not the one between brokers")
	for name, value := range map[string]string{"num.partitions": "6", "log.retention.hours": "168", "log.segment.bytes": "1073741824",
		"log.cleanup.policy": "delete,compact", "auto.create.topics.enable": "false"} {
		require.Equal(t, value, c.Settings[name], name)
	}
	require.Contains(t, string(m.YAML), ":9092 # listeners")
	for _, d := range []struct{ name, why string }{
		{"listeners", "INTERNAL://0.0.0.0:29092: it is for traffic between brokers"}, {"listeners", "SECURE://:9093: firn has no TLS"},
		{"listeners", "CONTROLLER://:9094: firn keeps its metadata in etcd"}, {"advertised.listeners", "not the listener that was taken"},
		{"listener.security.protocol.map", "one listener"}, {"controller.listener.names", "etcd"},
		{"zookeeper.connect", "metadata.endpoints"}, {"process.roles", "metadata.endpoints"}, {"controller.quorum.voters", "metadata.endpoints"},
		{"num.network.threads", "no effect"}, {"message.max.bytes", "lots"}, {"max.connections", "config providers"},
		{"security.inter.broker.protocol", "TLS"}, {"ssl.keystore.password", "TLS"}, {"authorizer.class.name", "ACLs"},
		{"remote.log.storage.system.enable", "store.url"}, {"remote.log.storage.manager.class.name", "store.url"}, {"rsm.config.storage.bucket", "store.url"},
		{"retention.ms", "log.retention.ms"}, {"num.partitons", "did you mean num.partitions?"}, {"description", "no such broker config"},
	} {
		require.True(t, slices.ContainsFunc(m.Dropped, func(o Dropped) bool { return o.Name == d.name && strings.Contains(o.Reason, d.why) }), "%s: %s in %v", d.name, d.why, m.Dropped)
	}
	require.NotContains(t, fmt.Sprint(m.Taken, m.Dropped, m.Notes, string(m.YAML)), "hunter2")
	require.Contains(t, strings.Join(m.Notes, "\n"), "remote.storage.enable is true where nobody sets it (Kafka: false)")
	require.NotContains(t, strings.Join(m.Notes, "\n"), "\nretention.ms", "log.retention.hours was given")
	requireComplete(t, data, m)
}

// requireComplete: every line is told of.
func requireComplete(t *testing.T, data []byte, m *Imported) {
	t.Helper()
	p, err := (&properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}).LoadBytes(data)
	require.NoError(t, err)
	told := map[string]bool{}
	for _, x := range m.Taken {
		told[clip(x.Name)] = true
	}
	for _, x := range m.Dropped {
		told[x.Name] = true
	}
	for _, name := range p.Keys() {
		require.True(t, told[clip(name)], "nothing is said of %q", name)
	}
}

// TestImportKRaft: a file as Kafka 4 ships it.
func TestImportKRaft(t *testing.T) {
	m, err := Import([]byte(`process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
log.retention.hours=168
`))
	require.NoError(t, err)
	require.Equal(t, `# Made by firn config import from Kafka's server.properties.
broker:
  id: 1 # node.id
  data: /tmp/kraft-combined-logs # log.dirs
  kafka: :9092 # listeners
  advertise: localhost:9092 # advertised.listeners
settings:
  num.partitions: 1
  log.retention.hours: 168
`, string(m.YAML))
}

// TestImportDisagreeing: of settings that do not go together, the one that stands in the way is dropped.
func TestImportDisagreeing(t *testing.T) {
	quarrel := "group.min.session.timeout.ms=600000\ngroup.max.session.timeout.ms=1000\n"
	for text, dropped := range map[string][]string{
		quarrel:                                  {"group.max.session.timeout.ms"},
		quarrel + "queued.max.request.bytes=1\n": {"group.max.session.timeout.ms", "queued.max.request.bytes"},
	} {
		m, err := Import([]byte(text + "num.partitions=2\n"))
		require.NoError(t, err)
		var names []string
		for _, d := range m.Dropped {
			require.Contains(t, d.Reason, "does not go with the others")
			names = append(names, d.Name)
		}
		require.Equal(t, dropped, names)
		e, err := resolve(Input{File: "f"}, m.YAML)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"num.partitions": "2", "group.min.session.timeout.ms": "600000"}, e.Config.Settings)
	}
}

func TestImportBroken(t *testing.T) {
	_, err := Import([]byte("a=\\uZZZZ\n"))
	require.ErrorContains(t, err, "no properties file")
	m, err := Import(nil)
	require.NoError(t, err)
	require.Empty(t, m.Taken)
	_, err = resolve(Input{File: "f"}, m.YAML)
	require.NoError(t, err)
}

// FuzzImport: whatever the file holds, it is refused in a sentence, or every line of it is told of and the outcome is in
// order.
func FuzzImport(f *testing.F) {
	data, err := os.ReadFile("testdata/server.properties")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, s := range []string{"", "listeners=", "listeners=://:1,A://x:1,A://y:2", "log.dirs=,", "node.id=-1\nbroker.id=0", "broker.rack=\\u0085\\ud800", "broker.rack=null",
		"=x", "a\\=b=c", "log.retention.ms=1\nlog.local.retention.ms=2", "advertised.listeners=PLAINTEXT://:9092", "${a}=${a}", "listener.name.x.ssl.key.password=p"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Import(data)
		if err != nil {
			return
		}
		requireComplete(t, data, m)
		if _, err := resolve(Input{File: "/firn.yaml"}, m.YAML); err != nil {
			t.Fatalf("%v in\n%s", err, m.YAML)
		}
	})
}

// TestImportUnfitListeners: each listener that firn cannot have is dropped for what is wrong with it, not for another's
// reason.
func TestImportUnfitListeners(t *testing.T) {
	m, err := Import([]byte(`process.roles=broker,controller
listeners=CONTROLLER://:9093,INSIDE://:9094,SAFE://:9095,PLAINTEXT://:9092
listener.security.protocol.map=CONTROLLER:PLAINTEXT,SAFE:SASL_SSL,PLAINTEXT:PLAINTEXT
`))
	require.NoError(t, err)
	require.Contains(t, string(m.YAML), "kafka: :9092")
	reasons := map[string]string{}
	for _, d := range m.Dropped {
		if listener, why, ok := strings.Cut(d.Reason, "://"); ok {
			reasons[listener] = why
		}
	}
	require.Contains(t, reasons["CONTROLLER"], "the controllers'")
	require.Contains(t, reasons["CONTROLLER"], "etcd")
	require.Contains(t, reasons["INSIDE"], "nothing says what it speaks")
	require.Contains(t, reasons["SAFE"], "no TLS")
	require.NotContains(t, reasons["CONTROLLER"]+reasons["INSIDE"], "TLS")
}
