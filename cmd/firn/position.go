package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// position is a place in a topic's history as a person names it: earliest, latest, an offset or a moment.
type position struct {
	kind   positionKind
	offset int64
	time   time.Time
}

type positionKind int

const (
	atEarliest positionKind = iota
	atLatest
	atOffset
	atTime
)

// UnmarshalText implements encoding.TextUnmarshaler, by which kong reads flags.
func (p *position) UnmarshalText(text []byte) error {
	s := string(text)
	switch s {
	case "earliest":
		*p = position{kind: atEarliest}
		return nil
	case "latest":
		*p = position{kind: atLatest}
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n < 0 {
			return fmt.Errorf("offset %d is negative: want earliest, latest, an offset from 0, or a time such as 2024-05-01T12:00:00Z", n)
		}
		*p = position{kind: atOffset, offset: n}
		return nil
	}
	if t, ok := parseTime(s); ok {
		*p = position{kind: atTime, time: t}
		return nil
	}
	return fmt.Errorf("%q is no position: want earliest, latest, an offset from 0, or a time such as 2024-05-01T12:00:00Z", s)
}

// resolve gives the offset of the position in each partition of the topic. A moment later than the last
// record is the end. With only, what another partition answers (that it is offline, say) is no error; its offset means
// nothing then.
func (p position) resolve(ctx context.Context, adm *kadm.Client, topic string, only []int32) (map[int32]int64, error) {
	var (
		listed kadm.ListedOffsets
		err    error
	)
	switch p.kind {
	case atEarliest:
		listed, err = adm.ListStartOffsets(ctx, topic)
	case atTime:
		listed, err = adm.ListOffsetsAfterMilli(ctx, p.time.UnixMilli(), topic)
	default:
		listed, err = adm.ListEndOffsets(ctx, topic)
	}
	if err != nil {
		return nil, fmt.Errorf("look up offsets of %s: %w", topic, err)
	}
	offsets := make(map[int32]int64)
	for partition, o := range listed[topic] {
		if o.Err != nil && wanted(only, partition) {
			return nil, kafkaError("look up the offsets of "+topic, o.Err, "")
		}
		offsets[partition] = o.Offset
		if p.kind == atOffset {
			offsets[partition] = p.offset
		}
	}
	if len(offsets) == 0 {
		return nil, kafkaError("look up the offsets of "+topic, kerr.UnknownTopicOrPartition, "")
	}
	return offsets, nil
}

// wanted reports whether a command that was given these partitions, or none for all, means this one.
func wanted(only []int32, partition int32) bool {
	return len(only) == 0 || slices.Contains(only, partition)
}

// moment is a time as a person writes it.
type moment time.Time

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) error {
	t, ok := parseTime(string(text))
	if !ok {
		return fmt.Errorf("%q is no time: want one such as 2024-05-01T12:00:00Z, or a day such as 2024-05-01", text)
	}
	*m = moment(t)
	return nil
}

// parseTime reads RFC 3339, or the beginning of a day in UTC.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// noPartition says which partitions there are.
func noPartition(topic string, wrong int32, partitions int) error {
	if partitions == 1 {
		return fmt.Errorf("topic %s has no partition %d: it has one, number 0", topic, wrong)
	}
	return fmt.Errorf("topic %s has no partition %d: it has %d, numbered 0 to %d", topic, wrong, partitions, partitions-1)
}
