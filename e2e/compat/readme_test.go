package compat

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/javatools"
)

const readmeAddress = "127.0.0.1:9092"

// snippet is a fenced block of the README's "Connect".
type snippet struct {
	language string
	needs    string // its first line, without the comment sign
	code     string
	greeting string // what it prints when all is well
}

var (
	fence    = regexp.MustCompile("(?ms)^```(\\w+)\n(?:// |# )([^\n]*)\n(.*?)^```$")
	greeting = regexp.MustCompile(`hello from ([\w-]+)`)
)

// connectSnippets are the README's programs: the blocks of "Connect" that say in their first line what they need.
func connectSnippets(t *testing.T) (list []snippet) {
	t.Helper()
	_, section, found := strings.Cut(read(t, "../../README.md"), "\n## Connect\n")
	if !found {
		t.Fatal(`the README has no section "Connect"`)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range fence.FindAllStringSubmatch(section, -1) {
		if hello := greeting.FindString(m[3]); hello != "" {
			list = append(list, snippet{language: m[1], needs: m[2], code: m[3], greeting: "alice: " + hello})
		}
	}
	return list
}

// TestReadmeSnippets runs each program as it stands in the README, but for the broker's address.
func TestReadmeSnippets(t *testing.T) {
	run := map[string]func(*testing.T, snippet) string{
		"sh": runShell, "java": runJava, "python": runPythonSnippet, "js": runNode, "go": runGo, "rust": runRust,
	}
	list := connectSnippets(t)
	if len(list) != 9 {
		t.Errorf("%d programs, where the README has kcat, Java, Spring, Python twice, Node, Go twice and Rust", len(list))
	}
	for _, s := range list {
		t.Run(strings.TrimPrefix(s.greeting, "alice: hello from "), func(t *testing.T) {
			b := harness.Start(t, harness.Options{})
			s.code = strings.ReplaceAll(s.code, readmeAddress, b.Kafka)
			if out := run[s.language](t, s); !strings.Contains(out, s.greeting+"\n") {
				t.Errorf("it did not print %q but\n%s", s.greeting, tail(out))
			}
		})
	}
}

// TestReadmeVersions: the README names the versions that the suites run.
func TestReadmeVersions(t *testing.T) {
	for _, s := range connectSnippets(t) {
		known := 0
		for name, version := range versions {
			named := regexp.MustCompile(regexp.QuoteMeta(name) + `(?:@|==|:| )([v\d.]+)`).FindStringSubmatch(s.needs)
			if named == nil {
				continue
			}
			known++
			if named[1] != version {
				t.Errorf("the README has %s, the suites %s", named[0], version)
			}
		}
		if known == 0 && s.language != "sh" { // the shell's kcat is the distribution's
			t.Errorf("%q names no version that the suites have", s.needs)
		}
	}
}

// snippetLimit is long: what compiles may have a machine of two busy cores.
const snippetLimit = 2 * time.Minute

func runShell(t *testing.T, s snippet) string {
	harness.Need(t, "kcat")
	return process{limit: snippetLimit}.must(t, "bash", "-e", "-c", s.code)
}

func runJava(t *testing.T, s snippet) string {
	harness.Need(t, "javac")
	bundle := javatools.Bundle{Name: "hello-java-" + versions["kafka-clients"], Artifacts: strings.Fields(s.needs)}
	if boot, artifacts, ok := strings.Cut(s.needs, " with "); ok {
		version := strings.TrimPrefix(boot, "Spring Boot ")
		bundle = javatools.Bundle{Name: "hello-spring-" + version, BOM: "org.springframework.boot:spring-boot-dependencies:" + version, Artifacts: strings.Fields(artifacts)}
	}
	jars := bundle.Fetch(t)
	source := filepath.Join(t.TempDir(), "Hello.java")
	write(t, source, s.code)
	class := "Hello"
	if strings.HasPrefix(s.code, "package hello;") {
		class = "hello.Hello"
	}
	classPath := javatools.ClassPath(javatools.Compile(t, javatools.ClassPath(jars), source), jars)
	if class == "Hello" {
		return process{limit: snippetLimit}.must(t, "java", "-Xmx256m", "-cp", classPath, class)
	}
	return runUntilGreeting(t, s, "java", "-Xmx256m", "-cp", classPath, class)
}

// runUntilGreeting is for a program that goes on until it is stopped.
func runUntilGreeting(t *testing.T, s snippet, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), snippetLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(out.String(), s.greeting+"\n") {
		n, err := stdout.Read(buffer)
		out.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	cancel()
	_ = cmd.Wait() // it was told to end
	return out.String()
}

func runPythonSnippet(t *testing.T, s snippet) string {
	file := filepath.Join(t.TempDir(), "hello.py")
	write(t, file, s.code)
	return process{limit: snippetLimit}.must(t, python(t), file)
}

func runNode(t *testing.T, s snippet) string {
	command, dir := node(t)
	write(t, filepath.Join(dir, "hello.js"), s.code)
	return process{dir: dir, limit: snippetLimit}.must(t, command, "hello.js")
}

func runGo(t *testing.T, s snippet) string {
	dir := t.TempDir()
	p := process{dir: dir, env: []string{"GOWORK=off", "GOFLAGS=-mod=mod -buildvcs=false"}}
	write(t, filepath.Join(dir, "go.mod"), "module hello\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "hello.go"), s.code)
	p.must(t, "bash", "-e", "-c", s.needs)
	p.must(t, "go", "build", "-o", "hello", ".")
	p.limit = snippetLimit
	return p.must(t, "./hello")
}

// runRust keeps what cargo builds: librdkafka takes minutes.
func runRust(t *testing.T, s snippet) string {
	cargo := needRust(t)
	dir := cached(t, "hello-rust", s.needs, func(dir string) {
		p := process{dir: dir}
		p.must(t, cargo, "init", "-q", "--name", "hello")
		p.must(t, "bash", "-e", "-c", s.needs)
		p.must(t, cargo, "build", "-q")
	})
	write(t, filepath.Join(dir, "src", "main.rs"), s.code)
	process{dir: dir}.must(t, cargo, "build", "-q")
	return process{dir: dir, limit: snippetLimit}.must(t, filepath.Join(dir, "target", "debug", "hello"))
}
