package hot

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// How long producers are remembered may change while the directory is open (producer.id.expiration.ms).
func TestSetProducerExpiry(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, nil)
	appendTo(t, l, producerBatch(7, 0, 1, d.clock.ms))
	later := func() {
		d.clock.ms += expireEvery
		d.housekeep()
	}
	later()
	require.Len(t, producersOf(l), 1, "a day is not over")
	d.SetProducerExpiry(2*expireEvery*time.Millisecond + time.Second)
	later()
	require.Len(t, producersOf(l), 1)
	d.SetProducerExpiry(time.Minute)
	later()
	require.Empty(t, producersOf(l))
	require.NoError(t, d.Close())
}
