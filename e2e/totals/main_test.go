package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	passes = `{"Action":"output","Package":"a","Test":"T1","Output":"chatter\n"}
{"Action":"pass","Package":"a","Test":"T1","Elapsed":21}
{"Action":"pass","Package":"a","Elapsed":21}
{"Action":"skip","Package":"none"}
`
	skips = `{"Action":"output","Package":"b","Test":"T2","Output":"no such tool here\n"}
{"Action":"skip","Package":"b","Test":"T2"}
{"Action":"pass","Package":"b"}
`
	fails = `{"Action":"output","Package":"c","Test":"T3","Output":"want 1\n"}
{"Action":"fail","Package":"c","Test":"T3"}
{"Action":"fail","Package":"c"}
`
	breaks = `{"ImportPath":"d","Action":"build-output","Output":"undefined: x\n"}
{"Action":"output","Package":"d","Output":"FAIL d [build failed]\n"}
{"Action":"fail","Package":"d","FailedBuild":"d"}
not JSON
`
)

func TestTotals(t *testing.T) {
	for _, c := range []struct {
		name, in, last string
		noSkip, well   bool
	}{
		{"nothing", "", "0 passed, 0 failed, 0 skipped", false, false},
		{"passes", passes, "1 passed, 0 failed, 0 skipped", true, true},
		{"skips", passes + skips, "1 passed, 0 failed, 1 skipped", false, true},
		{"skips in CI", passes + skips, "1 passed, 0 failed, 1 skipped", true, false},
		{"fails", passes + fails, "1 passed, 1 failed, 0 skipped", false, false},
		{"does not build", passes + breaks, "1 passed, 1 failed, 0 skipped", false, false},
		{"fails and does not build", passes + fails + breaks, "1 passed, 2 failed, 0 skipped", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			s := newTotals(&out)
			s.read(strings.NewReader(c.in))
			require.Equal(t, c.well, s.summary(c.noSkip))
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			require.Equal(t, c.last, lines[len(lines)-1])
			for in, words := range map[string]string{passes: "  a T1", skips: "no such tool here", fails: "want 1", breaks: "undefined: x"} {
				require.Equal(t, strings.Contains(c.in, in), strings.Contains(out.String(), words), "%s in %s", words, &out)
			}
			require.NotContains(t, out.String(), "chatter")
		})
	}
}

func TestGroups(t *testing.T) {
	require.Equal(t, [][]string{{"-tags", "x", "./a"}, {"./b"}}, groups([]string{"--", "-tags", "x", "./a", "--", "./b"}))
	require.Equal(t, [][]string{{"./a"}}, groups([]string{"./a"}))
	require.Empty(t, groups(nil))
}
