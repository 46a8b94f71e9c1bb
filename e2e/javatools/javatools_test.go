package javatools

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLibs fetches Kafka's jars where they are not there yet. CI runs it first: tests of single packages use the jars, but
// do not fetch them.
func TestLibs(t *testing.T) {
	jars, err := filepath.Glob(filepath.Join(Libs(t), "kafka-*-"+Version+".jar"))
	require.NoError(t, err)
	require.Greater(t, len(jars), 5)
}
