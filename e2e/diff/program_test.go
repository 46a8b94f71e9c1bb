package diff

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// step is one request of a program, with its version set and placeholders in it. Without a request it waits until
// every answer that is still out has come.
type step struct {
	actor int // whose connection
	req   kmsg.Request
}

// program is what one seed makes.
type program struct {
	seed  uint64
	steps []step
}

// parks tells whether the answer to a request may wait for what others do.
func (s step) parks() bool {
	switch s.req.(type) {
	case *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest:
		return true
	}
	return false
}

// reads tells whether a request may be sent again without changing more.
func (s step) reads() bool {
	switch s.req.(type) {
	case *kmsg.MetadataRequest, // also when it makes topics, of which Kafka's first answer does not tell
		*kmsg.ApiVersionsRequest, *kmsg.DescribeTopicPartitionsRequest, *kmsg.DescribeConfigsRequest, *kmsg.ListOffsetsRequest,
		*kmsg.OffsetForLeaderEpochRequest, *kmsg.DescribeLogDirsRequest, *kmsg.DescribeProducersRequest,
		*kmsg.ListConfigResourcesRequest, *kmsg.DescribeClusterRequest, *kmsg.FindCoordinatorRequest,
		*kmsg.OffsetFetchRequest, *kmsg.DescribeGroupsRequest, *kmsg.ListGroupsRequest:
		return true
	}
	return false
}

// call is the name and version of the step's request, as entries of differences.txt begin.
func (s step) call() string {
	if s.req == nil {
		return "collect"
	}
	return fmt.Sprintf("%s.v%d", kmsg.NameForKey(s.req.Key()), s.req.GetVersion())
}

func (s step) String() string {
	if s.req == nil {
		return "collect"
	}
	return fmt.Sprintf("actor %d: %s %s", s.actor, s.call(), show(treeOf(s.req)))
}

func (p program) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "program of seed %d:\n", p.seed)
	for i, s := range p.steps {
		fmt.Fprintf(&b, "  %2d  %s\n", i, s)
	}
	return b.String()
}
