package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/firnlog/firn/broker/node"
	"github.com/firnlog/firn/cmd/firn/config"
)

type brokerCmd struct {
	brokerFlags
}

// drainTime is how long a clean stop may take before what is left is given up.
const drainTime = 30 * time.Second

func (b *brokerCmd) Run() error {
	e, err := b.load()
	if err != nil {
		return err
	}
	if err := e.CheckBroker(); err != nil {
		return err
	}
	return runBroker(e.Config, func(n *node.Node, log slog.Handler) {
		// Whoever started it wants to read that it runs, whatever the level.
		slog.New(log).Info("firn is ready", "version", buildVersion().Version, "broker", e.Config.BrokerID,
			"kafka", n.KafkaAddr(), "http", n.HTTPAddr(), "data", e.Config.Data, "archive", n.StoreURL())
	})
}

// runBroker runs a broker and what tends its archive until SIGINT, SIGTERM or a failure. It calls ready once the
// broker serves.
func runBroker(cfg config.Config, ready func(n *node.Node, log slog.Handler)) error {
	ctx, cancel := interruptible()
	defer cancel()
	if err := refuseKafkasFolder(cfg.Data); err != nil {
		return err
	}
	n, err := node.Start(ctx, node.Config{
		BrokerID: cfg.BrokerID, DataDir: cfg.Data, MetadataDir: cfg.MetadataDir,
		KafkaAddr: cfg.Kafka, AdvertisedAddr: cfg.Advertise, HTTPAddr: cfg.HTTP,
		StoreURL: cfg.Store, EtcdEndpoints: cfg.Endpoints,
		Settings: cfg.Settings, Version: buildVersion().Version, Logger: slog.New(logHandler(cfg, cfg.LogLevel)),
	})
	if err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return err
	}
	collector, err := startCollector(n, cfg)
	if err != nil {
		return stopAfter(n, err)
	}
	ready(n, logHandler(cfg, slog.LevelInfo))
	select {
	case <-ctx.Done():
		err = nil
	case err = <-n.Fatal():
	}
	collector()
	return stopAfter(n, err)
}

func logHandler(cfg config.Config, level slog.Level) slog.Handler {
	if cfg.LogFormat == "json" {
		return slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	}
	return slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})
}

// stopAfter stops the broker cleanly and returns why it ended, or else why it could not stop.
func stopAfter(n *node.Node, cause error) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := n.Stop(ctx); err != nil && cause == nil {
		return err
	}
	return cause
}

// refuseKafkasFolder refuses a data folder that Apache Kafka uses: firn does not read its files, and Kafka would not
// start again with firn's folders among its own.
func refuseKafkasFolder(data string) error {
	_, err := os.Stat(filepath.Join(data, "meta.properties"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return fmt.Errorf("%s is a log folder of Apache Kafka (it has meta.properties): firn does not read it, and Kafka would not start with firn's files in it; choose another with %s", data, config.Data)
}
