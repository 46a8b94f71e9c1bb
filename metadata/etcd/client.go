// Package etcd keeps the cluster's metadata in etcd, and is the only code that knows etcd: the server that
// runs in the broker's process, the connection to one that runs apart, the keys, the transactions, and the
// watches that turn into images and ledgers. It decides nothing: metadata.Plan and ledger.Apply do.
//
// One goroutine follows etcd, owns the mirror from which images are made, and calls watchers. Writers plan
// from the newest image, compare what they planned from in one transaction, and on a conflict wait until the
// image has caught up and plan again. An answer that did not arrive is settled by a linearizable read (I-09).
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/firnlog/firn/metadata"
)

// Client is a connection to etcd, in this process or elsewhere.
type Client struct {
	c        *clientv3.Client
	ops      int // operations that the server allows in one transaction
	log      *slog.Logger
	embedded *Server // nil if it runs elsewhere
}

// ConnectOptions qualify Connect.
type ConnectOptions struct {
	Logger      *slog.Logger  // nil: slog.Default()
	DialTimeout time.Duration // how long Connect waits for an answer; 0 means 5 s
	// MaxTxnOps is etcd's --max-txn-ops; 0 means etcd's default of 128. Larger topics are made in several steps.
	MaxTxnOps int
}

const (
	defaultDialTimeout = 5 * time.Second
	keepAliveTime      = 5 * time.Second
	defaultTxnOps      = 128
)

// Connect reaches an etcd that runs apart, endpoints given as host:port or URLs. The error is a sentence that names
// the endpoints. It warns of settings that will hurt later: a small quota, no space left.
func Connect(ctx context.Context, endpoints []string, o ConnectOptions) (*Client, error) {
	log := o.Logger
	if log == nil {
		log = slog.Default()
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = defaultDialTimeout
	}
	if o.MaxTxnOps == 0 {
		o.MaxTxnOps = defaultTxnOps
	}
	names := strings.Join(endpoints, ",")
	zl, logs := newLogs(log.With("component", "etcd"))
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: o.DialTimeout, Logger: zl,
		DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTime,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: etcd at %s: %w", metadata.ErrUnavailable, names, err)
	}
	cl := &Client{c: c, ops: o.MaxTxnOps, log: log}
	probe, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	if _, err := c.Get(probe, "firn-probe", clientv3.WithCountOnly()); err != nil {
		c.Close() //nolint:errcheck // never used
		return nil, fmt.Errorf("%w: no etcd answers at %s within %s: is it running, and has it a quorum? (%w)", metadata.ErrUnavailable, names, o.DialTimeout, err)
	}
	logs.ready.Store(true)
	cl.warn(probe, endpoints)
	return cl, nil
}

// warn looks, as well as etcd lets clients look, for what will hurt later.
func (c *Client) warn(ctx context.Context, endpoints []string) {
	for _, ep := range endpoints {
		st, err := c.c.Status(ctx, ep)
		if err != nil {
			c.log.Warn("etcd member does not answer", "endpoint", ep, "err", err)
			continue
		}
		if quota := st.DbSizeQuota; quota > 0 && quota < defaultQuota {
			c.log.Warn("etcd's quota is smaller than firn advises (--quota-backend-bytes=8589934592)", "endpoint", ep, "quota", quota)
		}
		for _, e := range st.Errors {
			c.log.Warn("etcd reports a problem", "endpoint", ep, "problem", e)
		}
		if size, used := st.DbSize, st.DbSizeInUse; size > 1<<30 && size > 2*used {
			c.log.Warn("etcd's database is mostly free space: is auto-compaction on, and when was it defragmented?", "endpoint", ep, "bytes", size, "in_use", used)
		}
	}
}

// Close ends the connection; that of an embedded server ends with it.
func (c *Client) Close() error {
	if c.embedded != nil {
		return nil
	}
	return c.c.Close()
}

// alarms asks for alarms that are raised, as a sentence, "" for none.
func (c *Client) alarms(ctx context.Context) (string, error) {
	r, err := c.c.AlarmList(ctx)
	if err != nil {
		return "", err
	}
	for _, a := range r.Alarms {
		switch a.Alarm {
		case pb.AlarmType_NOSPACE:
			return "etcd has reached its quota and refuses edits: compact and defragment it, or raise --quota-backend-bytes, then disarm the alarm", nil
		case pb.AlarmType_CORRUPT:
			return "etcd reports that a member's data is corrupt", nil
		}
	}
	return "", nil
}

func (c *Client) disarm(ctx context.Context) error {
	_, err := c.c.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	return err
}

// outcome sorts the errors of a write.
type outcome int

const (
	refused   outcome = iota // nothing was written and nothing will be
	ambiguous                // it may have been, or may still be, written
)

func classify(err error) outcome {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace), errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrDuplicateKey),
		errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyRequests), errors.Is(err, rpctypes.ErrLeaseNotFound),
		errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrInvalidAuthToken):
		return refused
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted, codes.Unimplemented:
		return refused
	}
	return ambiguous
}

// refusal translates an error that classify calls refused.
func refusal(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %w", metadata.ErrStoreDiskFull, err)
	case errors.Is(err, rpctypes.ErrTooManyRequests):
		return fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", metadata.ErrInvalid, err)
}
