package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/firnlog/firn/broker/node"
)

type devCmd struct {
	Data      string            `help:"Folder for everything that the broker keeps." default:"./firn-data" type:"path"`
	Kafka     string            `help:"Where Kafka clients connect." default:"127.0.0.1:9092" env:"FIRN_KAFKA" placeholder:"HOST:PORT"`
	Advertise string            `help:"The address that clients are told to come back to; the same as --kafka if empty." placeholder:"HOST:PORT"`
	HTTP      string            `name:"http" help:"Where metrics, health and the tier commands are served." default:"127.0.0.1:9644" env:"FIRN_HTTP" placeholder:"HOST:PORT"`
	Store     string            `help:"Object store of the archive: dir:///path, s3://bucket/prefix?region=..., minio://host:port/bucket/prefix?secure=false. A folder under --data if empty." placeholder:"URL"`
	Etcd      []string          `help:"Endpoints of an etcd that runs already; without, one runs in this process." placeholder:"ENDPOINTS"`
	Metadata  string            `name:"metadata-dir" help:"Folder for the etcd in this process, if not under --data." type:"path" placeholder:"DIR"`
	Set       map[string]string `name:"set" help:"Broker settings as key=value, by Kafka's names: auto.create.topics.enable, num.partitions, firn.local.disk.target, firn.local.disk.reserve, and defaults of topic configs such as log.retention.ms; repeat for more." short:"c" mapsep:"none" placeholder:"KEY=VALUE"`
	Grace     time.Duration     `name:"archive-grace" help:"How long an object stays in the store after nothing names it any more." default:"1h" placeholder:"TIME"`
	Interval  time.Duration     `name:"archive-interval" help:"How often the archive is tended: retention, objects to delete." default:"1m" placeholder:"TIME"`
	Delay     time.Duration     `name:"archive-delete-delay" help:"How long the archive of a deleted topic is kept." default:"168h" placeholder:"TIME"`
	LogLevel  string            `help:"How much to log." enum:"debug,info,warn,error" default:"warn"`
}

// drainTime is how long a clean stop may take before what is left is given up.
const drainTime = 30 * time.Second

func (d *devCmd) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	var level slog.Level
	if err := level.UnmarshalText([]byte(d.LogLevel)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	n, err := node.Start(ctx, node.Config{
		DataDir: d.Data, MetadataDir: d.Metadata,
		KafkaAddr: d.Kafka, AdvertisedAddr: d.Advertise, HTTPAddr: d.HTTP,
		StoreURL: d.Store, EtcdEndpoints: d.Etcd,
		Settings: d.Set, Version: buildVersion().Version, Logger: logger,
	})
	if err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return err
	}
	collector, err := d.startCollector(n, logger)
	if err != nil {
		return stopAfter(n, err)
	}
	d.greet(n)
	select {
	case <-ctx.Done():
		err = nil
	case err = <-n.Fatal():
	}
	collector()
	return stopAfter(n, err)
}

// listEvery is how often the whole bucket is listed for orphans: seldom, because listing costs, and no more often
// than they can become due.
func (d *devCmd) listEvery() time.Duration { return max(d.Grace, d.Interval) }

// stopAfter stops the broker cleanly and returns why it ended, or else why it could not stop.
func stopAfter(n *node.Node, cause error) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := n.Stop(ctx); err != nil && cause == nil {
		return err
	}
	return cause
}

// greet says how to connect and what to try next.
func (d *devCmd) greet(n *node.Node) {
	firn := ownName()
	if n.KafkaAddr() != "127.0.0.1:9092" {
		firn += " --bootstrap " + n.KafkaAddr()
	}
	if n.HTTPAddr() != "127.0.0.1:9644" {
		firn += " --admin " + n.HTTPAddr()
	}
	fmt.Printf(`firn is ready.

  Kafka clients   %s
  archive         %s
  data            %s
  metrics, health http://%s/metrics
  room for        %s

Try next, in another terminal:

  echo 'hello, firn' | %s produce greetings
  %s consume greetings --from earliest
  %s tier status

Ctrl-C stops it cleanly.
`, n.KafkaAddr(), n.StoreURL(), d.Data, n.HTTPAddr(), n.Capacity(), firn, firn, firn)
}

// ownName is how this program can be called again, from the folder where it was started.
func ownName() string {
	self, err := os.Executable()
	if err != nil {
		return "firn"
	}
	if strings.Contains(filepath.ToSlash(self), "/go-build") { // go run removes its binary at the end
		return "go run ./cmd/firn"
	}
	if found, err := exec.LookPath("firn"); err == nil && found == self {
		return "firn"
	}
	return os.Args[0]
}
