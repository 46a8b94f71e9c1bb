package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
)

// lines checks that a dump is one JSON object a line and gives them.
func lines(t *testing.T, out []byte) (all []map[string]any) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &v), line)
		all = append(all, v)
	}
	return all
}

func types(all []map[string]any) (names []string) {
	for _, v := range all {
		names = append(names, v["type"].(string))
	}
	return names
}

func twoBatches() []byte {
	one, two := record.NewBuilder(record.Zstd), record.NewBuilder(record.None)
	one.Append(1000, []byte("k"), []byte("a"), []record.RecordHeader{{Key: "h", Value: []byte("x")}})
	one.Append(1001, nil, []byte("b"), nil)
	two.Append(1002, nil, []byte{0xff}, nil)
	return append(one.Build(5), two.Build(7)...)
}

func TestDumpLogAsJSON(t *testing.T) {
	log := twoBatches()
	dump := func(deep bool, b []byte) []map[string]any {
		var out bytes.Buffer
		require.NoError(t, jsonDump{&out, deep}.log(bytes.NewReader(b), int64(len(b))))
		return lines(t, out.Bytes())
	}
	require.Equal(t, []string{"batch", "batch"}, types(dump(false, log)))
	all := dump(true, log)
	require.Equal(t, []string{"batch", "record", "record", "batch", "record"}, types(all))
	require.Equal(t, "zstd", all[0]["codec"])
	require.Equal(t, 6.0, all[0]["lastOffset"])
	require.Equal(t, map[string]any{"type": "record", "offset": 5.0, "timestampMs": 1000.0, "key": "k", "value": "a", "headers": map[string]any{"h": "x"}}, all[1])
	require.Equal(t, map[string]any{"type": "record", "offset": 7.0, "timestampMs": 1002.0, "key": nil, "value": "/w==", "base64": true}, all[4])

	cut := dump(false, log[:len(log)-1])
	require.Equal(t, []string{"batch", "fault"}, types(cut))
	require.Contains(t, cut[1]["fault"], "cut short")
	require.Equal(t, cut[0]["bytes"], cut[1]["position"])

	damaged := bytes.Clone(log)
	damaged[len(damaged)-1] ^= 1
	require.Contains(t, dump(false, damaged)[1]["fault"], "corrupt")
}

func TestDumpArchivedSegmentAsJSON(t *testing.T) {
	var seg bytes.Buffer
	w := segment.NewWriter(&seg, segment.WriterOptions{Meta: segment.Meta{ClusterID: "c", Topic: topic.Partition{Topic: "visits", Index: 1}, Base: 5, Next: 8, Epoch: 2}})
	require.NoError(t, w.Add(twoBatches()))
	_, err := w.Close()
	require.NoError(t, err)
	dump := func(deep bool, b []byte) ([]map[string]any, error) {
		var out bytes.Buffer
		err := jsonDump{&out, deep}.segment(bytes.NewReader(b), int64(len(b)))
		return lines(t, out.Bytes()), err
	}
	all, err := dump(false, seg.Bytes())
	require.NoError(t, err)
	require.Equal(t, []string{"segment", "chunk"}, types(all))
	require.Equal(t, "visits", all[0]["topic"])
	require.Equal(t, 7.0, all[0]["lastOffset"])
	all, err = dump(true, seg.Bytes())
	require.NoError(t, err)
	require.Equal(t, []string{"segment", "chunk", "batch", "record", "record", "batch", "record"}, types(all))

	damaged := bytes.Clone(seg.Bytes())
	damaged[int(all[1]["position"].(float64))] ^= 1
	all, err = dump(true, damaged)
	require.ErrorContains(t, err, "chunk 0")
	require.Equal(t, []string{"segment", "chunk"}, types(all))
	require.NotEmpty(t, all[1]["fault"])
}

// What is neither format is named as that, and a store is only looked at.
func TestDumpOfSomethingElse(t *testing.T) {
	folder := t.TempDir()
	text := filepath.Join(folder, "passwd")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("root:x:0:0:root:/root:/bin/bash\n", 9)), 0o600))
	for from, want := range map[string]string{
		text:                            text + " is neither a log (.log) nor an archived segment",
		"dir://" + text:                 "is neither a log (.log) nor an archived segment",
		folder:                          folder + " is not a file",
		filepath.Join(folder, "absent"): "there is no file",
		"dir://" + folder + "/absent":   "the store dir://" + folder + " has no object with the key absent",
		"dir://" + folder + "/no/such":  "there is no store dir://" + folder + "/no",
		"dir://" + folder + "/":         "names no object",
	} {
		require.ErrorContains(t, (&segmentDumpCmd{From: from}).Run(&cli{}), want, from)
	}
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 1, "something was made")
	require.True(t, looksLikeLog("00000000000000000007.log", nil), "an empty log is one")
}
