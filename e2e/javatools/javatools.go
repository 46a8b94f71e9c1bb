// Package javatools runs Apache Kafka's own command-line tools and small Java programs against its client
// library, from the jars on Maven Central: no distribution archive is needed.
package javatools

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
)

// Version of Apache Kafka whose jars are used.
const Version = "4.3.1"

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>firn</groupId><artifactId>kafka-tools</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + Version + `</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>` + Version + `</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>` + Version + `</version></dependency>
</dependencies></project>
`

// Libs returns the folder that holds Kafka's jars, fetching them once per machine. Without Java or Maven the
// test is skipped with a sentence.
func Libs(t testing.TB) string {
	t.Helper()
	harness.Need(t, "java")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "firn-test", "kafka-"+Version)
	complete := filepath.Join(dir, ".complete")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	// Several test processes may want the jars at once; one fetches, the others wait.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(complete); err == nil {
		return dir
	}
	mvn := harness.Need(t, "mvn")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pomFile := filepath.Join(dir, "pom.xml")
	if err := os.WriteFile(pomFile, []byte(pom), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(mvn, "-q", "-B", "-f", pomFile, "dependency:copy-dependencies", "-DoutputDirectory="+dir).CombinedOutput()
	if err != nil {
		t.Fatalf("fetch Kafka's jars: %v\n%s", err, out)
	}
	if err := os.WriteFile(complete, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Tool runs a main class and returns what it printed to standard output; an exit code other than 0 is an error
// that carries standard error too.
func Tool(t testing.TB, stdin, class string, args ...string) (string, error) {
	t.Helper()
	return run(t, stdin, append([]string{"-Xmx512m", "-cp", filepath.Join(Libs(t), "*"), class}, args...))
}

// MustTool is Tool that fails the test on an error.
func MustTool(t testing.TB, stdin, class string, args ...string) string {
	t.Helper()
	out, err := Tool(t, stdin, class, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Source runs a single-file Java program with Kafka's client on its class path.
func Source(t testing.TB, file string, args ...string) (string, error) {
	t.Helper()
	return run(t, "", append([]string{"-Xmx1g", "-cp", filepath.Join(Libs(t), "*"), file}, args...))
}

func run(t testing.TB, stdin string, args []string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "java", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("java %s: %w\n%s\n%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}
