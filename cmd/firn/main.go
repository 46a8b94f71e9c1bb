// Command firn is the whole of firn in one binary: the broker and the tools to work with it. Each
// subcommand is a small file of its own; none holds logic that a package could hold.
package main

import (
	"errors"
	"fmt"
	"os"
)

// cli is the command tree; kong fills it from the arguments. The flags here may stand before a command and after it;
// the tag uses says which of them mean something to a command, and so are in its help.
type cli struct {
	Bootstrap []string `help:"Brokers to connect to (several: with commas)." default:"127.0.0.1:9092" env:"FIRN_BOOTSTRAP" placeholder:"HOST:PORT"`
	Admin     string   `help:"The broker's HTTP address, for what Kafka's protocol has no call for." default:"127.0.0.1:9644" env:"FIRN_ADMIN" placeholder:"HOST:PORT"`
	Output    string   `help:"How to print: table for people, json for scripts; firn config knows yaml too." enum:"table,json,yaml" default:"table" short:"o"`

	Dev     devCmd     `cmd:"" help:"Run one broker with everything it needs in this process (etcd included)."`
	Broker  brokerCmd  `cmd:"" help:"Run a broker as its configuration says."`
	Config  configCmd  `cmd:"" help:"Show and check a broker's configuration; take over one of Kafka's."`
	Topic   topicCmd   `cmd:"" help:"Create, list, describe and delete topics."`
	Produce produceCmd `cmd:"" help:"Write lines from standard input to a topic." uses:"bootstrap,output"`
	Consume consumeCmd `cmd:"" help:"Read records of a topic, from any moment of its history." uses:"bootstrap,output"`
	Group   groupCmd   `cmd:"" help:"List, describe, reset and delete consumer groups."`
	Tier    tierCmd    `cmd:"" help:"See what of a topic is on local disk and what is in object storage."`
	Segment segmentCmd `cmd:"" help:"Look inside a segment, local or archived."`
	Version versionCmd `cmd:"" help:"Print version, commit and Go version." uses:"output"`
	Docs    docsCmd    `cmd:"" hidden:"" help:"Renew the parts of the documentation that follow from the code."`
}

func main() {
	var c cli
	parser := newParser(&c)
	args := os.Args[1:]
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help":
		args = append(args[1:], "--help")
	}
	kctx, err := parser.Parse(args)
	if err == nil {
		err = misplaced(kctx)
	}
	if err != nil {
		fail(complaint(err))
	}
	if err := kctx.Run(&c); err != nil && !errors.Is(err, errInterrupted) {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "firn: "+err.Error())
	os.Exit(1)
}
