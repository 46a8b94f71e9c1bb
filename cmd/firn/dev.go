package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/firnlog/firn/broker/node"
)

// devCmd is a broker for whoever tries firn: nothing needs to be said, and it tells what to try next.
type devCmd struct {
	brokerFlags
}

func (d *devCmd) Run() error {
	e, err := d.load()
	if err != nil {
		return err
	}
	return runBroker(e.Config, func(n *node.Node, _ slog.Handler) { greet(n, e.Config.Data) })
}

// greet says how to connect and what to try next.
func greet(n *node.Node, data string) {
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
`, n.KafkaAddr(), n.StoreURL(), data, n.HTTPAddr(), n.Capacity(), firn, firn, firn)
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
