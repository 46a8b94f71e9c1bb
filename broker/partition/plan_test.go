package partition

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
)

// I-01: records that carry no timestamp (-1) are as old as their archiving, not as old as 1970.
func TestRetentionByTimeOfRecordsWithoutTime(t *testing.T) {
	const now = 1_000_000_000_000
	segs := []ledger.Segment{{Base: 0, Next: 10, DataBytes: 100, MinTimestamp: -1, MaxTimestamp: -1, CommittedAt: now - 500}}
	to, _ := planArchive(segs, 0, 0, &hot.Config{RetentionMs: 1000, RetentionBytes: -1}, now)
	require.Zero(t, to)
	to, why := planArchive(segs, 0, 0, &hot.Config{RetentionMs: 1000, RetentionBytes: -1}, now+501)
	require.EqualValues(t, 10, to)
	require.NotEmpty(t, why)
}
