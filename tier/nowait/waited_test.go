package nowait

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A call that took long has those of the next second tell the scheduler.
func TestSlowCallsAreTold(t *testing.T) {
	var w watch
	const began = time.Minute
	w.took(began, began+slow)
	require.False(t, w.lately(began+slow))
	end := began + slow + 1
	w.took(began, end)
	require.True(t, w.lately(end))
	require.True(t, w.lately(end+wary-1))
	require.False(t, w.lately(end+wary))
}
