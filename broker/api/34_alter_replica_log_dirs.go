package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterReplicaLogDirs 1-2. A broker has one log directory: a move to it is done already, and any other does not exist. The
// archive counts as the log directory: tools send back what DescribeLogDirs listed.
//
// Deliberate gaps: several log directories.
var alterReplicaLogDirsHandler = handler{34, 1, 2, quick((*API).alterReplicaLogDirs)}

func (a *API) alterReplicaLogDirs(_ context.Context, req *kmsg.AlterReplicaLogDirsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
	type partition struct {
		topic string
		index int32
	}
	at := map[string]int{} // topic → its place in the answer; several folders may name one
	placed := map[partition]int{}
	for _, d := range req.Dirs {
		for _, t := range d.Topics {
			n, ok := at[t.Topic]
			if !ok {
				n = len(resp.Topics)
				at[t.Topic] = n
				rt := kmsg.NewAlterReplicaLogDirsResponseTopic()
				rt.Topic = t.Topic
				resp.Topics = append(resp.Topics, rt)
			}
			for _, index := range t.Partitions {
				p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				p.Partition, p.ErrorCode = index, code(a.moveTo(d.Dir, t.Topic, index))
				ps := &resp.Topics[n].Partitions
				if i, again := placed[partition{t.Topic, index}]; again {
					(*ps)[i] = p // the folder that is named last counts
					continue
				}
				placed[partition{t.Topic, index}] = len(*ps)
				*ps = append(*ps, p)
			}
		}
	}
	return resp
}

func (a *API) moveTo(dir, name string, index int32) error {
	if dir != a.Places.LogDir && (dir != a.Places.Archive || dir == "") {
		return kerr.LogDirNotFound
	}
	if a.Places.offline() != nil {
		return kerr.KafkaStorageError
	}
	_, err := a.Partitions.ByName(name, index)
	if errors.Is(err, kerr.NotLeaderForPartition) {
		return kerr.ReplicaNotAvailable // deleted this moment
	}
	return err
}
