package diff

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/javatools"
)

// rebalanceDelay is group.initial.rebalance.delay.ms of both brokers: long enough for the members of a round, short
// enough for thousands of them.
const rebalanceDelay = 500

// footing are broker configs that both brokers are given: firn's defaults differ from Kafka's on purpose, and a lone Kafka
// cannot have its own.
var footing = []string{
	"log.retention.ms=-1",
	"log.flush.interval.messages=1",
	"log.local.retention.ms=-2",
	"offsets.topic.num.partitions=4", "offsets.topic.replication.factor=1",
	"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
	"share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1",
	fmt.Sprintf("group.initial.rebalance.delay.ms=%d", rebalanceDelay),
}

// brokers are the two that are compared.
type brokers struct {
	kafka, firn string
	versions    versionOf
	listed      *listed
	logDirs     map[string]string // by address
	shared      map[string]*sync.Mutex
}

// startBrokers starts one Kafka and one firn, and waits until both have what their first use makes.
func startBrokers(t *testing.T) *brokers {
	l, err := parseListed(differencesFile)
	if err != nil {
		t.Fatalf("differences.txt: %v", err)
	}
	b := &brokers{kafka: startKafka(t), listed: l, logDirs: map[string]string{}, shared: map[string]*sync.Mutex{}}
	for _, name := range sharedNames {
		b.shared[name] = new(sync.Mutex)
	}
	o := harness.Options{}
	for _, c := range footing {
		o.Args = append(o.Args, "--set", c)
	}
	b.firn = harness.Start(t, o).Kafka
	k, err := versionsOf(b.kafka)
	if err != nil {
		t.Fatal(err)
	}
	f, err := versionsOf(b.firn)
	if err != nil {
		t.Fatal(err)
	}
	b.versions = common(k, f)
	for _, addr := range []string{b.kafka, b.firn} {
		warm(t, addr)
		b.logDirs[addr] = logDirOf(t, addr)
	}
	return b
}

// startKafka starts Apache Kafka as one process that is broker and controller.
func startKafka(t *testing.T) string {
	t.Helper()
	libs := javatools.Libs(t)
	addr, controller, dir := harness.FreeAddr(t), harness.FreeAddr(t), t.TempDir()
	config := filepath.Join(dir, "server.properties")
	lines := append([]string{
		"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller,
		"listeners=PLAINTEXT://" + addr + ",CONTROLLER://" + controller, "controller.listener.names=CONTROLLER",
		"log.dirs=" + filepath.Join(dir, "log"),
	}, footing...)
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	javatools.MustTool(t, "", "kafka.tools.StorageTool", "format", "-t", "bm90LWEtcmVhbC1pZC0xMg", "-c", config,
		"--feature", "eligible.leader.replicas.version=0") // else it gives min.insync.replicas a value of its own
	var log bytes.Buffer
	cmd := exec.Command("java", "-Xmx512m", "-cp", filepath.Join(libs, "*"), "kafka.Kafka", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if t.Failed() {
			s := log.String()
			t.Logf("the end of Kafka's log:\n%s", s[max(0, len(s)-4000):])
		}
	})
	harness.Eventually(t, 2*time.Minute, "Kafka does not answer", func() bool {
		_, err := versionsOf(addr)
		return err == nil
	})
	return addr
}

// warm makes a broker's internal topics, and waits until a group and a producer are served.
func warm(t *testing.T, addr string) {
	t.Helper()
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey = "warm"
	find.SetVersion(2)
	for g := range 16 { // some for each partition of the offsets
		fetch := kmsg.NewPtrOffsetFetchRequest()
		fetch.Group = fmt.Sprintf("warm %d", g)
		fetch.SetVersion(5)
		harness.Eventually(t, time.Minute, addr+" has no group coordinator", func() bool {
			found, err := c.ask(find, patience)
			if err != nil || found.(*kmsg.FindCoordinatorResponse).ErrorCode != 0 {
				return false
			}
			resp, err := c.ask(fetch, patience)
			return err == nil && resp.(*kmsg.OffsetFetchResponse).ErrorCode == 0
		})
	}
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionTimeoutMillis, init.ProducerID, init.ProducerEpoch = 60_000, -1, -1
	init.SetVersion(4)
	harness.Eventually(t, time.Minute, addr+" hands out no producer ids", func() bool {
		resp, err := c.ask(init, patience)
		return err == nil && resp.(*kmsg.InitProducerIDResponse).ErrorCode == 0
	})
}

// logDirOf asks a broker where it keeps its logs: that is the first of its directories; firn lists its archive after it.
func logDirOf(t *testing.T, addr string) string {
	t.Helper()
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.SetVersion(4)
	resp, err := c.ask(req, patience)
	if err != nil || len(resp.(*kmsg.DescribeLogDirsResponse).Dirs) == 0 {
		t.Fatalf("%s does not tell where its logs are: %v", addr, err)
	}
	return resp.(*kmsg.DescribeLogDirsResponse).Dirs[0].Dir
}
