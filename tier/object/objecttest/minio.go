package objecttest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// MinIO is a MinIO server on loopback with a port and a data folder of its own, which it keeps over Stop, Kill and
// Start. It dies with the process that started it, however that ends. Methods must not be called concurrently, but for
// NewBucket and those that only read.
type MinIO struct {
	Endpoint        string // host:port, plain HTTP
	AccessKey       string
	SecretKey       string
	CredentialsFile string // both keys, as an AWS credentials file
	Dir             string // data, credentials and log

	binary string
	proc   *process // nil when stopped
	closer func()   // of a server that is not a process of ours
}

// startTimeout is how long a server may take to be ready; on a loaded machine a start of one second becomes many.
const startTimeout = 60 * time.Second

// StartMinIO starts a server whose data are in dir, building MinIO first if this machine never did. ErrNoMinIO is
// wrapped when it cannot be had.
func StartMinIO(dir string) (*MinIO, error) {
	binary, err := MinIOBinary()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		return nil, err
	}
	m := &MinIO{Dir: dir, binary: binary, AccessKey: "firn" + random(4), SecretKey: random(16), CredentialsFile: filepath.Join(dir, "credentials")}
	if err := m.writeCredentials(); err != nil {
		return nil, err
	}
	// Between asking for a free port and MinIO's listening somebody else may take it.
	for range 3 {
		if m.Endpoint, err = freeAddress(); err != nil {
			return nil, err
		}
		if err = m.Start(); err == nil {
			return m, nil
		}
	}
	return nil, err
}

func (m *MinIO) writeCredentials() error {
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", m.AccessKey, m.SecretKey)
	return os.WriteFile(m.CredentialsFile, []byte(text), 0o600)
}

func random(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Start starts a stopped server again, at its port and with its data, and waits until it serves.
func (m *MinIO) Start() error {
	if m.proc != nil {
		return errors.New("minio: runs already")
	}
	log, err := os.OpenFile(filepath.Join(m.Dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(m.binary, "server", "--quiet", "--address", m.Endpoint, "--certs-dir", filepath.Join(m.Dir, "certs"), filepath.Join(m.Dir, "data"))
	cmd.Stdout, cmd.Stderr = log, log
	// Nothing of our own environment: a MINIO_ or AWS_ variable there would change what the server does.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.Dir, "TMPDIR=" + m.Dir,
		"MINIO_ROOT_USER=" + m.AccessKey, "MINIO_ROOT_PASSWORD=" + m.SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=1"}
	if m.proc, err = startProcess(cmd); err != nil {
		return fmt.Errorf("start %s: %w", m.binary, err)
	}
	if err := m.waitReady(); err != nil {
		if killed := m.Kill(); killed != nil {
			err = fmt.Errorf("%w (and it could not be killed: %s)", err, killed.Error())
		}
		return fmt.Errorf("minio at %s: %w; its log:\n%s", m.Endpoint, err, m.tail())
	}
	return nil
}

// waitReady polls until the server would take a write.
func (m *MinIO) waitReady() error {
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	deadline := time.Now().Add(startTimeout)
	for {
		resp, err := client.Get("http://" + m.Endpoint + "/minio/health/cluster")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-m.proc.exited:
			return fmt.Errorf("ended: %w", m.proc.err)
		case <-time.After(30 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %v: %w", startTimeout, err)
		}
	}
}

func (m *MinIO) tail() string {
	b, _ := os.ReadFile(filepath.Join(m.Dir, "log"))
	return string(b[max(0, len(b)-4096):])
}

// Stop asks the server to end, and waits for it.
func (m *MinIO) Stop() error {
	if m.proc != nil {
		if err := m.Resume(); err != nil { // a paused process would not see the request
			return err
		}
	}
	return m.end(syscall.SIGTERM)
}

// Kill ends the server as kill -9 does, paused or not, and waits until it is gone.
func (m *MinIO) Kill() error { return m.end(syscall.SIGKILL) }

func (m *MinIO) end(sig syscall.Signal) error {
	if m.proc == nil {
		return nil
	}
	if err := m.proc.signal(sig); err != nil {
		return err
	}
	<-m.proc.exited
	m.proc = nil
	return nil
}

// Pause stops the server in its tracks: it accepts connections and answers nothing.
func (m *MinIO) Pause() error {
	if err := m.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return waitStopped(m.proc) // the signal alone may take effect some time later
}

// Resume ends a Pause.
func (m *MinIO) Resume() error { return m.signal(syscall.SIGCONT) }

func (m *MinIO) signal(sig syscall.Signal) error {
	if m.proc == nil {
		return errors.New("minio: does not run")
	}
	return m.proc.signal(sig)
}

// Close ends the server; the data stay.
func (m *MinIO) Close() error {
	if m.closer != nil {
		m.closer()
		m.closer = nil
		return nil
	}
	return m.Kill()
}

// PID of the server's process, 0 when it does not run.
func (m *MinIO) PID() int {
	if m.proc == nil {
		return 0
	}
	return m.proc.pid
}

func (m *MinIO) client() (*miniogo.Client, error) {
	return miniogo.New(m.Endpoint, &miniogo.Options{Creds: credentials.NewStaticV4(m.AccessKey, m.SecretKey, ""), Region: "us-east-1"})
}

// NewBucket makes a bucket; with name "" it gets one of its own.
func (m *MinIO) NewBucket(ctx context.Context, name string) (string, error) {
	if name == "" {
		name = "firn-" + random(6)
	}
	c, err := m.client()
	if err != nil {
		return "", err
	}
	if err := c.MakeBucket(ctx, name, miniogo.MakeBucketOptions{}); err != nil {
		return "", fmt.Errorf("make bucket %s: %w", name, err)
	}
	return name, nil
}

// IncompleteUploads counts the multipart uploads of a bucket that were neither completed nor aborted.
func (m *MinIO) IncompleteUploads(ctx context.Context, bucket, key string) (int, error) {
	c, err := m.client()
	if err != nil {
		return 0, err
	}
	n := 0
	for u := range c.ListIncompleteUploads(ctx, bucket, key, true) {
		if u.Err != nil {
			return n, u.Err
		}
		n++
	}
	return n, nil
}

// URL is a store URL for object/open (and firn --store) with scheme "minio" or "s3"; it names the credentials file, so
// that it needs nothing of the environment.
func (m *MinIO) URL(scheme, bucket, prefix string) string {
	q := url.Values{"credentials": {m.CredentialsFile}}
	u := url.URL{Scheme: scheme}
	switch scheme {
	case "s3":
		q.Set("endpoint", "http://"+m.Endpoint)
		q.Set("region", "us-east-1")
		u.Host, u.Path = bucket, "/"+strings.Trim(prefix, "/")
	default:
		q.Set("secure", "false")
		u.Host, u.Path = m.Endpoint, "/"+strings.Trim(bucket+"/"+strings.Trim(prefix, "/"), "/")
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// process is a child that dies with us.
type process struct {
	pid    int
	exited chan struct{} // closed when it has been waited for
	err    error         // of Wait; read it after exited
	mu     sync.Mutex    // held while signalling, so that no recycled pid is hit
	done   bool          // guarded by mu
}

// startProcess starts cmd from a thread that lives as long as the child: the kernel's parent-death signal is sent when
// the thread that started the child ends, not the process.
func startProcess(cmd *exec.Cmd) (*process, error) {
	dieWithParent(cmd)
	p := &process{exited: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(cmd, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return nil
	}
	return syscall.Kill(p.pid, sig)
}
