package faults

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
)

// TestStartWhileStoreHangs: a store that accepts connections and answers nothing does not keep a broker with data from
// serving what is hot, and whoever watches the start is answered.
func TestStartWhileStoreHangs(t *testing.T) {
	m, bucket := ownMinIO(t)
	b := harness.Start(t, harness.Options{Store: m.URL("minio", bucket, "")})
	b.MustRun("hot\n", "produce", "lines")
	b.Stop()
	require.NoError(t, m.Pause())
	b.Launch()
	harness.Eventually(t, 10*time.Second, "the HTTP side does not answer while the broker starts", func() bool {
		status, _, err := b.Get("/healthz")
		return err == nil && status == http.StatusOK
	})
	require.NoError(t, b.AwaitReady(15*time.Second))
	require.Equal(t, "hot\n", b.MustRun("", "consume", "lines", "--from", "earliest", "--to", "latest"))
	require.Contains(t, b.Log(), "does not answer")
	require.NoError(t, m.Resume())
}
