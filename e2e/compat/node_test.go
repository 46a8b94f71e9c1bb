package compat

import (
	"path/filepath"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
)

// node is the node command and a folder that holds kafkajs in its node_modules.
func node(t *testing.T) (command, dir string) {
	t.Helper()
	command = harness.Need(t, "node")
	npm := harness.Need(t, "npm")
	dir = cached(t, "node", "kafkajs@"+versions["kafkajs"], func(dir string) {
		write(t, filepath.Join(dir, "package.json"), "{\"private\": true}\n")
		process{dir: dir}.must(t, npm, "install", "--silent", "--no-audit", "--no-fund", "kafkajs@"+versions["kafkajs"])
	})
	return command, dir
}

func runKafkaJS(t *testing.T, _ []*expectation) []result {
	command, dir := node(t)
	b := start(t)
	// Node looks for packages beside the program.
	write(t, filepath.Join(dir, "checks.js"), read(t, "kafkajs/checks.js"))
	return runProgram(t, process{dir: dir, env: []string{"KAFKAJS_NO_PARTITIONER_WARNING=1"}}, command, "checks.js", b.Kafka)
}
