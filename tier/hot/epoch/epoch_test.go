package epoch

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func must(t interface{ Fatal(...any) }, entries ...Entry) Cache {
	c, err := New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNew(t *testing.T) {
	for _, bad := range [][]Entry{
		{{-1, 0}}, {{0, -1}}, {{1, 0}, {1, 5}}, {{2, 0}, {1, 5}}, {{1, 5}, {2, 5}}, {{1, 5}, {2, 4}},
	} {
		if _, err := New(bad); !errors.Is(err, ErrOrder) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	in := []Entry{{1, 0}, {3, 10}}
	c := must(t, in...)
	in[0].Start = 7
	c.Entries()[1].Start = 8
	if !slices.Equal(c.Entries(), []Entry{{1, 0}, {3, 10}}) {
		t.Error("the cache shares its entries with the caller")
	}
}

func TestAssign(t *testing.T) {
	base := []Entry{{1, 0}, {3, 10}, {5, 20}}
	for _, c := range []struct {
		name    string
		epoch   int32
		start   int64
		want    []Entry
		changed bool
	}{
		{"newer", 6, 30, []Entry{{1, 0}, {3, 10}, {5, 20}, {6, 30}}, true},
		{"latest again, later", 5, 25, base, false},
		{"latest again, same", 5, 20, base, false},
		{"latest, earlier", 5, 15, []Entry{{1, 0}, {3, 10}, {5, 15}}, true},
		{"newer, where the latest wrote nothing", 6, 20, []Entry{{1, 0}, {3, 10}, {6, 20}}, true},
		{"newer, inside an older one", 6, 5, []Entry{{1, 0}, {6, 5}}, true},
		{"older than the latest", 4, 30, []Entry{{1, 0}, {3, 10}, {4, 30}}, true},
		{"oldest of all", 0, 0, []Entry{{0, 0}}, true},
		{"no epoch", -1, 30, base, false},
		{"no offset", 9, -1, base, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := must(t, base...)
			got, changed := before.Assign(c.epoch, c.start)
			if changed != c.changed || !slices.Equal(got.Entries(), c.want) {
				t.Errorf("%v, %v; want %v, %v", got.Entries(), changed, c.want, c.changed)
			}
			if !slices.Equal(before.Entries(), base) {
				t.Errorf("the cache itself was changed to %v", before.Entries())
			}
		})
	}
	// Two caches made from one must not write over each other.
	one, _ := must(t, base...).TruncateFromEnd(20)
	a, _ := one.Assign(7, 30)
	b, _ := one.Assign(8, 40)
	if a.At(35) != 7 || b.At(45) != 8 {
		t.Errorf("shared entries: %v, %v", a.Entries(), b.Entries())
	}
}

func TestEndFor(t *testing.T) {
	c := must(t, []Entry{{2, 5}, {4, 10}, {7, 20}}...)
	for _, q := range []struct {
		asked int32
		epoch int32
		end   int64
	}{
		{-1, -1, -1}, // undefined
		{0, 0, 5},    // older than all: what it wrote is gone
		{1, 1, 5},    //
		{2, 2, 10},   // known
		{3, 2, 10},   // between: the one before
		{4, 4, 20},   //
		{6, 4, 20},   //
		{7, 7, 33},   // latest: the log end
		{8, -1, -1},  // newer than all
	} {
		if e, end := c.EndFor(q.asked, 33); e != q.epoch || end != q.end {
			t.Errorf("epoch %d: (%d, %d), want (%d, %d)", q.asked, e, end, q.epoch, q.end)
		}
	}
	for _, asked := range []int32{-1, 0, 3} {
		if e, end := (Cache{}).EndFor(asked, 33); e != -1 || end != -1 {
			t.Errorf("empty cache, epoch %d: (%d, %d)", asked, e, end)
		}
	}
}

func TestAt(t *testing.T) {
	c := must(t, []Entry{{2, 5}, {4, 10}}...)
	for at, want := range map[int64]int32{-1: -1, 0: -1, 4: -1, 5: 2, 9: 2, 10: 4, 1 << 60: 4} {
		if got := c.At(at); got != want {
			t.Errorf("offset %d: epoch %d, want %d", at, got, want)
		}
	}
}

func TestTruncate(t *testing.T) {
	base := []Entry{{2, 5}, {4, 10}, {7, 20}}
	for at, want := range map[int64][]Entry{
		-1: base, 0: {}, 5: {}, 6: base[:1], 10: base[:1], 11: base[:2], 20: base[:2], 21: base, 100: base,
	} {
		got, changed := must(t, base...).TruncateFromEnd(at)
		if !slices.Equal(got.Entries(), want) || changed != (len(want) != len(base)) {
			t.Errorf("cut to %d: %v, %v; want %v", at, got.Entries(), changed, want)
		}
	}
	for at, want := range map[int64][]Entry{
		0: base, 4: base, 5: base, 6: {{2, 6}, {4, 10}, {7, 20}}, 10: base[1:], 15: {{4, 15}, {7, 20}},
		20: base[2:], 25: {{7, 25}},
	} {
		got, changed := must(t, base...).TruncateFromStart(at)
		if !slices.Equal(got.Entries(), want) || changed != !slices.Equal(want, base) {
			t.Errorf("start at %d: %v, %v; want %v", at, got.Entries(), changed, want)
		}
	}
	c := must(t, base...)
	for _, r := range []struct {
		from, to int64
		want     []Entry
	}{
		{0, 100, base}, {7, 15, []Entry{{2, 7}, {4, 10}}}, {10, 20, base[1:2]}, {12, 13, []Entry{{4, 12}}}, {0, 5, nil}, {12, 12, nil},
	} {
		if got := c.Range(r.from, r.to).Entries(); !slices.Equal(got, r.want) {
			t.Errorf("range [%d, %d): %v, want %v", r.from, r.to, got, r.want)
		}
	}
	if !slices.Equal(c.Entries(), base) {
		t.Errorf("the cache was changed: %v", c.Entries())
	}
}

func TestFirstDifference(t *testing.T) {
	a := must(t, []Entry{{2, 5}, {4, 10}, {7, 20}}...)
	for _, c := range []struct {
		other    []Entry
		from, to int64
		at       int64
		differ   bool
	}{
		{[]Entry{{2, 5}, {4, 10}, {7, 20}}, 0, 100, 0, false},
		{[]Entry{{2, 5}, {4, 10}, {8, 20}}, 0, 100, 20, true},
		{[]Entry{{2, 5}, {4, 10}, {8, 20}}, 0, 20, 0, false},
		{[]Entry{{2, 5}, {4, 11}, {7, 20}}, 0, 100, 10, true},
		{[]Entry{{2, 5}, {4, 9}, {7, 20}}, 0, 100, 9, true},
		{[]Entry{{4, 12}, {7, 20}}, 12, 100, 0, false}, // an archive whose start was trimmed
		{[]Entry{{4, 12}, {7, 20}}, 11, 100, 11, true},
		{nil, 0, 100, 5, true},
		{nil, 0, 5, 0, false},
	} {
		other := must(t, c.other...)
		at, differ := a.FirstDifference(other, c.from, c.to)
		back, backDiffer := other.FirstDifference(a, c.from, c.to)
		if at != c.at || differ != c.differ || back != at || backDiffer != differ {
			t.Errorf("%v in [%d, %d): (%d, %v), from the other side (%d, %v); want (%d, %v)",
				c.other, c.from, c.to, at, differ, back, backDiffer, c.at, c.differ)
		}
	}
}

// TestModel keeps the epoch of every single offset beside the cache and compares all answers, through leader
// changes, truncations of followers (I-27) and deletion from the start.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Cache
		var wrote []int32 // epoch of each offset of the log, from offset start
		start, current := int64(0), int32(0)
		end := func() int64 { return start + int64(len(wrote)) }
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 4).Draw(t, "n") {
					c, _ = c.Assign(current, end())
					wrote = append(wrote, current)
				}
			},
			"elect": func(t *rapid.T) { current += int32(rapid.IntRange(1, 3).Draw(t, "by")) },
			"cut": func(t *rapid.T) {
				to := rapid.Int64Range(start, end()).Draw(t, "to")
				wrote = wrote[:to-start]
				c, _ = c.TruncateFromEnd(to)
			},
			"delete": func(t *rapid.T) {
				to := rapid.Int64Range(start, end()).Draw(t, "to")
				wrote = wrote[to-start:]
				start = to
				c, _ = c.TruncateFromStart(to)
				if len(wrote) == 0 { // the epoch that covers an empty log's start stays; a new leader may replace it
					c, _ = c.TruncateFromEnd(to)
				}
			},
			"": func(t *rapid.T) {
				if _, err := New(c.Entries()); err != nil {
					t.Fatal(err)
				}
				for i, e := range wrote {
					if got := c.At(start + int64(i)); got != e {
						t.Fatalf("offset %d: epoch %d, want %d", start+int64(i), got, e)
					}
				}
				for asked := int32(-1); asked <= current+1; asked++ {
					e, at := c.EndFor(asked, end())
					wantE, wantAt := modelEnd(wrote, start, asked)
					if e != wantE || at != wantAt {
						t.Fatalf("end of %d: (%d, %d), want (%d, %d) in %v", asked, e, at, wantE, wantAt, fmt.Sprint(start, wrote))
					}
				}
			},
		})
	})
}

// modelEnd is EndFor told by the log itself.
func modelEnd(wrote []int32, start int64, asked int32) (int32, int64) {
	if asked < 0 || len(wrote) == 0 || asked > wrote[len(wrote)-1] {
		return -1, -1
	}
	found := asked
	for i, e := range wrote {
		if e > asked {
			return found, start + int64(i)
		}
		found = e
	}
	return found, start + int64(len(wrote))
}
