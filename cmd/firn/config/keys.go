// Package config is firn's configuration: one table of keys, from which the YAML file, the environment, the flags,
// the documentation and `firn config` all follow. What is said later wins: defaults, the file, the environment, flags;
// every value knows where it comes from. Reading is strict (I-33): an unknown key, a bad value, a key given twice or
// of the wrong shape is an error that names place, key, value and what is allowed. Broker configs by Kafka's names
// stand in the section settings and are judged by metadata/brokerconfig.
//
// Import translates Kafka's server.properties into such a file. The package does no I/O but for reading the one file,
// and asking for the working directory and the home folder where a path is relative to them.
package config

import (
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is what a broker is started with.
type Config struct {
	BrokerID    int32
	Data        string // absolute
	Kafka       string // host:port to listen on
	Advertise   string // host:port; "" means Kafka
	HTTP        string // host:port to listen on
	Store       string // URL; "" means a folder under Data
	Endpoints   []string
	MetadataDir string // absolute; "" means a folder under Data

	ArchiveGrace, ArchiveInterval, ArchiveDeleteDelay time.Duration

	LogLevel  slog.Level
	LogFormat string // text or json

	Settings map[string]string // broker configs by Kafka's names
}

// Key describes one key of the configuration.
type Key struct {
	Name        string // section.key, as in the file
	Env         string // the variable that sets it
	Flag        string // the flag that sets it, without dashes
	Type        string // string, int, list, duration, path
	Placeholder string // of the flag
	Default     string // as it would be written; "" when Unset says what holds
	Unset       string // what holds while it has no value
	Allowed     string // completes "… is not allowed: it is …"
	Doc         string // one or two sentences

	put func(c *Config, value string) bool // stores a value; false if it is not allowed
}

// The names of the keys that code refers to.
const (
	BrokerID    = "broker.id"
	Data        = "broker.data"
	Kafka       = "broker.kafka"
	Advertise   = "broker.advertise"
	HTTP        = "broker.http"
	Store       = "store.url"
	Endpoints   = "metadata.endpoints"
	MetadataDir = "metadata.dir"

	// Settings is the section that holds broker configs by Kafka's names.
	Settings = "settings"
	// SetFlag is the flag that sets one of them, as name=value.
	SetFlag = "set"
	// SettingEnv begins the variables that set them: FIRN_SETTING_NUM_PARTITIONS is num.partitions.
	SettingEnv = "FIRN_SETTING_"
	// FileEnv is the variable that names the file.
	FileEnv = "FIRN_CONFIG"
)

const (
	typePath     = "path"
	typeList     = "list"
	address      = "HOST:PORT, such as 127.0.0.1:9092"
	aTime        = "a time above 0, such as 90s, 15m or 168h"
	aPath        = "the path of a folder"
	addressPlace = "HOST:PORT"
)

var keys = []Key{
	{Name: BrokerID, Env: "FIRN_BROKER_ID", Flag: "broker-id", Type: "int", Placeholder: "ID", Default: "1", Allowed: "a number from 0 to 2147483647",
		Doc: "The broker's number in its cluster (Kafka: node.id).",
		put: func(c *Config, v string) bool {
			n, err := strconv.ParseInt(v, 10, 32)
			c.BrokerID = int32(n)
			return err == nil && n >= 0
		}},
	{Name: Data, Env: "FIRN_DATA", Flag: "data", Type: typePath, Placeholder: "DIR", Default: "./firn-data", Allowed: aPath,
		Doc: "Folder for everything that the broker keeps. firn broker wants it named.",
		put: text(func(c *Config) *string { return &c.Data })},
	{Name: Kafka, Env: "FIRN_KAFKA", Flag: "kafka", Type: "string", Placeholder: addressPlace, Default: "127.0.0.1:9092", Allowed: address,
		Doc: "Where Kafka clients connect; without a host, on every address (Kafka: listeners).",
		put: listen(func(c *Config) *string { return &c.Kafka })},
	{Name: Advertise, Env: "FIRN_ADVERTISE", Flag: "advertise", Type: "string", Placeholder: addressPlace, Unset: "the address of broker.kafka", Allowed: "HOST:PORT, such as broker.example:9092",
		Doc: "The address that clients are told to come back to (Kafka: advertised.listeners).",
		put: func(c *Config, v string) bool {
			c.Advertise = v
			host, ok := splitAddress(v)
			return ok && host != ""
		}},
	{Name: HTTP, Env: "FIRN_HTTP", Flag: "http", Type: "string", Placeholder: addressPlace, Default: "127.0.0.1:9644", Allowed: "HOST:PORT, such as 127.0.0.1:9644",
		Doc: "Where metrics, health and the tier commands are served.",
		put: listen(func(c *Config) *string { return &c.HTTP })},
	{Name: Store, Env: "FIRN_STORE", Flag: "store", Type: "string", Placeholder: "URL", Unset: "the folder store under broker.data",
		Allowed: "dir:///path, s3://bucket/prefix?region=… or minio://host:port/bucket/prefix?secure=false; credentials do not go in it, but in the environment or a file",
		Doc:     "Object store of the archive: dir:///path, s3://bucket/prefix?region=..., minio://host:port/bucket/prefix?secure=false.",
		put: func(c *Config, v string) bool {
			c.Store = v
			u, err := url.Parse(v)
			return err == nil && u.User == nil && u.Opaque == "" && slices.Contains([]string{"dir", "s3", "minio"}, u.Scheme)
		}},
	{Name: Endpoints, Env: "FIRN_ETCD", Flag: "etcd", Type: typeList, Placeholder: "ENDPOINTS", Unset: "an etcd in the broker's process",
		Allowed: "endpoints of etcd separated by commas, each HOST:PORT or http://HOST:PORT or https://HOST:PORT, without a user or password",
		Doc:     "Endpoints of an etcd that runs already; without, one runs in this process.",
		put: func(c *Config, v string) bool {
			c.Endpoints = splitList(v)
			return len(c.Endpoints) > 0 && !slices.ContainsFunc(c.Endpoints, func(e string) bool { return !isEndpoint(e) })
		}},
	{Name: MetadataDir, Env: "FIRN_METADATA_DIR", Flag: "metadata-dir", Type: typePath, Placeholder: "DIR", Unset: "the folder metadata under broker.data", Allowed: aPath,
		Doc: "Folder for the etcd in this process, if not under broker.data: best on a disk of its own.",
		put: text(func(c *Config) *string { return &c.MetadataDir })},
	{Name: "archive.grace", Env: "FIRN_ARCHIVE_GRACE", Flag: "archive-grace", Type: "duration", Placeholder: "TIME", Default: "1h", Allowed: aTime,
		Doc: "How long an object stays in the store after nothing names it any more.",
		put: duration(func(c *Config) *time.Duration { return &c.ArchiveGrace })},
	{Name: "archive.interval", Env: "FIRN_ARCHIVE_INTERVAL", Flag: "archive-interval", Type: "duration", Placeholder: "TIME", Default: "1m", Allowed: aTime,
		Doc: "How often the archive is tended: retention, folding, objects to delete.",
		put: duration(func(c *Config) *time.Duration { return &c.ArchiveInterval })},
	{Name: "archive.delete-delay", Env: "FIRN_ARCHIVE_DELETE_DELAY", Flag: "archive-delete-delay", Type: "duration", Placeholder: "TIME", Default: "168h", Allowed: aTime,
		Doc: "How long the archive of a deleted topic is kept.",
		put: duration(func(c *Config) *time.Duration { return &c.ArchiveDeleteDelay })},
	{Name: "log.level", Env: "FIRN_LOG_LEVEL", Flag: "log-level", Type: "string", Placeholder: "LEVEL", Default: "warn", Allowed: "one of debug, info, warn, error",
		Doc: "How much to log; kafka-configs can change it while the broker runs.",
		put: func(c *Config, v string) bool {
			return slices.Contains([]string{"debug", "info", "warn", "error"}, v) && c.LogLevel.UnmarshalText([]byte(v)) == nil
		}},
	{Name: "log.format", Env: "FIRN_LOG_FORMAT", Flag: "log-format", Type: "string", Placeholder: "FORMAT", Default: "text", Allowed: "one of text, json",
		Doc: "How to log: for people or for machines.",
		put: func(c *Config, v string) bool {
			c.LogFormat = v
			return v == "text" || v == "json"
		}},
}

// Keys gives every key in the order of the file. The slice must not be changed. Broker configs, which stand in the
// section settings, are not among them: metadata/brokerconfig lists those.
func Keys() []Key { return keys }

// Lookup finds a key by its name in the file.
func Lookup(name string) (Key, bool) {
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })
	if i < 0 {
		return Key{}, false
	}
	return keys[i], true
}

// Section is the part of the key's name before the dot, and Short the part after it.
func (k Key) Section() string { section, _, _ := strings.Cut(k.Name, "."); return section }

// Short is the key's name within its section.
func (k Key) Short() string { _, short, _ := strings.Cut(k.Name, "."); return short }

// Choices are the values of a key that allows only a few, else nil.
func (k Key) Choices() []string {
	if list, ok := strings.CutPrefix(k.Allowed, "one of "); ok {
		return splitList(list)
	}
	return nil
}

// show gives a value for messages and listings: clipped, and without what may be a password.
func (k Key) show(value string) string {
	if (k.Name == Store || k.Name == Endpoints) && strings.Contains(value, "@") {
		return "(hidden, for it may hold a password)"
	}
	return clip(value)
}

func text(field func(*Config) *string) func(*Config, string) bool {
	return func(c *Config, v string) bool {
		*field(c) = v
		return v != "" && !strings.ContainsRune(v, 0)
	}
}

func listen(field func(*Config) *string) func(*Config, string) bool {
	return func(c *Config, v string) bool {
		*field(c) = v
		_, ok := splitAddress(v)
		return ok
	}
}

func duration(field func(*Config) *time.Duration) func(*Config, string) bool {
	return func(c *Config, v string) bool {
		d, err := time.ParseDuration(v)
		*field(c) = d
		return err == nil && d > 0
	}
}

func splitAddress(v string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(v)
	if err != nil || strings.ContainsAny(host, " /@\t\r\n") {
		return "", false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return host, err == nil
}

func isEndpoint(e string) bool {
	rest := e
	for _, scheme := range []string{"http://", "https://"} {
		rest = strings.TrimPrefix(rest, scheme)
	}
	host, ok := splitAddress(strings.TrimSuffix(rest, "/"))
	return ok && host != ""
}

func splitList(v string) (list []string) {
	for _, s := range strings.Split(v, ",") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// clip keeps a long value from filling a message.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
