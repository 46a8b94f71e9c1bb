// Command firn is the whole of firn in one binary: the broker and the tools to work with it. Each
// subcommand is a small file of its own; none holds logic that a package could hold.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/kong"
)

// cli is the command tree; kong fills it from the arguments.
type cli struct {
	Bootstrap []string `help:"Brokers to connect to (host:port, comma-separated)." default:"127.0.0.1:9092" env:"FIRN_BOOTSTRAP" placeholder:"HOST:PORT"`
	Admin     string   `help:"The broker's HTTP address, for commands that Kafka's protocol has no call for." default:"127.0.0.1:9644" env:"FIRN_ADMIN" placeholder:"HOST:PORT"`
	Output    string   `help:"How to print: a table for people, json for scripts." enum:"table,json" default:"table" short:"o"`

	Dev     devCmd     `cmd:"" help:"Run one broker with everything it needs in this process (etcd included)."`
	Topic   topicCmd   `cmd:"" help:"Create, list, describe and delete topics."`
	Produce produceCmd `cmd:"" help:"Write lines from standard input to a topic."`
	Consume consumeCmd `cmd:"" help:"Read records of a topic, from any moment of its history."`
	Group   groupCmd   `cmd:"" help:"List, describe, reset and delete consumer groups."`
	Tier    tierCmd    `cmd:"" help:"See what of a topic is on local disk and what is in object storage."`
	Segment segmentCmd `cmd:"" help:"Look inside a segment, local or archived."`
	Version versionCmd `cmd:"" help:"Print version, commit and Go version."`
}

func main() {
	var c cli
	parser := kong.Must(&c,
		kong.Name("firn"),
		kong.Description("A broker that speaks the Kafka protocol and never forgets: hot segments on local disk, all of history in object storage."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
	kctx, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	if err := kctx.Run(&c); err != nil && !errors.Is(err, errInterrupted) {
		fmt.Fprintln(os.Stderr, "firn: "+err.Error())
		os.Exit(1)
	}
}
