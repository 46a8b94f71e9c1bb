package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
)

// TestReadmeCommands: what the README's "Numbers" has its reader type comes through the shell, make and the shell of make's
// recipe as flags that the bench takes, and that select something.
func TestReadmeCommands(t *testing.T) {
	harness.Need(t, "make")
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, numbers, _ := strings.Cut(string(text), "\n## Numbers\n")
	numbers, _, _ = strings.Cut(numbers, "\n## ")
	commands := regexp.MustCompile("(?m)^    (make bench(?: .*)?)$|`(make bench [^`]+)`").FindAllStringSubmatch(numbers, -1)
	require.GreaterOrEqual(t, len(commands), 5)
	for _, m := range commands {
		command := m[1] + m[2]
		t.Log(command)
		out, err := exec.Command("bash", "-c", `
			make() { env -u MAKEFLAGS make -n --no-print-directory -C ../.. "$@"; }
			go() { printf '%s\n' "$@"; }
			eval "$(`+command+"\n)\"").CombinedOutput()
		require.NoError(t, err, string(out))
		args, found := strings.CutPrefix(string(out), "run\n./e2e/bench\n")
		require.True(t, found, string(out))
		o, _, err := options(strings.FieldsFunc(args, func(r rune) bool { return r == '\n' }))
		require.NoError(t, err)
		assert.True(t, slices.ContainsFunc(cases(), func(c Case) bool {
			return o.Cases.MatchString(c.Name) && slices.ContainsFunc(c.Bars, func(b Bar) bool { return o.Sides.MatchString(b.Side) })
		}), "it selects nothing")
	}
}
