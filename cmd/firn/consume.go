package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/tier/record"
)

type consumeCmd struct {
	Topic     string    `arg:"" help:"Name of the topic."`
	From      position  `help:"Where to begin: earliest, latest, an offset, or a time (RFC 3339)." default:"latest" placeholder:"POSITION"`
	To        *position `help:"Where to stop (not included): latest (the end as it is now), an offset, or a time. Without it the command waits for more." placeholder:"POSITION"`
	Partition []int32   `help:"Only these partitions (all if not given)." short:"p"`
	Max       int64     `help:"Stop after this many records." short:"n" placeholder:"N"`
	Format    string    `help:"What of a record to print: value, key-value (key TAB value), key-time-value (key TAB epoch ms TAB value)." enum:"value,key-value,key-time-value" default:"value"`
}

func (cmd *consumeCmd) Run(c *cli) error {
	ctx, cancel := interruptible()
	defer cancel()
	if cmd.Max < 0 {
		return fmt.Errorf("-n %d: a number of records cannot be negative", cmd.Max)
	}
	adm, err := c.admin(ctx)
	if err != nil {
		return err
	}
	defer adm.Close()
	span, err := cmd.span(ctx, adm)
	if err != nil {
		return err
	}
	if span.done() {
		return nil
	}
	cl, err := c.kafka(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	p := recordPrinter{w: out, format: cmd.Format, json: c.Output == outputJSON}
	err = cmd.follow(ctx, cl, span, p)
	if flushErr := out.Flush(); err == nil && flushErr != nil {
		err = fmt.Errorf("print: %w", flushErr)
	}
	return err
}

// span works out where each partition begins and ends.
func (cmd *consumeCmd) span(ctx context.Context, adm *kadm.Client) (*span, error) {
	from, err := cmd.From.resolve(ctx, adm, cmd.Topic, cmd.Partition)
	if err != nil {
		return nil, err
	}
	partitions := len(from)
	if err := cmd.within(ctx, adm, from); err != nil {
		return nil, err
	}
	s := &span{next: from, left: cmd.Max, counted: cmd.Max > 0}
	for partition := range from {
		if !wanted(cmd.Partition, partition) {
			delete(from, partition)
		}
	}
	for _, p := range cmd.Partition {
		if _, ok := from[p]; !ok {
			return nil, noPartition(cmd.Topic, p, partitions)
		}
	}
	if cmd.To != nil {
		if s.end, err = cmd.To.resolve(ctx, adm, cmd.Topic, cmd.Partition); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// within moves an offset that a partition does not have to the nearest one that it has, and says so.
func (cmd *consumeCmd) within(ctx context.Context, adm *kadm.Client, from map[int32]int64) error {
	if cmd.From.kind != atOffset {
		return nil
	}
	starts, err := position{kind: atEarliest}.resolve(ctx, adm, cmd.Topic, cmd.Partition)
	if err != nil {
		return err
	}
	ends, err := position{kind: atLatest}.resolve(ctx, adm, cmd.Topic, cmd.Partition)
	if err != nil {
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(from)) {
		if !wanted(cmd.Partition, p) {
			continue
		}
		switch o := from[p]; {
		case o < starts[p]:
			from[p] = starts[p]
			_, _ = fmt.Fprintf(os.Stderr, "partition %d of %s begins at offset %d: reading from there\n", p, cmd.Topic, starts[p])
		case o > ends[p]:
			from[p] = ends[p]
			_, _ = fmt.Fprintf(os.Stderr, "partition %d of %s ends at offset %d: there is no offset %d yet\n", p, cmd.Topic, ends[p], o)
		}
	}
	return nil
}

func (cmd *consumeCmd) follow(ctx context.Context, cl *kgo.Client, s *span, p recordPrinter) error {
	bar := s.progress(cmd.Topic)
	defer func() { _ = bar.Finish() }()
	r := reader{cl: cl, topic: cmd.Topic, report: os.Stderr}
	if cmd.To != nil {
		r.patience = giveUpAfter // a script that wants an end wants to hear that it will not come
	}
	for !s.done() {
		printed := 0
		err := r.poll(ctx, s.next, s.wants, func(r *kgo.Record) error {
			if !s.take(r.Partition, r.Offset) {
				return nil
			}
			printed++
			return p.print(r)
		})
		if ctx.Err() != nil {
			return errInterrupted
		}
		if err != nil {
			return err
		}
		_ = bar.Add(printed)
		// Nobody should wait for a full buffer to see the records that have come.
		if err := p.w.Flush(); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}

// span is what is left to read: the next offset of each partition and, with an end, where it stops.
type span struct {
	next    map[int32]int64
	end     map[int32]int64 // nil: no end
	left    int64
	counted bool
}

// wants reports whether a partition is not at its end yet.
func (s *span) wants(partition int32) bool {
	return s.end == nil || s.next[partition] < s.end[partition]
}

// take reports whether a record is to be printed, and counts it.
func (s *span) take(partition int32, offset int64) bool {
	if s.counted && s.left == 0 || s.end != nil && offset >= s.end[partition] {
		return false
	}
	s.left--
	return true
}

func (s *span) done() bool {
	if s.counted && s.left <= 0 {
		return true
	}
	if s.end == nil {
		return false
	}
	for p, o := range s.next {
		if o < s.end[p] {
			return false
		}
	}
	return true
}

func (s *span) progress(topic string) *progressbar.ProgressBar {
	if s.end == nil || !onTerminal(os.Stderr) || onTerminal(os.Stdout) {
		return progressbar.DefaultSilent(-1)
	}
	total := int64(0)
	for p, o := range s.next {
		total += max(0, s.end[p]-o)
	}
	if s.counted {
		total = min(total, s.left)
	}
	return progressbar.Default(total, "reading "+topic)
}

// recordPrinter writes one record a line.
type recordPrinter struct {
	w      *bufio.Writer
	format string
	json   bool
}

type jsonRecord struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Timestamp string `json:"timestamp"`
	jsonContent
}

// jsonContent is what a record holds.
type jsonContent struct {
	Key     *string           `json:"key"`
	Value   *string           `json:"value"`
	Base64  bool              `json:"base64,omitempty"` // key, value and headers are base64, being no UTF-8
	Headers map[string]string `json:"headers,omitempty"`
}

func (p recordPrinter) print(r *kgo.Record) error {
	if p.json {
		return printJSON(p.w, asJSON(r))
	}
	var err error
	switch p.format {
	case "key-value":
		_, err = fmt.Fprintf(p.w, "%s\t%s\n", r.Key, r.Value)
	case "key-time-value":
		_, err = fmt.Fprintf(p.w, "%s\t%d\t%s\n", r.Key, r.Timestamp.UnixMilli(), r.Value)
	default:
		_, err = fmt.Fprintf(p.w, "%s\n", r.Value)
	}
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("print: %w", err)
	}
	return err
}

func asJSON(r *kgo.Record) jsonRecord {
	headers := make([]record.RecordHeader, 0, len(r.Headers))
	for _, h := range r.Headers {
		headers = append(headers, record.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return jsonRecord{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Timestamp:   r.Timestamp.UTC().Format(time.RFC3339Nano),
		jsonContent: contentOf(r.Key, r.Value, headers),
	}
}

func contentOf(key, value []byte, headers []record.RecordHeader) jsonContent {
	text := utf8.Valid(key) && utf8.Valid(value)
	for _, h := range headers {
		text = text && utf8.Valid(h.Value)
	}
	encode := func(b []byte) *string {
		if b == nil {
			return nil
		}
		s := string(b)
		if !text {
			s = base64.StdEncoding.EncodeToString(b)
		}
		return &s
	}
	c := jsonContent{Key: encode(key), Value: encode(value), Base64: !text}
	for _, h := range headers {
		if c.Headers == nil {
			c.Headers = make(map[string]string, len(headers))
		}
		if v := encode(h.Value); v != nil {
			c.Headers[h.Key] = *v
		}
	}
	return c
}
