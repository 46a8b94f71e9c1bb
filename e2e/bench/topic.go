package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

// Mode says what an acknowledged record has behind it.
type Mode string

// The modes.
const (
	Flush     Mode = "flush"      // it is flushed to the device (flush.messages=1): firn's default
	PageCache Mode = "page cache" // it is written, and flushed when the system likes: Kafka's default
)

// notArchived says in a case's text what configs makes of its topics.
const notArchived = " Nothing of it goes to firn's archive (remote.storage.enable=false); what that costs is case g."

// configs are those of a topic in the mode, without an archive. Retention would have Kafka delete the records, whose times
// are in the past, from under a case of five minutes.
func (m Mode) configs(s *Server) map[string]string {
	c := map[string]string{"flush.messages": "1", "retention.ms": "-1"}
	if m == PageCache {
		c["flush.messages"] = fmt.Sprint(int64(never))
	}
	if s.HTTP != "" {
		c["remote.storage.enable"] = "false" // Kafka's is off and may not be named without remote storage in the cluster
	}
	return c
}

// admin calls fn with an admin client of the server.
func (s *Server) admin(fn func(*kadm.Client) error) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	return fn(kadm.NewClient(cl))
}

// CreateTopic makes a topic and waits until each of its partitions answers: Kafka answers before its logs are open.
func (s *Server) CreateTopic(ctx context.Context, topic string, partitions int, configs map[string]string) error {
	values := make(map[string]*string, len(configs))
	for k, v := range configs {
		values[k] = &v
	}
	return s.admin(func(a *kadm.Client) error {
		answer, err := a.CreateTopic(ctx, int32(partitions), 1, values, topic)
		if err != nil {
			return fmt.Errorf("create %s on %s: %w %s", topic, s.Name, err, answer.ErrMessage)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			ends, err := a.ListEndOffsets(ctx, topic)
			if err == nil {
				err = ends.Error()
			}
			if err == nil && len(ends[topic]) == partitions {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("topic %s is not served by %s after a minute: %w", topic, s.Name, err)
			}
		}
	})
}

// Ends gives the end offset of each partition of a topic.
func (s *Server) Ends(ctx context.Context, topic string) ([]int64, error) {
	var ends []int64
	err := s.admin(func(a *kadm.Client) error {
		listed, err := a.ListEndOffsets(ctx, topic)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return fmt.Errorf("end offsets of %s on %s: %w", topic, s.Name, err)
		}
		ends = make([]int64, len(listed[topic]))
		for p, o := range listed[topic] {
			ends[p] = o.Offset
		}
		return nil
	})
	return ends, err
}

// DeleteTopic deletes a topic and waits until its bytes are gone from the disk.
func (s *Server) DeleteTopic(ctx context.Context, topic string) error {
	err := s.admin(func(a *kadm.Client) error {
		_, err := a.DeleteTopic(ctx, topic)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			err = nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete %s on %s: %w", topic, s.Name, err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left, err := s.folders(topic)
		if err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s still has %d folders of %s two minutes after it was deleted", s.Name, left, topic)
		}
	}
}

// folders counts the partitions of a topic that are on disk, those that are being deleted among them.
func (s *Server) folders(topic string) (int, error) {
	entries, err := os.ReadDir(s.Logs)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), topic+"-") {
			n++
		}
	}
	return n, nil
}

// settle writes back what the file system of the run has dirty, so that no round pays for the one before it. Rounds too
// short to tell anything do without: it waits for what everybody else wrote, too.
func (b *Bench) settle() error {
	if b.Round < time.Second {
		return nil
	}
	d, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("write back what the round left: %w", err)
	}
	return nil
}
