package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// tail is the end of what a program printed, for a failure's message.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

// start starts a broker for a suite, with flags ("--broker-id 0") and settings ("num.partitions=3"). As in the
// configuration that Kafka ships, the first rebalance of a group does not wait.
func start(t *testing.T, settings ...string) *harness.Broker {
	t.Helper()
	return startAt(t, harness.FreeAddr(t), settings)
}

// startAtDefaultPort starts a broker at localhost:9092, the only address that some suites know. Tests that use it do not
// run side by side.
func startAtDefaultPort(t *testing.T, settings ...string) {
	t.Helper()
	const addr = "localhost:9092"
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("this suite knows no other address than %s, and that is taken: %v", addr, err)
	}
	_ = l.Close()
	startAt(t, addr, settings)
}

func startAt(t *testing.T, addr string, settings []string) *harness.Broker {
	t.Helper()
	var args []string
	for _, s := range append(settings, "group.initial.rebalance.delay.ms=0") {
		if strings.HasPrefix(s, "--") {
			args = append(args, strings.SplitN(s, " ", 2)...)
		} else {
			args = append(args, "--set", s)
		}
	}
	b := harness.New(t, harness.Options{Args: args})
	b.Kafka = addr
	b.Launch()
	b.WaitReady()
	return b
}

// startToxiproxy starts the proxy that Sarama's tests know five brokers behind, all five the one at kafka.
func startToxiproxy(t *testing.T, binary, kafka string) (api string) {
	t.Helper()
	api = harness.FreeAddr(t)
	host, port, _ := net.SplitHostPort(api)
	cmd := exec.Command(binary, "-host", host, "-port", port)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only when it has ended already
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of toxiproxy:\n%s", tail(log.String()))
		}
	})
	harness.Eventually(t, 20*time.Second, "toxiproxy does not answer", func() bool {
		res, err := http.Get("http://" + api + "/version")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
	for i := 1; i <= 5; i++ {
		body, err := json.Marshal(map[string]any{
			"name": fmt.Sprintf("kafka%d", i), "listen": fmt.Sprintf("127.0.0.1:%d", 29090+i), "upstream": kafka, "enabled": true,
		})
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.Post("http://"+api+"/proxies", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("toxiproxy does not listen on port %d: %s", 29090+i, res.Status)
		}
	}
	return api
}
