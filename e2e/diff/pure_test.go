package diff

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// everyVersion is what a broker serves that serves all that kmsg knows.
func everyVersion() versionOf {
	v := versionOf{}
	for _, c := range calls() {
		v[int16(c.key)] = [2]int16{0, c.key.Request().MaxVersion()}
	}
	return v
}

// TestPrograms: a seed gives one program, and those of a full run call everything there is.
func TestPrograms(t *testing.T) {
	seen := map[int16]bool{}
	for seed := range uint64(fullRun) {
		p := generate(seed, everyVersion())
		if again := generate(seed, everyVersion()); p.String() != again.String() {
			t.Fatalf("seed %d gives two programs:\n%s%s", seed, p, again)
		}
		for _, s := range p.steps {
			if s.req != nil {
				seen[s.req.Key()] = true
				if _, err := newNames("prefix-").fill(s); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, c := range calls() {
		if !seen[int16(c.key)] {
			t.Errorf("%s is never called", c.key.Name())
		}
	}
}

func TestCompare(t *testing.T) {
	answer := func(code int16, order ...string) any {
		r := kmsg.NewPtrDeleteGroupsResponse()
		for _, name := range order {
			g := kmsg.NewDeleteGroupsResponseGroup()
			g.Group, g.ErrorCode = name, code
			r.Groups = append(r.Groups, g)
		}
		return newNames("p-").normalTree(treeOf(r))
	}
	if d := compare("X ", answer(0, "p-a", "p-b"), answer(0, "p-b", "p-a")); len(d) > 0 {
		t.Errorf("the order of a list counts: %v", d)
	}
	for _, c := range []struct {
		kafka, firn any
		want        string
	}{
		{map[string]any{"A": []any{}}, map[string]any{"A": nil}, "X A | [] | null"},
		{map[string]any{"A": nil}, map[string]any{"A": []any{}}, "X A | null | []"},
		{map[string]any{"A": ""}, map[string]any{"A": nil}, `X A | "" | null`},
		{answer(0, "p-a"), answer(69, "p-a"), "X Groups[~a].ErrorCode | 0 | 69"},
		{answer(0, "p-a", "p-b"), answer(0, "p-a"), `X Groups[~b] | {Group:"~b"} | absent`},
		{answer(0), answer(0, "p-a"), `X Groups[~a] | absent | {Group:"~a"}`},
	} {
		if d := compare("X ", c.kafka, c.firn); len(d) != 1 || d[0].String() != c.want {
			t.Errorf("%v, want %s", d, c.want)
		}
	}
}

// TestNames: what a broker gives goes into later requests and comes back out of later answers.
func TestNames(t *testing.T) {
	n := newNames("p-")
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.MemberID = "~g0", "@m1"
	join.SetVersion(9)
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID, resp.Generation = "diff-01234567-89ab-cdef-0123-456789abcdef", 7
	n.learn(step{actor: 1, req: join}, resp)
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = "~g0", "@m1", lastGeneration-1
	beat.SetVersion(4)
	req, err := n.fill(step{actor: 1, req: beat})
	if err != nil {
		t.Fatal(err)
	}
	if q := req.(*kmsg.HeartbeatRequest); q.Group != "p-g0" || q.MemberID != resp.MemberID || q.Generation != 6 {
		t.Errorf("filled in: %+v", q)
	}
	if s := n.normalString("p-g0 of " + resp.MemberID); !strings.HasPrefix(s, "~g0 of diff-<member 1.") {
		t.Errorf("normalised: %s", s)
	}
}

// TestJudge: what is not listed is found although what is listed beside it stops the program, and a difference that counts
// only beside another does not count alone.
func TestJudge(t *testing.T) {
	l, err := parseListed("stop P.v* A[*].Code | 0 | 87 | because\nbeside P.v* A[*].Base | * | -1 | the same\n")
	if err != nil {
		t.Fatal(err)
	}
	code, base, other := difference{"P.v7 A[x].Code", "0", "87"}, difference{"P.v7 A[x].Base", "4", "-1"}, difference{"P.v7 A[y].Code", "0", "5"}
	for _, c := range []struct {
		all      []difference
		unlisted int
		stops    bool
	}{
		{[]difference{base, code}, 0, true},
		{[]difference{base}, 1, false},
		{[]difference{base, {"P.v7 A[x].Code", "0", "5"}}, 2, false},
		{[]difference{base, {"P.v7 A[y].Code", "0", "87"}}, 1, true},
		{[]difference{base, code, other}, 1, true},
	} {
		if unlisted, stops := l.judge(c.all); len(unlisted) != c.unlisted || stops != c.stops {
			t.Errorf("%v: not listed %v, stops %v", c.all, unlisted, stops)
		}
	}
}

func TestListed(t *testing.T) {
	l, err := parseListed("# a comment\nCall.v* A[*].{B,C} | {1,2} | * | because\nstop Other.v1 X | 3 | 4 | for once\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		d    difference
		want int
	}{
		{difference{"Call.v7 A[~t0].C", "2", "9"}, 0},
		{difference{"Call.v7 A[~t0].D", "2", "9"}, -1},
		{difference{"Call.v7 A[~t0].B", "3", "9"}, -1},
		{difference{"Other.v1 X", "3", "4"}, 1},
		{difference{"Other.v1 X.Y", "3", "4"}, -1},
	} {
		e := l.find(c.d, []difference{c.d})
		if c.want < 0 && e != nil || c.want >= 0 && e != l.entries[c.want] {
			t.Errorf("%s is listed as %+v", c.d, e)
		}
	}
	if !l.entries[1].stops || l.entries[0].stops {
		t.Error("stop is not read")
	}
	for _, bad := range []string{"a | b | c", "a | b | c | ", "a"} {
		if _, err := parseListed(bad); err == nil {
			t.Errorf("%q is taken for an entry", bad)
		}
	}
}
