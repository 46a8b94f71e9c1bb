package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/measure"
)

func TestMain(m *testing.M) { harness.Main(m) }

func start(t *testing.T, s shape) *run {
	t.Helper()
	binary, err := harness.Binary("")
	require.NoError(t, err)
	b, err := newBroker(binary, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() {
		_, _ = b.end(syscall.SIGKILL)
		if t.Failed() {
			text, _ := os.ReadFile(b.dir + "/firn.log")
			t.Logf("log of the broker:\n%s", text)
		}
	})
	return &run{shape: s, b: b}
}

// TestSmall goes through what the program measures with few partitions, and holds the broker to all but the times: a
// topic is ready when its creation is answered, costs no file and no thread until it is used, and comes back after a
// clean stop and a kill with every record; idle partitions hold no descriptor and no goroutine in the end, busy ones no
// goroutine either, deleted ones no folder.
func TestSmall(t *testing.T) {
	t.Parallel() // it waits until the files of idle partitions are closed
	r := start(t, shape{10, 50})
	require.NoError(t, r.create())
	n, err := r.b.stored()
	require.NoError(t, err)
	require.Zero(t, n, "a partition that was never written to has no folder")
	require.Zero(t, r.b.openLogs()-1, "only the lock is open")

	require.NoError(t, r.fill())
	require.NoError(t, missed(r.figures[len(r.figures)-1:]), "goroutines while all are written to")
	n, err = r.b.stored()
	require.NoError(t, err)
	require.Equal(t, r.partitions(), n)
	require.NoError(t, r.read())
	require.NoError(t, r.descriptors())
	require.NoError(t, r.goroutines())
	require.NoError(t, missed(r.figures[len(r.figures)-2:]), "descriptors and goroutines of idle partitions")

	require.NoError(t, r.restart("clean stop", syscall.SIGTERM, 0))
	require.NoError(t, r.restart("kill -9", syscall.SIGKILL, 0))
	c, err := r.b.dial()
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	ends, err := r.ends(c, 0, r.topics)
	require.NoError(t, err)
	sum := int64(0)
	for _, end := range ends {
		require.GreaterOrEqual(t, end, int64(10+2), "what was filled, and one record after each restart")
		sum += end
	}
	require.Equal(t, int64(r.partitions()*12+2), sum, "and the first of each restart, to a partition picked at random")
	require.NoError(t, r.remove())
}

// A figure that is not within its bound is told; a count may reach its bound, a time may not.
func TestMissed(t *testing.T) {
	require.NoError(t, missed([]figure{{"none", 1e9, "s", 0}, {"time", 1.9, "s", 2}, {"count", 16, "", 16}}))
	require.EqualError(t, missed([]figure{{"none", 1e9, "s", 0}, {"time", 2, "s", 2}, {"count", 17, "", 16}}),
		"time: 2 s, where 2 is the bound\ncount: 17, where 16 is the bound")
}

// TestKilledWhileCreating: a topic that was being made when the process was killed is there as a whole or not at all,
// and one whose creation was answered is there.
func TestKilledWhileCreating(t *testing.T) {
	t.Parallel()
	for range harness.Count(3, 30) {
		r := start(t, shape{40, 100})
		c, err := r.b.start()
		require.NoError(t, err)
		_, err = leaders(c)
		require.NoError(t, err)
		after := time.Duration(rand.IntN(150)) * time.Millisecond // where in the work the kill falls is chance
		process := r.b.cmd.Process                                // this one, should the timer be late
		time.AfterFunc(after, func() { _ = process.Signal(syscall.SIGKILL) })
		answered := 0
		for ; answered < r.topics; answered += perRequest {
			if err = r.createTopics(c, answered, answered+perRequest); err != nil {
				break
			}
		}
		_ = c.Close()
		_, err = r.b.end(syscall.SIGKILL)
		require.NoError(t, err)

		c, err = r.b.start()
		require.NoError(t, err)
		led, err := leaders(c)
		require.NoError(t, err)
		for i := range r.topics {
			if n := led[name(i)]; i < answered || n != 0 {
				require.Equal(t, r.each, n, "partitions of %s, of %d topics that were answered", name(i), answered)
				_, err := r.ends(c, i, i+1)
				require.NoError(t, err)
			}
		}
		require.NoError(t, func() error { // what is missing can be made
			for i := range r.topics {
				if led[name(i)] == 0 {
					if err := r.createTopics(c, i, i+1); err != nil {
						return err
					}
				}
			}
			return nil
		}())
		batch := measure.Batch(1, 100, rand.NewChaCha8([32]byte{}))
		require.NoError(t, errors.Join(produce(c, name(0), []int32{0}, batch), produce(c, name(r.topics-1), []int32{99}, batch)))
		_ = c.Close()
	}
}
