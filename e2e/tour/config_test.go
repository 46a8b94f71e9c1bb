package tour

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
)

// TestBrokerFromFile: firn broker serves by its file, over which the environment and then flags are laid, says so in the
// format asked for, and stops cleanly.
func TestBrokerFromFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kafka, http := harness.FreeAddr(t), harness.FreeAddr(t)
	file := filepath.Join(dir, "firn.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
broker:
  id: 0
  data: data
  kafka: %s
  http: 127.0.0.1:1 # overridden
log:
  format: json
settings:
  num.partitions: 2
  log.retention.ms: 3600000
`, kafka), 0o600))
	binary, err := harness.Binary("")
	require.NoError(t, err)
	broker := exec.Command(binary, "broker", "--config", file, "--set", "num.partitions=5")
	broker.Env = append(os.Environ(), "FIRN_HTTP="+http, "FIRN_SETTING_NUM_PARTITIONS=3")
	broker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer // read after the end only
	broker.Stdout, broker.Stderr = &log, &log
	require.NoError(t, broker.Start())
	t.Cleanup(func() { _ = broker.Process.Kill() })

	firn := func(args ...string) (string, error) {
		out, err := exec.Command(binary, append([]string{"--bootstrap", kafka, "--admin", http}, args...)...).CombinedOutput()
		return string(out), err
	}
	harness.Eventually(t, time.Minute, "the broker does not serve", func() bool {
		_, err := firn("topic", "list")
		return err == nil
	})
	out, err := firn("topic", "create", "visits")
	require.NoError(t, err, out)
	require.Contains(t, out, "with 5 partition(s)", "flags win over the environment, that over the file")
	out, err = firn("topic", "describe", "visits", "--all")
	require.NoError(t, err, out)
	require.Regexp(t, `(?m)^ *retention\.ms +3600000 `, out)
	require.Regexp(t, `(?m)^ *0 +0 `, out, "broker 0 leads, as in Kafka")
	out, err = firn("tier", "status")
	require.NoError(t, err, "the variable names where HTTP is: %s", out)
	require.DirExists(t, filepath.Join(dir, "data", "log"), "a relative path starts at the file's folder")

	require.NoError(t, broker.Process.Signal(syscall.SIGTERM))
	require.NoError(t, broker.Wait(), log.String())
	require.Regexp(t, `^\{.*"msg":"firn is ready".*"broker":0.*\}\n$`, log.String(), "one line, and nothing else while all is well")
}

// TestBadConfigurationStopsTheStart (I-33): with a mistake anywhere nothing is started or made, and the sentence says where
// it is, which key and value, and what is allowed.
func TestBadConfigurationStopsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary, err := harness.Binary("")
	require.NoError(t, err)
	file := filepath.Join(dir, "firn.yaml")
	run := func(text string, env []string, args ...string) string {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		cmd := exec.Command(binary, append(args, "--config", file)...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		require.Equal(t, 1, exit.ExitCode())
		require.NoDirExists(t, filepath.Join(dir, "data"))
		return string(out)
	}
	const good = "broker:\n  data: data\n"
	for _, command := range [][]string{{"broker"}, {"dev"}, {"config", "check"}, {"config"}} {
		out := run(good+"  kafak: x:1\n", nil, command...)
		require.Contains(t, out, file+":3: broker.kafak is unknown (did you mean kafka?)")
		out = run(good+"settings:\n  log.retention.ms: soon\n", nil, command...)
		require.Contains(t, out, file+":4: settings.log.retention.ms: ")
		require.Contains(t, out, "soon")
		require.Contains(t, out, "-1, or at least 1")
		out = run(good, []string{"FIRN_LOG_LEVEL=loud"}, command...)
		require.Contains(t, out, `FIRN_LOG_LEVEL (log.level): "loud" is not allowed; it is one of debug, info, warn, error`)
		out = run(good, nil, append(command, "--set", "num.partitions=0")...)
		require.Contains(t, out, "--set (settings.num.partitions)")
		require.Contains(t, out, "at least 1")
	}
	require.Contains(t, run("broker:\n  id: 2\n", nil, "broker"), "broker.data is not set")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "meta.properties"), nil, 0o600))
	require.Contains(t, run("broker:\n  data: .\n", nil, "broker"), "log folder of Apache Kafka")
}

// TestReadmeConfiguration: the README's file is in order, and so is what import makes of Kafka's.
func TestReadmeConfiguration(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(readme), "\n## Configuration\n")
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(section)
	require.NotNil(t, m, "the README's Configuration has no file")
	dir := t.TempDir()
	file, kafkas := filepath.Join(dir, "firn.yaml"), filepath.Join(dir, "server.properties")
	require.NoError(t, os.WriteFile(file, []byte(m[1]), 0o600))
	require.NoError(t, os.WriteFile(kafkas, []byte("node.id=4\nlog.dirs=/var/lib/kafka\nnum.partitions=3\nzookeeper.connect=zk:2181\n"), 0o600))
	binary, err := harness.Binary("")
	require.NoError(t, err)
	firn := func(args ...string) (string, string, error) {
		var out, complaints bytes.Buffer
		cmd := exec.Command(binary, args...)
		cmd.Stdout, cmd.Stderr = &out, &complaints
		err := cmd.Run()
		return out.String(), complaints.String(), err
	}
	out, complaints, err := firn("config", "check", "--config", file)
	require.NoError(t, err, complaints)
	require.Contains(t, out, "is in order")
	out, _, err = firn("config", "--config", file)
	require.NoError(t, err)
	require.Regexp(t, `(?m)^ *broker\.advertise +broker-1\.example:9092 +\S+/firn\.yaml:5 +The address`, out)

	made := filepath.Join(dir, "made.yaml")
	out, report, err := firn("config", "import", kafkas, "--to", made)
	require.NoError(t, err, report)
	require.Empty(t, out, "the report is not for standard output, where the file would go")
	require.Regexp(t, `(?m)^ *node\.id +broker\.id +4`, report)
	require.Regexp(t, `(?m)^ *zookeeper\.connect +firn keeps its metadata in etcd`, report)
	_, complaints, err = firn("config", "check", "--config", made)
	require.NoError(t, err, complaints)
	_, complaints, err = firn("config", "import", kafkas, "--to", made)
	require.Error(t, err)
	require.Contains(t, complaints, "is there already")
	out, _, err = firn("config", "import", kafkas)
	require.NoError(t, err)
	text, err := os.ReadFile(made)
	require.NoError(t, err)
	require.Equal(t, string(text), out)
}
