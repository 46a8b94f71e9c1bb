package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxLine bounds one line of input; it is above any max.message.bytes in use.
const maxLine = 64 << 20

type produceCmd struct {
	Topic       string  `arg:"" help:"Name of the topic."`
	Format      string  `help:"What a line holds: value, key-value (key TAB value), key-time-value (key TAB epoch ms TAB value)." enum:"value,key-value,key-time-value" default:"value"`
	Timestamp   *moment `help:"Give every record this time (RFC 3339) instead of now." placeholder:"TIME"`
	Partition   int32   `help:"Write to this partition; -1 chooses by key." default:"-1" short:"p" placeholder:"NUMBER"`
	Compression string  `help:"How the records are compressed." placeholder:"CODEC" enum:"none,gzip,snappy,lz4,zstd" default:"none"`
	Acks        string  `help:"Which replicas to wait for: all that are in sync, the leader (1), or none (0)." enum:"all,1,0" default:"all"`
}

func (cmd *produceCmd) Run(c *cli) error {
	ctx, cancel := interruptible()
	defer cancel()
	if cmd.Partition < -1 {
		return fmt.Errorf("--partition %d: want a number from 0, or -1 to choose by key", cmd.Partition)
	}
	cl, err := c.kafka(ctx, cmd.options()...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cmd.checkPartition(ctx, cl); err != nil {
		return err
	}
	n, err := cmd.pump(ctx, cl, os.Stdin)
	if err != nil {
		return err
	}
	if c.Output == outputJSON {
		return printJSON(os.Stdout, map[string]any{"topic": cmd.Topic, "records": n})
	}
	fmt.Fprintf(os.Stderr, "%d record(s) written to %s\n", n, cmd.Topic)
	return nil
}

func (cmd *produceCmd) options() []kgo.Opt {
	codec := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[cmd.Compression]
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(5 * time.Millisecond), kgo.AllowAutoTopicCreation()}
	if cmd.Partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	switch cmd.Acks {
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	}
	return opts
}

// checkPartition makes sure that the partition that was asked for is there, before anything is read from standard
// input. A topic that is not there is made, if the broker makes topics by itself.
func (cmd *produceCmd) checkPartition(ctx context.Context, cl *kgo.Client) error {
	if cmd.Partition < 0 {
		return nil
	}
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(cmd.Topic)
	req.Topics, req.AllowAutoTopicCreation = append(req.Topics, t), true
	var err error
	for range 25 { // a topic that is being made has no leader yet
		var res *kmsg.MetadataResponse
		if res, err = req.RequestWith(ctx, cl); err != nil {
			break
		}
		if len(res.Topics) != 1 {
			return fmt.Errorf("look up %s: the broker answered for %d topics", cmd.Topic, len(res.Topics))
		}
		if err = kerr.ErrorForCode(res.Topics[0].ErrorCode); err == nil {
			if n := len(res.Topics[0].Partitions); int(cmd.Partition) >= n {
				return noPartition(cmd.Topic, cmd.Partition, n)
			}
			return nil
		}
		if !errors.Is(err, kerr.LeaderNotAvailable) {
			break
		}
		if err := sleep(ctx, readAgain); err != nil {
			return errInterrupted
		}
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	return kafkaError("write to "+cmd.Topic, err, "")
}

// pump sends each line of in and returns how many records were acknowledged.
func (cmd *produceCmd) pump(ctx context.Context, cl *kgo.Client, in io.Reader) (int64, error) {
	bar := progressbar.DefaultSilent(-1)
	if f, ok := in.(*os.File); ok && onTerminal(os.Stderr) && !onTerminal(f) {
		bar = progressbar.Default(-1, "writing "+cmd.Topic)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		mu    sync.Mutex
		acked int64
	)
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			cancel(kafkaError("write to "+cmd.Topic, err, ""))
			return
		}
		mu.Lock()
		acked++
		mu.Unlock()
		_ = bar.Add(1)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	for line := 1; ctx.Err() == nil && lines.Scan(); line++ {
		r, err := cmd.parse(lines.Bytes())
		if err != nil {
			return acked, fmt.Errorf("line %d: %w", line, err)
		}
		cl.Produce(ctx, r, done)
	}
	if err := lines.Err(); err != nil {
		return acked, fmt.Errorf("read standard input: %w", err)
	}
	if err := cl.Flush(ctx); err != nil || ctx.Err() != nil {
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			return acked, cause
		}
		return acked, errInterrupted
	}
	_ = bar.Finish()
	mu.Lock()
	defer mu.Unlock()
	return acked, nil
}

// parse makes a record of a line. The line's bytes are copied: the scanner reuses them.
func (cmd *produceCmd) parse(line []byte) (*kgo.Record, error) {
	r := &kgo.Record{Topic: cmd.Topic, Partition: cmd.Partition}
	if cmd.Timestamp != nil {
		r.Timestamp = time.Time(*cmd.Timestamp)
	}
	value := bytes.Clone(line)
	if cmd.Format != "value" {
		key, rest, ok := bytes.Cut(value, []byte{'\t'})
		if !ok {
			return nil, fmt.Errorf("no TAB in it: --format %s wants one after the key", cmd.Format)
		}
		r.Key, value = key, rest
	}
	if cmd.Format == "key-time-value" {
		ms, rest, ok := bytes.Cut(value, []byte{'\t'})
		n, err := strconv.ParseInt(string(ms), 10, 64)
		if !ok || err != nil {
			return nil, errors.New("--format key-time-value wants the time in milliseconds since 1970 between two TABs")
		}
		r.Timestamp, value = time.UnixMilli(n), rest
	}
	if value == nil {
		value = []byte{}
	}
	r.Value = value
	return r, nil
}
