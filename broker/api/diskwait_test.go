package api

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

// While a fetch waits for the disk to find its records, the requests behind it on its connection are done, and others are
// answered. Its own answer goes out when the disk has answered, before theirs.
func TestConnectionGoesOnWhileAFetchWaitsForTheDisk(t *testing.T) {
	d := disk.NewFaulty(disk.NewCrashable(1), nil)
	e := newEnvOn(t, metatestBroker(t), d, quietLog)
	e.create("slow", 2)
	e.create("fast", 2)
	c := dialRaw(t, serve(t, e))
	for range 20 {
		c.send(produceFrame("slow", 2, 1))
		c.accepted("slow")
	}
	var waits atomic.Int32
	released := make(chan struct{})
	d.SetHook(func(call disk.Call) disk.Fault {
		if !strings.Contains(call.Name, "slow-") || filepath.Ext(call.Name) != ".log" {
			return disk.Fault{}
		}
		switch call.Op {
		case disk.OpReadNow:
			return disk.Fault{Err: disk.ErrWait}
		case disk.OpRead:
			waits.Add(1)
			<-released
		}
		return disk.Fault{}
	})
	c.send(fetchFrame("slow", 0, -1, 5, 0, 1<<20))
	c.send(produceFrame("fast", 2, 1))
	require.Eventually(t, func() bool { return waits.Load() > 0 }, 20*time.Second, time.Millisecond)
	p, err := e.parts.ByName("fast", 1)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return p.HighWatermark() == 1 }, 20*time.Second, time.Millisecond)
	other := dialRaw(t, c.c.RemoteAddr().String())
	other.send(fetchFrame("fast", 0, -1, 0, 0, 1<<20))
	require.Greater(t, len(other.answer()), 2*1000)

	close(released)
	require.Greater(t, len(c.answer()), 2*15*1000)
	c.accepted("fast")
}

// What is answered goes out before a Produce behind it on its connection waits for logs to be opened, one or several.
func TestAnswersGoOutBeforeLogsAreOpened(t *testing.T) {
	opened := make(chan struct{})
	e := newEnvWith(t, metatestBroker(t), disk.NewCrashable(1), quietLog, onOpen(func(p topic.Partition) {
		if strings.HasPrefix(p.Topic, "slow-") {
			<-opened
		}
	}))
	e.create("fast", 1, "flush.messages", pageCacheOnly)
	addr := serve(t, e)
	release := sync.OnceFunc(func() { close(opened) })
	t.Cleanup(release)
	ready := produceFrame("fast", 1, 1)
	waiting := map[string]*rawConn{}
	for _, partitions := range []int{1, 2} {
		slow := fmt.Sprintf("slow-%d", partitions)
		e.create(slow, int32(partitions))
		c := dialRaw(t, addr)
		c.send(ready)
		c.accepted("fast")
		require.NoError(t, c.c.SetReadDeadline(time.Now().Add(20*time.Second)))
		c.send(append(slices.Clone(ready), produceFrame(slow, partitions, 1)...))
		c.accepted("fast")
		waiting[slow] = c
	}
	release()
	for slow, c := range waiting {
		c.accepted(slow)
	}
}
