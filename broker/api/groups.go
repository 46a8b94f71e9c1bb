package api

import (
	"context"
	"net"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// Groups is the group coordinator. *coord.Groups implements it.
type Groups interface {
	// Find tells which broker coordinates a group.
	Find(ctx context.Context, groupID string) (broker int32, err error)
	// Submit hands a request to the group's shard without blocking; reply is called exactly once.
	Submit(groupID string, body kmsg.Request, client group.Client, reply func(kmsg.Response))
	// List asks all shards of this broker.
	List(req *kmsg.ListGroupsRequest, reply func(*kmsg.ListGroupsResponse))
}

// toGroup serves a request that one group answers as it is.
func toGroup[R kmsg.Request](groupID func(R) string) func(*API, context.Context, *wire.Request, *wire.Reply) {
	return func(a *API, _ context.Context, req *wire.Request, reply *wire.Reply) {
		m, err := req.Decode()
		if err != nil {
			reply.Close(err)
			return
		}
		a.Groups.Submit(groupID(m.(R)), m, clientOf(req), reply.Message)
	}
}

// clientOf is the client as Kafka's group descriptions show it.
func clientOf(req *wire.Request) group.Client {
	host := ""
	if req.RemoteAddr != nil {
		host = req.RemoteAddr.String()
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	return group.Client{ID: req.ClientID, Host: "/" + host}
}

// gather asks each of n groups apart and calls done once all have answered.
func gather(n int, ask func(i int, got func(kmsg.Response)), done func()) {
	if n == 0 {
		done()
		return
	}
	var mu sync.Mutex
	left := n
	for i := range n {
		ask(i, func(kmsg.Response) {
			mu.Lock()
			left--
			last := left == 0
			mu.Unlock()
			if last {
				done()
			}
		})
	}
}

// distinct leaves out what came before.
func distinct[T comparable](all []T) []T {
	if len(all) < 2 {
		return all
	}
	seen := make(map[T]bool, len(all))
	return slices.DeleteFunc(all, func(one T) bool {
		again := seen[one]
		seen[one] = true
		return again
	})
}

// merged makes one entry of those of a request or an answer that are about the same topic, in the place of the first.
func merged[T any, K comparable](topics []T, key func(*T) K, add func(to, from *T)) []T {
	at := make(map[K]int, len(topics))
	out := topics[:0]
	for i := range topics {
		k := key(&topics[i])
		if n, ok := at[k]; ok {
			add(&out[n], &topics[i])
			continue
		}
		at[k] = len(out)
		out = append(out, topics[i])
	}
	return out
}

// named fills in the half of a topic's name and id that the client did not send. byID says which it sent.
func named(img *metadata.Image, name *string, id *[16]byte, byID bool) error {
	if byID {
		t := img.TopicByID(topic.ID(*id))
		if t == nil {
			return kerr.UnknownTopicID
		}
		*name = t.Name
		return nil
	}
	*id = [16]byte{}
	t := img.TopicByName(*name)
	if t == nil {
		return kerr.UnknownTopicOrPartition
	}
	*id = t.ID
	return nil
}
