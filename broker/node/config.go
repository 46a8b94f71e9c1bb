package node

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"

	"github.com/firnlog/firn/metadata"
)

// Config of a broker. DataDir, KafkaAddr and HTTPAddr are needed.
type Config struct {
	BrokerID int32 // node.id, from 0 on

	DataDir     string // everything but the metadata, unless MetadataDir is elsewhere
	MetadataDir string // the embedded etcd's folder; DataDir/metadata if empty

	KafkaAddr      string // where to listen for clients, host:port
	AdvertisedAddr string // what clients are told; KafkaAddr if empty
	HTTPAddr       string // where to listen for /metrics and /v1

	StoreURL      string   // the archive; a folder under DataDir if empty
	EtcdEndpoints []string // an etcd that runs apart; embedded if empty

	// Settings are broker configs by Kafka's names, and firn's own (brokerconfig). Those that follow from the fields above,
	// such as listeners, are refused.
	Settings map[string]string

	Version string       // of firn, announced with the registration
	Logger  *slog.Logger // nil: slog.Default()
}

func (c Config) withDefaults() Config {
	if c.MetadataDir == "" {
		c.MetadataDir = filepath.Join(c.DataDir, "metadata")
	}
	if c.StoreURL == "" {
		abs, err := filepath.Abs(c.DataDir)
		if err != nil {
			abs = c.DataDir // only without a working directory; opening the folder says so
		}
		c.StoreURL = "dir://" + filepath.ToSlash(filepath.Join(abs, "store"))
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func (c Config) logDir() string { return filepath.Join(c.DataDir, "log") }

// absoluteLogDir is the log directory as clients are told of it.
func (c Config) absoluteLogDir() string {
	abs, err := filepath.Abs(c.logDir())
	if err != nil {
		return c.logDir() // only without a working directory; opening the folder says so
	}
	return abs
}

func (c Config) cacheDir() string { return filepath.Join(c.DataDir, "cache") }
func (c Config) spoolDir() string { return filepath.Join(c.DataDir, "spool") }

// advertised gives the listener that clients are told to come to: what was asked for, else where the broker
// listens, unless that is every address, which no client can connect to.
func (c Config) advertised(bound net.Addr) (metadata.Listener, error) {
	addr := c.AdvertisedAddr
	if addr == "" {
		addr = c.KafkaAddr
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return metadata.Listener{}, fmt.Errorf("address %q: want host:port: %w", addr, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return metadata.Listener{}, fmt.Errorf("address %q: the port is no number up to 65535", addr)
	}
	if tcp, ok := bound.(*net.TCPAddr); ok && port == 0 {
		port = uint64(tcp.Port)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return metadata.Listener{Name: "PLAINTEXT", Host: host, Port: int32(port), Protocol: "PLAINTEXT"}, nil
}
