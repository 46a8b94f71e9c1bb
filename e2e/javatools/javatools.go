// Package javatools runs Apache Kafka's own command-line tools, its client library, Connect, Streams and Spring from
// the jars on Maven Central: no distribution archive is needed.
package javatools

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
)

// Version of Apache Kafka whose jars are used.
const Version = "4.3.1"

// Bundle is a folder of jars: artifacts of Maven Central ("group:artifact:version" or, of a test jar,
// "group:artifact:version:test"; the version may be left out where the bill of materials says it) with all that they need.
type Bundle struct {
	Name, BOM string
	Artifacts []string
}

// The bundles that tests use.
var (
	// Kafka has the tools, the broker, the clients and Connect's runtime. Tests of single packages look for this folder.
	Kafka = Bundle{Name: "kafka-" + Version, Artifacts: []string{
		"org.apache.kafka:kafka_2.13:" + Version, "org.apache.kafka:kafka-tools:" + Version, "org.apache.kafka:kafka-clients:" + Version,
	}}
	// ConnectFile has Connect's file source and sink, which stand on the plugin path of a worker.
	ConnectFile = Bundle{Name: "connect-file-" + Version, Artifacts: []string{"org.apache.kafka:connect-file:" + Version}}
	// Tiered has LocalTieredStorage, a remote storage manager for Kafka's tiered storage that keeps segments in local files.
	// It is among Kafka's tests; there is no other in its jars.
	Tiered = Bundle{Name: "kafka-tiered-" + Version, Artifacts: []string{"org.apache.kafka:kafka-storage:" + Version + ":test"}}
	// Streams has Kafka Streams with RocksDB.
	Streams = Bundle{Name: "streams-" + Version, Artifacts: []string{"org.apache.kafka:kafka-streams:" + Version}}
	// Spring has Spring for Apache Kafka in a Spring Boot application, with the older client that it brings.
	Spring = Bundle{Name: "spring-boot-" + springBoot, BOM: "org.springframework.boot:spring-boot-dependencies:" + springBoot, Artifacts: []string{
		"org.springframework.boot:spring-boot-starter", "org.springframework.kafka:spring-kafka",
	}}
)

const springBoot = "3.5.16"

// Libs returns the folder that holds Kafka's jars; see Bundle.Fetch.
func Libs(t testing.TB) string {
	t.Helper()
	return Kafka.Fetch(t)
}

// Fetch returns the folder that holds the bundle's jars, see Get. Without Java or Maven the test is skipped with a
// sentence.
func (b Bundle) Fetch(t testing.TB) string {
	t.Helper()
	dir, err := b.Get()
	if errors.Is(err, exec.ErrNotFound) {
		harness.Missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Get returns the folder that holds the bundle's jars, fetching them once per machine. The error wraps exec.ErrNotFound
// where Java or Maven is missing.
func (b Bundle) Get() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("java is not installed on this machine: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "firn-test", b.Name)
	complete := filepath.Join(dir, ".complete")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	// Several processes may want the jars at once; one fetches, the others wait.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("wait for who fetches %s: %w", b.Name, err)
	}
	if _, err := os.Stat(complete); err == nil {
		return dir, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("mvn is not installed on this machine: %w", err)
	}
	pom := filepath.Join(dir, "pom.xml")
	if err := os.WriteFile(pom, []byte(b.pom()), 0o644); err != nil {
		return "", err
	}
	out, err := exec.Command(mvn, "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory="+dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("fetch the jars of %s: %w\n%s", b.Name, err, out)
	}
	return dir, os.WriteFile(complete, nil, 0o644)
}

// pom is the smallest project file from which Maven resolves the bundle.
func (b Bundle) pom() string {
	var s strings.Builder
	s.WriteString("<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n")
	s.WriteString("<groupId>firn</groupId><artifactId>jars</artifactId><version>1</version>\n")
	if b.BOM != "" {
		fmt.Fprintf(&s, "<dependencyManagement><dependencies>%s</dependencies></dependencyManagement>\n", dependency(b.BOM, "<type>pom</type><scope>import</scope>"))
	}
	s.WriteString("<dependencies>\n")
	for _, a := range b.Artifacts {
		s.WriteString(dependency(a, "") + "\n")
	}
	s.WriteString("</dependencies></project>\n")
	return s.String()
}

func dependency(coordinates, more string) string {
	parts := append(strings.Split(coordinates, ":"), "", "")
	if parts[2] != "" {
		more = "<version>" + parts[2] + "</version>" + more
	}
	if parts[3] != "" {
		more += "<classifier>" + parts[3] + "</classifier>"
	}
	return fmt.Sprintf("<dependency><groupId>%s</groupId><artifactId>%s</artifactId>%s</dependency>", parts[0], parts[1], more)
}

// ClassPath names all jars of the folders, the first folder's before the next one's.
func ClassPath(folders ...string) string {
	all := make([]string, len(folders))
	for i, f := range folders {
		all[i] = f
		if jars, _ := filepath.Glob(filepath.Join(f, "*.jar")); len(jars) > 0 {
			all[i] = filepath.Join(f, "*")
		}
	}
	return strings.Join(all, string(filepath.ListSeparator))
}
