package main

import (
	"bufio"
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestPosition(t *testing.T) {
	for text, want := range map[string]position{
		"earliest":             {kind: atEarliest},
		"latest":               {kind: atLatest},
		"0":                    {kind: atOffset},
		"17":                   {kind: atOffset, offset: 17},
		"2024-05-01T12:00:00Z": {kind: atTime, time: time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)},
		"2024-05-01":           {kind: atTime, time: time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)},
	} {
		var p position
		require.NoError(t, p.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, p, text)
	}
	for _, text := range []string{"", "-1", "yesterday", "2024-13-01T00:00:00Z", "12:00"} {
		var p position
		require.ErrorContains(t, p.UnmarshalText([]byte(text)), "want earliest", text)
	}
}

func TestProduceParsesLines(t *testing.T) {
	fixed := moment(time.UnixMilli(5))
	for _, c := range []struct {
		cmd  produceCmd
		line string
		want *kgo.Record
		fail string
	}{
		{produceCmd{Format: "value"}, "a\tb", &kgo.Record{Value: []byte("a\tb")}, ""},
		{produceCmd{Format: "value"}, "", &kgo.Record{Value: []byte{}}, ""},
		{produceCmd{Format: "value", Timestamp: &fixed}, "a", &kgo.Record{Value: []byte("a"), Timestamp: time.Time(fixed)}, ""},
		{produceCmd{Format: "key-value"}, "k\tv\tw", &kgo.Record{Key: []byte("k"), Value: []byte("v\tw")}, ""},
		{produceCmd{Format: "key-value"}, "no tab", nil, "no TAB"},
		{produceCmd{Format: "key-time-value"}, "k\t1312242084000\tv", &kgo.Record{Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(1312242084000)}, ""},
		{produceCmd{Format: "key-time-value"}, "k\tv", nil, "milliseconds"},
		{produceCmd{Format: "key-time-value"}, "k\tsoon\tv", nil, "milliseconds"},
	} {
		got, err := c.cmd.parse([]byte(c.line))
		if c.fail != "" {
			require.ErrorContains(t, err, c.fail, c.line)
			continue
		}
		require.NoError(t, err, c.line)
		require.Equal(t, c.want, got, c.line)
	}
}

func TestRecordPrinter(t *testing.T) {
	r := &kgo.Record{Topic: "t", Partition: 1, Offset: 7, Timestamp: time.UnixMilli(1500).UTC(), Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}}
	print := func(p recordPrinter, r *kgo.Record) string {
		var b bytes.Buffer
		p.w = bufio.NewWriter(&b)
		require.NoError(t, p.print(r))
		require.NoError(t, p.w.Flush())
		return b.String()
	}
	require.Equal(t, "v\n", print(recordPrinter{format: "value"}, r))
	require.Equal(t, "k\tv\n", print(recordPrinter{format: "key-value"}, r))
	require.Equal(t, "k\t1500\tv\n", print(recordPrinter{format: "key-time-value"}, r))
	require.JSONEq(t, `{"topic":"t","partition":1,"offset":7,"timestamp":"1970-01-01T00:00:01.5Z","key":"k","value":"v","headers":{"h":"x"}}`, print(recordPrinter{json: true}, r))
	require.JSONEq(t, `{"topic":"t","partition":0,"offset":0,"timestamp":"1970-01-01T00:00:00Z","key":null,"value":"/w==","base64":true}`,
		print(recordPrinter{json: true}, &kgo.Record{Topic: "t", Timestamp: time.UnixMilli(0), Value: []byte{0xff}}))
}

func TestSpanStopsAtItsEnd(t *testing.T) {
	s := &span{next: map[int32]int64{0: 0, 1: 5}, end: map[int32]int64{0: 2, 1: 5}}
	require.True(t, s.wants(0))
	require.False(t, s.wants(1), "a partition that has nothing to read is not asked")
	require.True(t, s.take(0, 0))
	require.False(t, s.done())
	require.True(t, s.take(0, 1))
	s.next[0] = 2
	require.True(t, s.done())
	require.False(t, s.take(0, 2), "records past the end are not printed")

	s = &span{next: map[int32]int64{0: 0}, left: 1, counted: true}
	require.True(t, s.take(0, 0))
	require.True(t, s.done())
	require.False(t, s.take(0, 1))
}

func TestHumanBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 64 << 20: "64.0 MiB", 3 << 40: "3.0 TiB"} {
		require.Equal(t, want, humanBytes(n))
	}
}

func TestSplitURL(t *testing.T) {
	for url, want := range map[string][2]string{
		"dir:///a/b/c":                             {"dir:///a/b", "c"},
		"s3://bucket/p/k?region=eu&endpoint=x":     {"s3://bucket/p?region=eu&endpoint=x", "k"},
		"minio://host:9000/bucket/k?secure=false":  {"minio://host:9000/bucket?secure=false", "k"},
		"minio://host:9000/bucket/k/?secure=false": {"minio://host:9000/bucket/k?secure=false", ""},
	} {
		dir, name := splitURL(url)
		require.Equal(t, want, [2]string{dir, name}, url)
	}
}
