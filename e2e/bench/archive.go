package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/firnlog/firn/tier/object/objecttest"
)

const (
	getSize    = 8 * mib // of one ranged GET
	getWorkers = 16
)

// archive is a MinIO server of the bench's own.
type archive struct {
	server *objecttest.MinIO
	bucket string
	url    string
}

func startArchive(dir string) (*archive, error) {
	server, err := objecttest.StartMinIO(filepath.Join(dir, "minio"))
	if err != nil {
		return nil, err
	}
	bucket, err := server.NewBucket(context.Background(), "bench")
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &archive{server: server, bucket: bucket, url: server.URL("minio", bucket, "")}, nil
}

// Stop ends the server.
func (a *archive) Stop() { _ = a.server.Close() }

// getAll reads every segment in the bucket by parallel ranged GETs and throws the bytes away: what the store could
// give at best.
func (a *archive) getAll(ctx context.Context) (result, error) {
	cl, err := miniogo.NewCore(a.server.Endpoint, &miniogo.Options{Creds: credentials.NewStaticV4(a.server.AccessKey, a.server.SecretKey, "")})
	if err != nil {
		return result{}, err
	}
	type part struct {
		key      string
		from, to int64
	}
	parts := make(chan part)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		total int64
		errs  []error
	)
	for range getWorkers {
		wg.Go(func() {
			for p := range parts {
				n, err := get(ctx, cl, a.bucket, p.key, p.from, p.to)
				mu.Lock()
				total += n
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	start := time.Now()
	objects := 0
	for o := range cl.Client.ListObjects(ctx, a.bucket, miniogo.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return result{}, o.Err
		}
		objects++
		for from := int64(0); from < o.Size; from += getSize {
			parts <- part{o.Key, from, min(from+getSize, o.Size) - 1}
		}
	}
	close(parts)
	wg.Wait()
	took := time.Since(start).Seconds()
	if total == 0 || objects == 0 {
		return result{}, errors.New("the bucket holds nothing to read")
	}
	return result{Case: "the same objects by parallel ranged GETs", Bytes: total, Seconds: took, MBPerSecond: float64(total) / 1e6 / took}, errors.Join(errs...)
}

func get(ctx context.Context, cl *miniogo.Core, bucket, key string, from, to int64) (int64, error) {
	var o miniogo.GetObjectOptions
	if err := o.SetRange(from, to); err != nil {
		return 0, err
	}
	body, _, _, err := cl.GetObject(ctx, bucket, key, o)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	return io.Copy(io.Discard, body)
}

// start runs the broker and waits until it is ready.
func (b *bench) start() error {
	log, err := os.OpenFile(filepath.Join(b.dir, "firn.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	b.cmd = exec.Command(b.binary, "dev", "--data", filepath.Join(b.dir, "data"), "--kafka", b.kafka, "--http", b.http, "--store", b.store)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.pid = b.cmd.Process.Pid
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + b.http + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
	text, _ := os.ReadFile(filepath.Join(b.dir, "firn.log"))
	return fmt.Errorf("the broker is not ready after a minute: %s", text)
}

// waitCold waits until nearly all of a topic is in the archive only.
func (b *bench) waitCold(topic string) error {
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		res, err := http.Get("http://" + b.http + "/v1/tiers/" + topic)
		if err != nil {
			continue
		}
		var rows []struct{ HotStart, HotEnd, ColdEnd int64 }
		err = json.NewDecoder(res.Body).Decode(&rows)
		_ = res.Body.Close()
		done := err == nil && len(rows) > 0
		for _, r := range rows {
			done = done && r.ColdEnd == r.HotEnd && r.HotStart == r.HotEnd
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("%s is not archived and trimmed after 5 minutes", topic)
}
