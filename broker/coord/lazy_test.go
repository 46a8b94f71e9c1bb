package coord

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/metadata/metatest"
)

// TestShardsStartWhenNeeded: a partition without records has no shard until a request comes; one with records has it
// from the start, so that its offsets expire and those of deleted topics go. The list of groups is whole either way.
func TestShardsStartWhenNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := group.DefaultOptions()
		o.NewMemberSuffix = func() string { return "m" }
		logs := map[int32]*memLog{}
		var mu sync.Mutex
		opened := map[int32]bool{}
		for i := range int32(50) {
			logs[i] = &memLog{max: 1 << 20, auto: true}
		}
		options := GroupsOptions{
			BrokerID: 1, Cluster: metatest.NewMemory(), Group: o,
			Open: func(i int32) (Log, error) {
				mu.Lock()
				defer mu.Unlock()
				opened[i] = true
				return logs[i], nil
			},
			Empty: func(i int32) bool { return logs[i].End() == 0 },
		}
		g := NewGroups(options)
		_, err := g.Find(t.Context(), "a")
		require.NoError(t, err)
		synctest.Wait()
		require.Empty(t, opened)
		require.Empty(t, listed(g))
		require.Empty(t, opened, "to list groups starts nothing")

		for i := range 3 {
			done := make(chan kmsg.Response, 1)
			id := fmt.Sprint("g", i)
			g.Submit(id, commitRequest(id, 7), group.Client{}, func(r kmsg.Response) { done <- r })
			require.Zero(t, codeOfCommit(<-done))
		}
		require.LessOrEqual(t, len(opened), 3)
		require.Equal(t, 3, listed(g))
		used := len(opened)
		g.Close()

		clear(opened)
		g = NewGroups(options) // the next life of the broker
		synctest.Wait()
		require.Len(t, opened, used)
		require.Equal(t, 3, listed(g))
		g.Close()
	})
}

func listed(g *Groups) int {
	done := make(chan int, 1)
	g.List(kmsg.NewPtrListGroupsRequest(), func(r *kmsg.ListGroupsResponse) { done <- len(r.Groups) })
	return <-done
}
