package api

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/topic"
)

// brittle is a disk whose logs of topic t panic when they are opened, or when they are made or asked where they begin.
type brittle struct {
	partition.Disk
	open, use atomic.Bool
}

func (d *brittle) Open(p topic.Partition, cfg *hot.Config) (partition.Log, error) {
	if p.Topic == "t" && d.open.Load() {
		panic("nobody has thought of such a file")
	}
	l, err := d.Disk.Open(p, cfg)
	if p.Topic != "t" {
		return l, err
	}
	return brittleLog{l, d}, err
}

type brittleLog struct {
	partition.Log
	d *brittle
}

func (l brittleLog) Make() error {
	l.d.used()
	return l.Log.Make()
}

func (l brittleLog) LocalStart() int64 {
	l.d.used()
	return l.Log.LocalStart()
}

func (d *brittle) used() {
	if d.use.Load() {
		panic("nobody has thought of such a log")
	}
}

// I-32: a panic below a handler, in what it does side by side, closes the connection or is answered with an error, and nobody else
// notices. One while a log is opened is always answered.
func TestPanicsBelowHandlers(t *testing.T) {
	d := new(brittle)
	var now atomic.Int64
	e := newEnvWith(t, metatestBroker(t), disk.NewCrashable(1), quietLog, func(o *partition.Options) {
		d.Disk, o.Disk = o.Disk, d
		o.Now = func() time.Time { return time.UnixMilli(now.Load()) }
	})
	e.create("t", 2)
	e.create("other", 1)
	addr := serve(t, e)
	bystander := dialRaw(t, addr)

	list := kmsg.NewPtrListOffsetsRequest()
	list.ReplicaID = -1
	del := kmsg.NewPtrDeleteRecordsRequest()
	for i := range int32(2) {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = i, -1, -1
		list.Topics = append(list.Topics, kmsg.ListOffsetsRequestTopic{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}})
		del.Topics = append(del.Topics, kmsg.DeleteRecordsRequestTopic{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: i, Offset: -1}}})
	}
	produce := produceOf("t", [16]byte{}, 2, 1)
	requests := map[string]struct {
		req     kmsg.Request
		version int16
		code    func(kmsg.Response) int16
	}{
		"produce":      {produce, 9, func(r kmsg.Response) int16 { return r.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode }},
		"list offsets": {list, 7, func(r kmsg.Response) int16 { return r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode }},
		"delete records": {del, 2, func(r kmsg.Response) int16 {
			return r.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0].ErrorCode
		}},
	}
	fetched := func(t *testing.T) {
		resp, err := exchange(t, addr, fetchOf("t", [16]byte{}, 0, -1, 0, 0, 1<<20), 12)
		require.NoError(t, err)
		for _, p := range resp.(*kmsg.FetchResponse).Topics[0].Partitions {
			require.Equal(t, kerr.KafkaStorageError.Code, p.ErrorCode)
		}
	}
	check := func(when string, outcome func(t *testing.T, resp kmsg.Response, err error, code func(kmsg.Response) int16)) {
		for name, c := range requests {
			t.Run(name+" "+when, func(t *testing.T) {
				resp, err := exchange(t, addr, c.req, c.version)
				outcome(t, resp, err, c.code)
				bystander.send(produceFrame("other", 1, 1))
				bystander.accepted("other")
			})
		}
		t.Run("fetch "+when, fetched)
	}
	d.open.Store(true)
	check("opens", func(t *testing.T, resp kmsg.Response, err error, code func(kmsg.Response) int16) {
		require.NoError(t, err)
		require.Equal(t, kerr.KafkaStorageError.Code, code(resp))
	})
	d.open.Store(false)
	now.Add(time.Second.Milliseconds())
	for i := range int32(2) {
		p, err := e.parts.ByName("t", i)
		require.NoError(t, err)
		_, err = p.Producers() // opens it
		require.NoError(t, err)
	}
	d.use.Store(true)
	check("works", func(t *testing.T, _ kmsg.Response, err error, _ func(kmsg.Response) int16) {
		require.ErrorIs(t, err, io.EOF)
	})
	d.use.Store(false)
	resp, err := exchange(t, addr, list, 7)
	require.NoError(t, err)
	require.Zero(t, requests["list offsets"].code(resp))
}
