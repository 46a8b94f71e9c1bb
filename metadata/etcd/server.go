package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/disk"
)

// EmbeddedOptions configure an etcd server in this process.
type EmbeddedOptions struct {
	Dir    string       // its data; used by one process at a time
	Logger *slog.Logger // nil: slog.Default()
	// Listen is host:port for clients of other processes, "" for none: the server is then reached in process
	// only, and opens no port.
	Listen string
	// QuotaBytes bounds the database; 0 means 8 GiB.
	QuotaBytes int64
}

const (
	defaultQuota = 8 << 30
	maxTxnOps    = 1024 // of an embedded server; an external one has 128 unless told otherwise
	memberName   = "firn"
	tickMs       = 50
	electionMs   = 250
)

// Server is an etcd server with one member that runs in this process. Its data is synced to disk at every
// commit. Should its disk fill up, etcd ends the process: firn keeps a reserve free for that reason, and starts
// again once there is space.
type Server struct {
	etcd   *embed.Etcd
	client *Client
	lock   *os.File
	logs   *logs
	log    *slog.Logger
	quota  int64

	stop context.CancelFunc
	done sync.WaitGroup
	once sync.Once
}

// Embedded starts a server and returns once it serves. metadata.ErrDirectoryLocked, with a sentence, when
// another process uses the folder.
func Embedded(ctx context.Context, o EmbeddedOptions) (*Server, error) {
	log := o.Logger
	if log == nil {
		log = slog.Default()
	}
	if o.QuotaBytes == 0 {
		o.QuotaBytes = defaultQuota
	}
	if err := makeFolder(disk.OS(), o.Dir); err != nil {
		return nil, fmt.Errorf("metadata folder: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	zl, logs := newLogs(log.With("component", "etcd"))
	cfg, err := embedConfig(o)
	if err != nil {
		lock.Close()
		return nil, err
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zl)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("start the metadata store in %s: %w", o.Dir, err)
	}
	s := &Server{etcd: e, lock: lock, logs: logs, log: log, quota: o.QuotaBytes}
	select {
	case <-e.Server.ReadyNotify():
	case err = <-e.Err():
	case <-e.Server.StopNotify():
		err = errors.New("it stopped")
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		s.shut()
		return nil, fmt.Errorf("start the metadata store in %s: %w", o.Dir, err)
	}
	logs.ready.Store(true)
	s.client = &Client{c: v3client.New(e.Server), ops: maxTxnOps, log: log, embedded: s}
	bg, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Go(func() { s.tend(bg) })
	return s, nil
}

// etcdFolder is where etcd keeps everything, in the metadata folder.
const etcdFolder = "etcd"

// makeFolder makes the metadata folder down to the one whose names etcd itself makes durable ("member"): else a power
// cut could take it away with all that was committed.
func makeFolder(fsys disk.FS, dir string) error {
	return disk.MkdirAllSync(fsys, filepath.Join(dir, etcdFolder, "member"), 0o700)
}

func embedConfig(o EmbeddedOptions) (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = memberName, filepath.Join(o.Dir, etcdFolder)
	// A lone member has no peers: the address names it in its own membership and nobody listens there.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, []url.URL{peer}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil
	if o.Listen != "" {
		u, err := url.Parse("http://" + o.Listen)
		if err != nil {
			return nil, fmt.Errorf("metadata listener %q: %w", o.Listen, err)
		}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*u}, []url.URL{*u}
	}
	cfg.InitialCluster = cfg.InitialClusterFromName(memberName)
	cfg.TickMs, cfg.ElectionMs = tickMs, electionMs
	cfg.QuotaBackendBytes, cfg.MaxTxnOps = o.QuotaBytes, maxTxnOps
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, "10m"
	cfg.EnableGRPCGateway = false
	return cfg, nil
}

// Client gives the connection to the server. It ends with the server.
func (s *Server) Client() *Client { return s.client }

// Endpoint is the address at which other processes reach the server, "" if it does not listen.
func (s *Server) Endpoint() string {
	if len(s.etcd.Clients) == 0 {
		return ""
	}
	return s.etcd.Clients[0].Addr().String()
}

// Close stops the server; its data is on disk already. Close the stores on it first.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.logs.ready.Store(false)
		s.stop()
		s.done.Wait()
		s.client.c.Close() //nolint:errcheck // in process: nothing to lose
		s.shut()
	})
	return nil
}

func (s *Server) shut() {
	s.logs.ready.Store(false)
	s.etcd.Close()
	s.lock.Close() // releases the lock, nothing was written
}

// lockDir keeps a second process out with a sentence; etcd itself would wait for the first for ever.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("metadata folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close() // the lock is what failed
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: another firn runs on %s; stop it, or give this one its own folder", metadata.ErrDirectoryLocked, dir)
		}
		return nil, fmt.Errorf("lock metadata folder %s: %w", dir, err)
	}
	return f, nil
}

const (
	tendEvery   = time.Minute
	defragFloor = 64 << 20 // below that much free space inside the file, defragmenting is not worth its pause
)

// tend defragments the database when most of its file is free, and lifts the out-of-space alarm once that helped.
func (s *Server) tend(ctx context.Context) {
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := s.Defragment(ctx, false); err != nil && ctx.Err() == nil {
				s.log.Warn("metadata store could not be defragmented", "err", err)
			}
		}
	}
}

// Defragment gives free space inside the database file back to the file system, if there is much of it or
// force says so. The server answers nothing meanwhile (about a second per GB).
func (s *Server) Defragment(ctx context.Context, force bool) error {
	b := s.etcd.Server.Backend()
	size, used := b.Size(), b.SizeInUse()
	if force || size-used > defragFloor && size > 2*used {
		s.log.Debug("defragmenting the metadata store", "bytes", size, "in_use", used)
		if err := s.etcd.Server.Defragment(); err != nil {
			return err
		}
	}
	if len(s.etcd.Server.Alarms()) > 0 && b.Size() < s.quota/10*9 {
		if err := s.client.disarm(ctx); err != nil {
			return err
		}
		s.log.Info("metadata store accepts edits again", "bytes", b.Size(), "quota", s.quota)
	}
	return nil
}
