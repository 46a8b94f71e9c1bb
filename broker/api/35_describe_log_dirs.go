package api

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/partition"
)

// DescribeLogDirs 1-5. Kafka's answer has no field for what lies in object storage. So that tools show it all the same,
// the archive is listed beside the log directory, under its URL, once it holds something of what was asked for: the
// size of a partition there is what the bucket stores of it, its lag are the records that the archive has not got yet.
//
// Deliberate gaps: a broker has one log directory, so there are no future replicas, and none is cordoned; the
// archive's total and usable bytes are not known (-1).
var describeLogDirsHandler = handler{35, 1, 5, wide((*API).describeLogDirsSize, (*API).describeLogDirs)}

// Places says where this broker keeps its data.
type Places struct {
	LogDir  string                              // absolute path
	Space   func() (partition.SpaceInfo, error) // of the disk below LogDir; nil: not known
	Offline func() error                        // why LogDir is out of service; nil, or giving nil: it is not
	Archive string                              // URL of the object store, without credentials
}

func (p Places) offline() error {
	if p.Offline == nil {
		return nil
	}
	return p.Offline()
}

// What a topic, beside its name, and a partition take in an answer to DescribeLogDirs, in two folders.
const (
	logDirsTopicSize     = 256
	logDirsPartitionSize = 256
)

// describeLogDirsSize is what the answer takes. As in Kafka, a partition that is named more than once is answered once.
func (a *API) describeLogDirsSize(req *kmsg.DescribeLogDirsRequest) (size int) {
	add := func(name string, partitions int) {
		size += logDirsTopicSize + 4*len(name) + logDirsPartitionSize*partitions
	}
	if req.Topics == nil {
		for _, t := range a.Cluster.Image().Topics() {
			add(t.Name, len(t.Partitions))
		}
		return size
	}
	req.Topics = merged(req.Topics, func(t *kmsg.DescribeLogDirsRequestTopic) string { return t.Topic },
		func(to, from *kmsg.DescribeLogDirsRequestTopic) {
			to.Partitions = append(to.Partitions, from.Partitions...)
		})
	for i := range req.Topics {
		t := &req.Topics[i]
		t.Partitions = distinct(t.Partitions)
		add(t.Topic, len(t.Partitions))
	}
	return size
}

func (a *API) describeLogDirs(_ context.Context, req *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	local := kmsg.NewDescribeLogDirsResponseDir()
	local.Dir = a.Places.LogDir
	if err := a.Places.offline(); err != nil {
		local.ErrorCode = kerr.KafkaStorageError.Code
		resp.Dirs = append(resp.Dirs, local)
		return resp
	}
	if a.Places.Space != nil {
		if s, err := a.Places.Space(); err == nil {
			local.TotalBytes, local.UsableBytes = s.Total, s.Free
		} else {
			a.Logger.Warn("cannot find out how full the disk is", "dir", local.Dir, "error", err)
		}
	}
	archive := kmsg.NewDescribeLogDirsResponseDir()
	archive.Dir = a.Places.Archive
	for _, p := range a.hosted(req) {
		held, err := p.Held()
		if err != nil {
			a.Logger.Warn("cannot find out the size of a log", "partition", p.ID(), "error", err)
			local.ErrorCode = kerr.KafkaStorageError.Code
			continue
		}
		addLogDirPartition(&local, p, held.Local, held.Lag)
		if held.Archived > 0 {
			addLogDirPartition(&archive, p, held.Archived, held.Pending)
		}
	}
	resp.Dirs = append(resp.Dirs, local)
	if len(archive.Topics) > 0 && archive.Dir != "" {
		resp.Dirs = append(resp.Dirs, archive)
	}
	return resp
}

// hosted are the partitions that the request names (all without a list) and that are here, those of a topic together.
// What is not here is passed over, as in Kafka.
func (a *API) hosted(req *kmsg.DescribeLogDirsRequest) []*partition.Partition {
	var out []*partition.Partition
	if req.Topics == nil {
		out = a.Partitions.All()
		slices.SortFunc(out, func(x, y *partition.Partition) int {
			return cmp.Or(cmp.Compare(x.ID().Topic, y.ID().Topic), cmp.Compare(x.ID().Index, y.ID().Index))
		})
		return out
	}
	for _, t := range req.Topics {
		for _, index := range t.Partitions {
			if p, err := a.Partitions.ByName(t.Topic, index); err == nil {
				out = append(out, p)
			}
		}
	}
	return out
}

func addLogDirPartition(dir *kmsg.DescribeLogDirsResponseDir, p *partition.Partition, size, lag int64) {
	id := p.ID()
	last := len(dir.Topics) - 1
	if last < 0 || dir.Topics[last].Topic != id.Topic {
		t := kmsg.NewDescribeLogDirsResponseDirTopic()
		t.Topic = id.Topic
		dir.Topics = append(dir.Topics, t)
		last++
	}
	n := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
	n.Partition, n.Size, n.OffsetLag = id.Index, size, lag
	dir.Topics[last].Partitions = append(dir.Topics[last].Partitions, n)
}
