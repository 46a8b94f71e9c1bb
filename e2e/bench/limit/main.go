package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "limit:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("name one of sink, source, reader")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	server, err := start(args[0], args[1:])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-stop
	return server.Close()
}

func start(which string, args []string) (io.Closer, error) {
	f := flag.NewFlagSet(which, flag.ExitOnError)
	addr := f.String("addr", "", "where to listen, host:port")
	switch which {
	case "sink":
		o := sinkOptions{}
		f.StringVar(&o.Dir, "dir", "", "folder of the files")
		f.IntVar(&o.Partitions, "partitions", 1, "partitions")
		f.Int64Var(&o.Bytes, "bytes", 0, "size of all files together (0: 1 GiB)")
		f.BoolVar(&o.Flush, "flush", false, "answer what is durable only")
		_ = f.Parse(args) // exits on an error
		o.Addr = *addr
		return newSink(o)
	case "source":
		o := sourceOptions{}
		f.StringVar(&o.Dir, "dir", "", "log folder")
		_ = f.Parse(args)
		o.Addr = *addr
		return newSource(o)
	case "reader":
		o := readerOptions{}
		f.StringVar(&o.Endpoint, "endpoint", "", "host:port of the store")
		f.StringVar(&o.Bucket, "bucket", "", "bucket")
		f.StringVar(&o.Credentials, "credentials", "", "AWS credentials file")
		f.StringVar(&o.Cache, "cache", "", "folder of the cache files")
		f.Int64Var(&o.CacheBytes, "cache-bytes", 0, "kept in the cache (0: 4 GiB)")
		_ = f.Parse(args)
		o.Addr = *addr
		return newReader(o)
	}
	return nil, fmt.Errorf("%q is none of sink, source, reader", which)
}
