// Package kafkajars finds the jars of Apache Kafka for tests that hold the log against Kafka's own code.
package kafkajars

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Dir returns the folder with Kafka's jars, that of module (such as "kafka-tools") among them: KAFKA_LIBS, or where the
// end-to-end tests have put them. The test is skipped where there is none, or no java.
func Dir(t *testing.T, module string) string {
	t.Helper()
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("there is no java here to run Kafka's code with")
	}
	dirs := []string{os.Getenv("KAFKA_LIBS")}
	if cache, err := os.UserCacheDir(); err == nil {
		found, _ := filepath.Glob(filepath.Join(cache, "firn-test", "kafka-*"))
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		if jars, _ := filepath.Glob(filepath.Join(dir, module+"-*.jar")); dir != "" && len(jars) > 0 {
			return dir
		}
	}
	t.Skip("KAFKA_LIBS names no folder with Apache Kafka's jars, and the end-to-end tests have not fetched them")
	return ""
}
