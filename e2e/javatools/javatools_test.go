package javatools

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLibs fetches the jars where they are not there yet. CI runs it first: tests of single packages use Kafka's jars,
// but do not fetch them.
func TestLibs(t *testing.T) {
	for _, b := range []Bundle{Kafka, ConnectFile, Tiered, Streams, Spring} {
		jars, err := filepath.Glob(filepath.Join(b.Fetch(t), "*.jar"))
		require.NoError(t, err)
		require.Greater(t, len(jars), 5, b.Name)
	}
}

// TestShell: what a tool prints and how it ends arrive, and one tool leaves nothing behind for the next.
func TestShell(t *testing.T) {
	s := NewShell(t)
	const storage = "kafka.tools.StorageTool"
	for range 2 {
		r := s.Run(t, "", storage, "random-uuid")
		require.Equal(t, 0, r.Code, r.All())
		require.Len(t, r.Out, len("J8qXRwI-Qyi2G0guFTiuYw\n"))
		r = s.Run(t, "", "org.apache.kafka.tools.TopicCommand", "--list")
		require.Equal(t, 1, r.Code)
		require.Contains(t, r.Err, "bootstrap-server")
		r = s.Run(t, "", "no.such.Tool")
		require.Equal(t, 1, r.Code)
		require.Contains(t, r.Err, "ClassNotFoundException")
	}
}
