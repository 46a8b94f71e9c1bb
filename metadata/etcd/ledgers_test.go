package etcd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/topic"
)

// Each fetch asks for the ledger of its partition, also where nothing is archived yet.
func TestMissingLedgerCostsNothing(t *testing.T) {
	var c ledgers
	c.init()
	k := lkey{id: topic.NewID(), index: 3}
	require.Equal(t, k.id, c.get(k).l.Topic)
	require.Zero(t, testing.AllocsPerRun(100, func() { c.get(k) }))
	for range 2 * maxEmpty {
		l := c.get(lkey{id: topic.NewID(), index: 1}).l
		require.EqualValues(t, 1, l.Index)
	}
	require.LessOrEqual(t, len(c.empty), maxEmpty)
	require.EqualValues(t, 3, c.get(k).l.Index)
}
