// Command bench measures firn beside Apache Kafka and beside the least programs that could do the same work, in one run:
// see the README's "Numbers". Absolute figures tell of the machine; compare within one run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// options reads the command's arguments; list says that the cases are only to be printed.
func options(args []string) (o Options, list bool, err error) {
	o = Options{Progress: os.Stderr, Table: os.Stdout}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&list, "list", false, "print the cases and end")
	only := flags.String("case", ".", "run the cases whose names match this regular expression")
	sides := flags.String("side", ".", "run the sides whose names match this regular expression")
	flags.IntVar(&o.Alternations, "alternations", 9, "how often each side has a round; bars need nine")
	flags.DurationVar(&o.Round, "round", 10*time.Second, "how long a round is at least")
	flags.Int64Var(&o.Bytes, "bytes", 2<<30, "how many bytes the reading cases read")
	flags.Int64Var(&o.Warm, "warm", 3<<30, "how many bytes warm Kafka at least before its first round; 0: none")
	flags.StringVar(&o.Binary, "firn", "", "measure this binary instead of building firn from the sources here")
	flags.StringVar(&o.Out, "out", "e2e/bench/results", "folder for the results")
	flags.BoolVar(&o.Resume, "resume", false, "keep the results in the folder that have as many alternations, and rounds as long, and run only the other cases")
	flags.BoolVar(&o.Perf, "perf", false, "give each firn of a case one more round, uncounted, and write a CPU profile of it; takes perf")
	if err = flags.Parse(args); err != nil {
		return o, list, err
	}
	if o.Cases, err = regexp.Compile(*only); err == nil {
		o.Sides, err = regexp.Compile(*sides)
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("there are flags only, and no %q", flags.Args())
	}
	return o, list, err
}

func main() {
	o, list, err := options(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil && list {
		for _, c := range cases() {
			if o.Cases.MatchString(c.Name) {
				fmt.Printf("%-50s %s\n", c.Name, c.About)
			}
		}
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
