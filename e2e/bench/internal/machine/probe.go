package machine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	probeBytes = 256 << 20   // of the probe's file
	probeFor   = time.Second // at least, that the device is measured: it takes less than that at once, faster
	mib        = 1 << 20
	syncSize   = 4 << 10
)

// Probe measures a device by a file of its own, which was written to its end before: what is measured then is the
// device, and not how a file system grows a file. For one goroutine.
type Probe struct {
	f    *os.File
	buf  []byte
	next int64
}

// NewProbe writes the file.
func NewProbe(dir string) (*Probe, error) {
	f, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		return nil, fmt.Errorf("make a file to measure the device by: %w", err)
	}
	p := &Probe{f: f, buf: make([]byte, mib)}
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(p.buf) // never fails
	if err := p.fill(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Throughput writes the file anew, again and again for a second at least, with one fdatasync a MiB, and gives MB/s.
func (p *Probe) Throughput() (float64, error) {
	begin, times := time.Now(), 0
	for time.Since(begin) < probeFor {
		if err := p.fill(); err != nil {
			return 0, err
		}
		times++
	}
	return float64(times) * probeBytes / 1e6 / time.Since(begin).Seconds(), nil
}

// fill writes the file once, from its start to its end.
func (p *Probe) fill() error {
	for at := int64(0); at < probeBytes; at += mib {
		if err := p.write(p.buf, at); err != nil {
			return err
		}
	}
	return nil
}

// Syncs measures n single writes of 4 KiB, each with fdatasync, one after the other.
func (p *Probe) Syncs(n int) ([]time.Duration, error) {
	all := make([]time.Duration, n)
	for i := range all {
		begin := time.Now()
		if err := p.write(p.buf[:syncSize], p.next); err != nil {
			return nil, err
		}
		all[i] = time.Since(begin)
		p.next = (p.next + syncSize) % probeBytes
	}
	return all, nil
}

func (p *Probe) write(b []byte, at int64) error {
	if _, err := p.f.WriteAt(b, at); err != nil {
		return fmt.Errorf("measure the device: %w", err)
	}
	if err := unix.Fdatasync(int(p.f.Fd())); err != nil {
		return fmt.Errorf("measure the device: fdatasync: %w", err)
	}
	return nil
}

// Close removes the file.
func (p *Probe) Close() error {
	return errors.Join(p.f.Close(), os.Remove(p.f.Name()))
}
