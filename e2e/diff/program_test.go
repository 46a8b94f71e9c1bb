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
	about string // what tells the request from others of its call in differences.txt: one of about…
}

// What a step's request may be about.
const (
	aboutCreation = "creates" // Metadata that may make topics
	aboutUnknown  = "unknown" // its broker configs are not known
	aboutThreads  = "threads" // its broker configs are numbers of threads
	aboutTwice    = "twice"   // JoinGroup that names a protocol twice; it ends the program
	aboutNaN      = "nan"     // no number where a number is wanted
)

// creates tells whether a request for metadata may make topics.
func creates(req *kmsg.MetadataRequest) string {
	if req.Version < 4 || req.AllowAutoTopicCreation {
		return aboutCreation
	}
	return ""
}

// program is what one seed makes.
type program struct {
	seed  uint64
	own   string // the shared config that it changes, if it does
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
	case *kmsg.MetadataRequest:
		return s.about == ""
	case *kmsg.ApiVersionsRequest, *kmsg.DescribeTopicPartitionsRequest, *kmsg.DescribeConfigsRequest, *kmsg.ListOffsetsRequest,
		*kmsg.OffsetForLeaderEpochRequest, *kmsg.DescribeLogDirsRequest, *kmsg.DescribeProducersRequest,
		*kmsg.ListConfigResourcesRequest, *kmsg.DescribeClusterRequest, *kmsg.FindCoordinatorRequest,
		*kmsg.ListPartitionReassignmentsRequest, *kmsg.OffsetFetchRequest, *kmsg.DescribeGroupsRequest, *kmsg.ListGroupsRequest:
		return true
	}
	return false
}

// call is the name and version of the step's request, as entries of differences.txt begin.
func (s step) call() string {
	if s.req == nil {
		return "collect"
	}
	call := fmt.Sprintf("%s.v%d", kmsg.NameForKey(s.req.Key()), s.req.GetVersion())
	if s.about != "" {
		call += ":" + s.about
	}
	return call
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
