// Command bench measures firn beside Apache Kafka and beside the least programs that could do the same work, in one run:
// see the README's "Numbers". Absolute figures tell of the machine; compare within one run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	o := Options{Progress: os.Stderr, Table: os.Stdout}
	list := flag.Bool("list", false, "print the cases and end")
	only := flag.String("case", ".", "run the cases whose names match this regular expression")
	sides := flag.String("side", ".", "run the sides whose names match this regular expression")
	flag.IntVar(&o.Alternations, "alternations", 9, "how often each side has a round; bars need nine")
	flag.DurationVar(&o.Round, "round", 10*time.Second, "how long a round is at least")
	flag.Int64Var(&o.Bytes, "bytes", 2<<30, "how many bytes the reading cases read")
	flag.Int64Var(&o.Warm, "warm", 3<<30, "how many bytes warm Kafka at least before its first round; 0: none")
	flag.StringVar(&o.Binary, "firn", "", "measure this binary instead of building firn from the sources here")
	flag.StringVar(&o.Out, "out", "e2e/bench/results", "folder for the results")
	flag.BoolVar(&o.Resume, "resume", false, "keep the results that are in the folder, and run only the other cases")
	flag.BoolVar(&o.Perf, "perf", false, "give each firn of a case one more round, uncounted, and write a CPU profile of it; takes perf")
	flag.Parse()
	var err error
	if o.Cases, err = regexp.Compile(*only); err == nil {
		o.Sides, err = regexp.Compile(*sides)
	}
	if err == nil {
		if *list {
			for _, c := range cases() {
				if o.Cases.MatchString(c.Name) {
					fmt.Printf("%-50s %s\n", c.Name, c.About)
				}
			}
			return
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
