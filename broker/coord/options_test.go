package coord

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/tier/record"
)

// New settings reach a shard that runs, its timers too, and one that is started later.
func TestSetOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{max: 1 << 20, auto: true}
		r := newRuntime(log, nil)
		defer r.Close()
		require.Zero(t, codeOfCommit(<-ask(t, r, commitRequest("g", 7))))
		time.Sleep(time.Minute)
		require.Equal(t, int64(7), fetchOffset(t, r, "g"), "the default is a week")
		o := group.DefaultOptions()
		o.Retention, o.RetentionCheckInterval = 1000, 50
		r.SetOptions(o)
		time.Sleep(time.Second)
		require.Equal(t, int64(-1), fetchOffset(t, r, "g"), "neither the retention nor the next look waits for the old interval")

		require.Zero(t, codeOfCommit(<-ask(t, r, commitRequest("g", 8))))
		r.Resign(0)
		require.Equal(t, int64(8), fetchOffset(t, r, "g"))
		time.Sleep(2 * time.Second)
		require.Equal(t, int64(-1), fetchOffset(t, r, "g"))
	})
}

// offsets.topic.compression.codec
func TestCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{max: 1 << 20, auto: true}
		r := newRuntime(log, nil)
		r.o.Codec = record.Snappy
		defer r.Close()
		require.Zero(t, codeOfCommit(<-ask(t, r, commitRequest("g", 7))))
		h, err := record.ParseHeader(log.batches[0])
		require.NoError(t, err)
		require.Equal(t, record.Snappy, h.Codec())
		require.Equal(t, int64(7), fetchOffset(t, r, "g"))
		r.Resign(0)
		require.Equal(t, int64(7), fetchOffset(t, r, "g"), "what is compressed is read again")
	})
}
