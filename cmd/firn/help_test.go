package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/cmd/firn/config"
)

// parse gives what a command line prints, as help, and the error in it.
func parse(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var c cli
	var out bytes.Buffer
	ended := false
	parser := newParser(&c, kong.Writers(&out, &out), kong.Exit(func(int) { ended = true }))
	ctx, err := parser.Parse(args)
	if ended {
		return out.String(), nil
	}
	if err == nil {
		err = misplaced(ctx)
	}
	return out.String(), err
}

// Every command's help names the defaults and the allowed values, and only those general flags that do something.
func TestHelp(t *testing.T) {
	for command, general := range map[string][]string{
		"":               {"--bootstrap", "--admin", "--output"},
		"dev":            nil,
		"broker":         nil,
		"config":         {"--output"},
		"config show":    {"--output"},
		"config check":   {"--output"},
		"config import":  {"--output"},
		"topic":          {"--bootstrap", "--output"},
		"topic create":   {"--bootstrap", "--output"},
		"topic list":     {"--bootstrap", "--output"},
		"topic describe": {"--bootstrap", "--output"},
		"topic delete":   {"--bootstrap", "--output"},
		"produce":        {"--bootstrap", "--output"},
		"consume":        {"--bootstrap", "--output"},
		"tier":           {"--admin", "--output"},
		"tier status":    {"--admin", "--output"},
		"tier explain":   {"--admin", "--output"},
		"segment dump":   {"--output"},
		"version":        {"--output"},
	} {
		help, err := parse(t, append(strings.Fields(command), "--help")...)
		require.NoError(t, err, command)
		for _, flag := range []string{"--bootstrap", "--admin", "--output"} {
			require.Equal(t, strings.Contains(strings.Join(general, " "), flag), strings.Contains(help, flag+"="), "%s in the help of %q", flag, command)
		}
	}
	words := func(command string) string {
		help, err := parse(t, command, "--help")
		require.NoError(t, err)
		return strings.Join(strings.Fields(help), " ")
	}
	for _, k := range config.Keys() { // the flags of a broker are those of the table, with all that it says
		for _, command := range []string{"dev", "broker"} {
			require.Contains(t, words(command), "--"+k.Flag+"="+k.Placeholder)
			require.Contains(t, words(command), "or $"+k.Env+")")
			require.Contains(t, words(command), k.Default+k.Unset)
		}
	}
	require.Contains(t, words("config"), "--all ")
	require.Contains(t, words("config"), "--config=FILE")
	require.Contains(t, words("dev"), "one of debug, info, warn, error; default warn")
	require.Contains(t, words("produce"), "one of none, gzip, snappy, lz4, zstd; default none")
	require.Contains(t, words("consume"), "or $FIRN_BOOTSTRAP")
}

// General flags stand before a command and after it, but not on the broker's own command line.
func TestGeneralFlags(t *testing.T) {
	for _, args := range []string{"--bootstrap x:1 --admin y:2 topic list", "topic list --bootstrap x:1", "topic --bootstrap x:1 list", "--bootstrap x:1 version"} {
		_, err := parse(t, strings.Fields(args)...)
		require.NoError(t, err, args)
	}
	_, err := parse(t, "--bootstrap", "x:1", "dev")
	require.ErrorContains(t, err, "--bootstrap is for the commands that talk to a broker")
	_, err = parse(t, "broker", "-o", "json")
	require.ErrorContains(t, err, "--output is for the commands that talk to a broker; firn broker is the broker")
	_, err = parse(t, "config", "-o", "yaml", "--kafka", ":9092")
	require.NoError(t, err)
	for _, command := range []string{"topic list", "config check", "version"} {
		_, err = parse(t, append(strings.Fields(command), "-o", "yaml")...)
		require.ErrorContains(t, err, "--output yaml is for firn config; firn "+command+" has table and json")
	}
}

// A wrong value is answered with what would be right.
func TestWrongValues(t *testing.T) {
	for args, want := range map[string]string{
		"produce t --timestamp nonsense": "such as 2024-05-01T12:00:00Z",
		"consume t --from nonsense":      "want earliest, latest, an offset",
		"consume t --to=-5":              "offset -5 is negative",
		"produce t --acks 2":             `must be one of "all","1","0"`,
	} {
		_, err := parse(t, strings.Fields(args)...)
		require.ErrorContains(t, err, want, args)
	}
}
