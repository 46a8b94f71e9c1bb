package etcd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// I-05, I-35: etcd was set back to before ids were taken. An id handed out a second time would make a new producer's first
// batch look like an old one's retry: acknowledged, and dropped.
func TestProducerIDsAfterEtcdWasSetBack(t *testing.T) {
	srv := embedded(t, "")
	st := store(t, srv.Client(), "")
	first, err := st.NextProducerIDs(t.Context(), 1)
	require.NoError(t, err)
	_, err = srv.Client().c.Delete(t.Context(), st.keys.pids())
	require.NoError(t, err)
	again := store(t, srv.Client(), "")
	again.now = func() time.Time { return time.Now().Add(time.Millisecond) } // nobody sets an etcd back in less
	next, err := again.NextProducerIDs(t.Context(), 1)
	require.NoError(t, err)
	require.Greater(t, next, first)
}
