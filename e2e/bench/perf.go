package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/bench/internal/profile"
	"github.com/firnlog/firn/e2e/measure"
)

const (
	perfRate = "499" // samples a second of CPU time: not in step with anything that ticks
	topShown = 40
	// mostProfiled is how many rounds of a side at most are profiled until there are samples enough.
	mostProfiled = 5
)

// needPerf says whether profiles can be taken here.
func needPerf() error {
	if _, err := exec.LookPath("perf"); err != nil {
		return fmt.Errorf("-perf takes profiles with perf, the profiler of Linux, which is not in PATH: install it (linux-perf, linux-tools), or leave -perf out: %w", err)
	}
	return nil
}

// profiler takes a profile of a server whenever that is measured. For the goroutine that runs the cases.
type profiler struct {
	file string // of one recording
	got  profile.Profile
	busy bool
}

// meter is a measure.Meter that takes a profile as long as it runs, if one is to be taken.
type meter struct {
	*measure.Meter
	recording *recording // nil: none
}

// meter begins to measure what the server uses.
func (s *Server) meter() (*meter, error) {
	r, err := s.record()
	if err != nil {
		return nil, err
	}
	m, err := measure.StartMeter(s.PID(), s.Dir)
	if err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return &meter{m, r}, nil
}

// record begins a profile of the server if one is to be taken; else it is nil.
func (s *Server) record() (*recording, error) {
	if s.profiler == nil || *s.profiler == nil || (*s.profiler).busy {
		return nil, nil
	}
	return (*s.profiler).start(s.PID())
}

// Stop gives what was used.
func (m *meter) Stop() (measure.Cost, error) {
	cost, err := m.Meter.Stop()
	return cost, errors.Join(err, m.recording.stop())
}

// recording is a perf at work.
type recording struct {
	p    *profiler
	cmd  *exec.Cmd
	said bytes.Buffer
	ctl  *os.File // its orders; closed once it has ended
}

// start returns once perf records: where the machine is busy that takes it longer than a short round.
func (p *profiler) start(pid int) (*recording, error) {
	orders, ctl, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer orders.Close()
	ack, acks, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, ctl.Close())
	}
	defer ack.Close()
	r := &recording{p: p, ctl: ctl, cmd: exec.Command("perf", "record", "-F", perfRate, "-g", "-o", p.file, "-p", strconv.Itoa(pid),
		"--delay=-1", "--control=fd:3,4")}
	r.cmd.Stdout, r.cmd.Stderr = &r.said, &r.said
	r.cmd.ExtraFiles = []*os.File{orders, acks}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = r.cmd.Start()
	_ = acks.Close() // perf alone has it now: it ends with it
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take a profile: %w", err), ctl.Close())
	}
	p.busy = true
	if err := r.enable(ack); err != nil {
		return nil, errors.Join(fmt.Errorf("take a profile: perf does not begin: %w", err), r.stop())
	}
	return r, nil
}

func (r *recording) enable(ack *os.File) error {
	if _, err := r.ctl.WriteString("enable\n"); err != nil {
		return err
	}
	if err := ack.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	_, err := ack.Read(make([]byte, 16))
	return err
}

// stop ends perf and counts its samples. Of no recording there are none.
func (r *recording) stop() error {
	if r == nil {
		return nil
	}
	r.p.busy = false
	defer os.Remove(r.p.file)
	_ = r.cmd.Process.Signal(os.Interrupt) // fails only when it has ended already
	_ = r.cmd.Wait()                       // it ends by the signal; what it was worth its file tells
	_ = r.ctl.Close()
	if _, err := os.Stat(r.p.file); err != nil {
		return fmt.Errorf("perf took no profile: %s", strings.TrimSpace(r.said.String()))
	}
	// What was inlined is left to the function that it is in: to find that out takes perf minutes.
	cmd := exec.Command("perf", "script", "-i", r.p.file, "--no-inline", "-F", "ip,sym")
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("read a profile: %w", err)
	}
	err = r.p.got.Add(out)
	if ended := cmd.Wait(); ended != nil {
		err = errors.Join(err, fmt.Errorf("perf script: %w: %s", ended, strings.TrimSpace(failed.String())))
	}
	return err
}

// profileSides gives each side of firn's one more round, which is not counted, and takes a profile of it; where the process is
// at work for moments only, some rounds more. A side that cannot be profiled is told and left out.
func (b *Bench) profileSides(ctx context.Context, sides []Side, r *judge.Result) {
	for _, s := range sides {
		if !strings.HasPrefix(s.Name, "firn") {
			continue
		}
		b.say("  profiling %s", s.Name)
		p := &profiler{file: filepath.Join(b.dir, "perf.data")}
		b.profiler = p
		var err error
		for range mostProfiled {
			if _, err = s.Round(ctx, b.Round); err != nil || p.got.Samples == 0 || p.got.Samples >= profile.Enough {
				break
			}
		}
		b.profiler = nil
		if err == nil && p.got.Samples == 0 {
			err = errors.New("its rounds measure no process while that works")
		}
		if err != nil {
			b.say("  no profile of %s: %v", s.Name, err)
			continue
		}
		r.Profiles = append(r.Profiles, judge.Profile{Side: s.Name, Samples: p.got.Samples, Groups: p.got.Groups(), Text: p.got.Text(topShown)})
	}
}
