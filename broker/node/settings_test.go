package node

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSettings(t *testing.T) {
	s, err := parseSettings(nil)
	require.NoError(t, err)
	require.True(t, s.autoCreate)
	require.Equal(t, int32(1), s.numPartitions)
	require.InDelta(t, 0.7, s.diskTarget, 1e-9)

	s, err = parseSettings(map[string]string{
		"auto.create.topics.enable": "FALSE", "num.partitions": "6", "firn.local.disk.target": "0.5", "firn.local.disk.reserve": "1048576",
		"log.retention.ms": "1000",
	})
	require.NoError(t, err)
	require.False(t, s.autoCreate)
	require.Equal(t, int32(6), s.numPartitions)
	require.InDelta(t, 0.5, s.diskTarget, 1e-9)
	require.Equal(t, int64(1<<20), s.diskReserve)
	require.Equal(t, map[string]string{"retention.ms": "1000"}, s.topics)
}

// TestBadSettings (I-33): a sentence names key, value and what is allowed.
func TestBadSettings(t *testing.T) {
	for key, c := range map[string][2]string{
		"num.partition":             {"1", "unknown"},
		"num.partitions":            {"0", "1 to 10000"},
		"auto.create.topics.enable": {"maybe", "true or false"},
		"firn.local.disk.target":    {"70", "share"},
		"firn.local.disk.reserve":   {"-1", "bytes"},
		"log.retention.ms":          {"soon", "at least -1"},
	} {
		_, err := parseSettings(map[string]string{key: c[0]})
		require.ErrorContains(t, err, key)
		require.ErrorContains(t, err, c[1], key)
		if c[1] != "unknown" {
			require.ErrorContains(t, err, c[0])
		}
	}
}
