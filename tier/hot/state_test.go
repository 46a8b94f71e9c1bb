package hot

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/hot/producer"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden are what the golden files hold, by version. Each stays readable for ever.
func golden() map[int][]*logState {
	states := func() []*logState {
		return []*logState{
			{Topic: "orders", Index: 3, ID: testID, Epochs: []epoch.Entry{{Epoch: 0, Start: 0}, {Epoch: 2, Start: 150}},
				Segments: []segState{
					{Base: 100, Next: 200, Size: 5000, MaxTime: 1700, MaxTimeOffset: 180, Modified: 1701, Index: 1, TimeIndex: 2},
					{Base: 200, Next: 200, MaxTime: -1, MaxTimeOffset: 200, Modified: 1702}},
				SinceIndex: 12, FirstTime: -1, TimeAdded: -1, Start: 110},
			{Topic: "a.b", ID: testID, Epochs: []epoch.Entry{}, Segments: []segState{{MaxTime: -1}}, FirstTime: 5, TimeAdded: 6},
		}
	}
	v2 := states()
	v2[0].Indexed = &pointState{Base: 100, Next: 150, Size: 3000, MaxTime: 1500, MaxTimeOffset: 149, Index: 1, TimeIndex: 1,
		SinceIndex: 7, FirstTime: 1400, TimeAdded: 1450}
	v3 := states()
	v3[0].Indexed = v2[0].Indexed
	p := producer.NewEntry(7)
	p.Epoch, p.LastTimestamp = 2, 1700
	p.Add(producer.Batch{LastOffset: 149, Timestamp: 1700, LastSeq: 9, Delta: 4})
	v3[0].Producers, v3[1].Producers = newProducersAt(150, []producer.Entry{p}), newProducersAt(0, nil)
	v3[1].Unchecked, v3[1].Journal = true, &boundState{Base: 0, Size: 700}
	return map[int][]*logState{1: states(), 2: v2, 3: v3}
}

func TestStateGolden(t *testing.T) {
	for version, want := range golden() {
		name := fmt.Sprint("testdata/state.v", version)
		if version == stateVersion {
			var lines [][]byte
			for _, st := range want {
				line, err := st.encode()
				require.NoError(t, err)
				lines = append(lines, line)
			}
			b, err := encodeState(lines)
			require.NoError(t, err)
			if *update {
				require.NoError(t, os.WriteFile(name, b, 0o644))
			}
			file, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, string(file), string(b))
		}
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		got, err := decodeState(file)
		require.NoError(t, err)
		require.Equal(t, want, got)
		for i := range file { // no damage goes unnoticed, and none panics
			bad := append([]byte(nil), file...)
			bad[i] ^= 1
			_, err := decodeState(bad)
			require.Error(t, err, "byte %d", i)
			_, err = decodeState(file[:i])
			require.Error(t, err, "cut at %d", i)
		}
	}
}

// What no log can be indexed up to is refused.
func TestStateIndexedBeyond(t *testing.T) {
	for name, change := range map[string]func(p *pointState){
		"no segment":     func(p *pointState) { p.Base = 120 },
		"behind its end": func(p *pointState) { p.Size = 5001 },
		"beyond it":      func(p *pointState) { p.Next = 201 },
		"before it":      func(p *pointState) { p.Next = 99 },
		"no entries":     func(p *pointState) { p.TimeIndex = -1 },
	} {
		st := golden()[2][0]
		require.NoError(t, st.check())
		change(st.Indexed)
		require.Error(t, st.check(), name)
	}
}

// … and so are producers at an offset of which it does not speak.
func TestStateProducersBeyond(t *testing.T) {
	for _, offset := range []int64{-1, 99, 201} {
		st := golden()[3][0]
		require.NoError(t, st.check())
		st.Producers.Offset = offset
		require.Error(t, st.check(), offset)
	}
}

// Nor is a journal believed that says what none can.
func TestStateJournalBeforeTheBeginning(t *testing.T) {
	for _, b := range []boundState{{Base: -1}, {Size: -1}} {
		st := golden()[3][1]
		require.NoError(t, st.check())
		st.Journal = &b
		require.Error(t, st.check())
	}
}

// A log's line is kept for as long as it says what the log's state is, and no longer.
func TestStateLineFollows(t *testing.T) {
	d := journalDir(t, disk.NewCrashable(1), func(o *Options) { o.checkpointBytes = 1 })
	l := d.open(0, func(c *Config) { c.IndexIntervalBytes, c.RemoteStorage = 100, false })
	put := func() error {
		for range 10 {
			appendTo(t, l, batch(1, 100, startMs))
		}
		return l.Sync()
	}
	require.NoError(t, put())
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"append", put},
		{"checkpoint", func() error { return d.checkpoint(allLogsDue) }},
		{"producers", func() error {
			noteProducers([]*Log{l}, notedBytes)
			return nil
		}},
		{"roll", func() error { return errors.Join(l.Roll(), l.Sync()) }},
		{"append again", put},
		{"epoch", func() error { return l.AssignEpoch(1, -1) }},
		{"start", func() error { return l.AdvanceStart(2) }},
		{"index of a full segment", func() error {
			cfg := *l.config()
			cfg.IndexIntervalBytes = 1000
			l.SetConfig(&cfg)
			return l.segments()[0].rebuild()
		}},
		{"replaced", func() error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.replacing = l.segments()[0]
			return nil
		}},
		{"not replaced", func() error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.replacing = nil
			return nil
		}},
		{"trim", func() error { _, err := l.Trim(l.active().base, "test"); return err }},
		{"truncate", func() error { return l.Truncate(l.End() - 3) }},
		{"reset", func() error { return l.Reset(1000, nil, nil) }},
	} {
		before, err := l.stateLine()
		require.NoError(t, err)
		same, err := l.stateLine()
		require.NoError(t, err)
		require.Same(t, &before[0], &same[0], "%s: made twice", step.name)
		require.NoError(t, step.do(), step.name)
		want, err := l.state().encode()
		require.NoError(t, err)
		got, err := l.stateLine()
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), step.name)
		require.NotEqual(t, string(before), string(got), step.name)
	}
	require.NoError(t, d.Close())
}

func FuzzDecodeState(f *testing.F) {
	for version := range golden() {
		file, err := os.ReadFile(fmt.Sprint("testdata/state.v", version))
		require.NoError(f, err)
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		logs, err := decodeState(b)
		if err != nil {
			return
		}
		for _, l := range logs {
			require.NoError(t, l.check())
		}
	})
}
