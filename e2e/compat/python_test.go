package compat

import (
	"encoding/xml"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
)

// python is an interpreter with the Python clients.
func python(t *testing.T) string {
	t.Helper()
	python3 := harness.Need(t, "python3")
	wanted := []string{
		"confluent-kafka==" + versions["confluent-kafka"],
		"aiokafka[lz4,snappy,zstd]==" + versions["aiokafka"],
		"kafka-python[crc32c,lz4,snappy,zstd,testing]==" + versions["kafka-python"],
		"py", "setuptools==80.9.0",
	}
	dir := cached(t, "python", strings.Join(wanted, " ")+runtime.GOARCH, func(dir string) {
		process{}.must(t, python3, "-m", "venv", dir)
		process{}.must(t, filepath.Join(dir, "bin", "pip"), append([]string{"install", "-q", "--only-binary", ":all:"}, wanted...)...)
	})
	return filepath.Join(dir, "bin", "python")
}

// kafkaPythonService stands for test/service.py, which the source archive lacks and fixtures.py imports: it starts
// services, and here none is to be started.
const kafkaPythonService = `class ExternalService:
    def __init__(self, host, port):
        pass

    def stop(self):
        pass

    def dump_logs(self):
        pass


class SpawnedService:
    def __init__(self, *args, **kwargs):
        raise RuntimeError("this suite runs against a broker that is there already")
`

// runKafkaPython runs the integration tests that kafka-python's source archive carries.
func runKafkaPython(t *testing.T, expected []*expectation) []result {
	interpreter := python(t)
	source := cached(t, "kafka-python-source", versions["kafka-python"]+kafkaPythonService, func(dir string) {
		p := process{dir: dir}
		p.must(t, interpreter, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "kafka-python=="+versions["kafka-python"])
		p.must(t, "tar", "xzf", "kafka_python-"+versions["kafka-python"]+".tar.gz", "--strip-components=1")
		write(t, filepath.Join(dir, "test", "__init__.py"), "")
		write(t, filepath.Join(dir, "test", "service.py"), kafkaPythonService)
	})
	b := start(t, "--broker-id 0", "num.partitions=4", "group.min.session.timeout.ms=1000")
	report := filepath.Join(t.TempDir(), "report.xml")
	args := []string{"-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "--timeout=120", "--timeout-method=thread", "--junitxml=" + report, "test/integration"}
	for _, name := range unrunNames(expected) {
		file, test, _ := strings.Cut(name, "::")
		args = append(args, "--deselect", "test/integration/"+file+".py::"+test)
	}
	out, err := process{dir: source, env: []string{"KAFKA_URI=kafka://" + b.Kafka, "KAFKA_VERSION=4.3", "KAFKA_ROOT=" + source, "PYTHONPATH=" + source, "PYTHONDONTWRITEBYTECODE=1"}}.
		run(t, interpreter, args...)
	results := junitResults(t, report)
	if len(results) == 0 {
		t.Fatalf("pytest: %v\n%s", err, tail(out))
	}
	return results
}

// junitResults reads a report as pytest and others write it.
func junitResults(t *testing.T, path string) (results []result) {
	t.Helper()
	var report struct {
		Cases []struct {
			Class   string    `xml:"classname,attr"`
			Name    string    `xml:"name,attr"`
			Failure *junitEnd `xml:"failure"`
			Error   *junitEnd `xml:"error"`
			Skipped *junitEnd `xml:"skipped"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal([]byte(read(t, path)), &report); err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Cases {
		parts := strings.Split(c.Class, ".")
		r := result{name: parts[len(parts)-1] + "::" + c.Name, outcome: passes}
		switch {
		case c.Failure != nil:
			r.outcome, r.output = fails, tail(c.Failure.Text)
		case c.Error != nil:
			r.outcome, r.output = fails, tail(c.Error.Text)
		case c.Skipped != nil:
			r.outcome, r.output = skips, c.Skipped.Message
		}
		results = append(results, r)
	}
	return results
}

type junitEnd struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// runProgram runs a program of ours, which prints "ok NAME" or "not ok NAME: why" for each thing it tried.
func runProgram(t *testing.T, p process, name string, args ...string) (results []result) {
	t.Helper()
	out, err := p.run(t, name, args...)
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "ok "); ok {
			results = append(results, result{name: name, outcome: passes})
		} else if rest, ok := strings.CutPrefix(line, "not ok "); ok {
			name, why, _ := strings.Cut(rest, ": ")
			results = append(results, result{name: name, outcome: fails, output: why})
		}
	}
	if err != nil && len(results) == 0 || len(results) == 0 || !strings.Contains(out, "\nall tried") {
		t.Errorf("%s %v did not come to its end: %v\n%s", name, args, err, tail(out))
	}
	return results
}

func runConfluentKafka(t *testing.T, _ []*expectation) []result {
	interpreter := python(t)
	b := start(t)
	return runProgram(t, process{}, interpreter, "confluent-kafka/checks.py", b.Kafka)
}

func runAIOKafka(t *testing.T, _ []*expectation) []result {
	interpreter := python(t)
	b := start(t)
	return runProgram(t, process{}, interpreter, "aiokafka/checks.py", b.Kafka)
}
