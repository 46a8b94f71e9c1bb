package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Cost is what a piece of work took from a server's process, and from the client's.
type Cost struct {
	Took      time.Duration
	CPU       time.Duration // of the server, user and system
	ClientCPU time.Duration // of this process
	Written   int64         // bytes of pages that the server dirtied for a device (write_bytes)
	Peak      int64         // the server's largest resident size meanwhile, in bytes
	Switches  int64         // context switches of the server's threads, but for those of threads that ended meanwhile
	Syscalls  int64         // read and write calls of the server, sendfile twice: sendmsg, fdatasync, epoll and futex are not among them
}

// Meter measures a server from StartMeter to Stop.
type Meter struct {
	pid    int
	begin  time.Time
	before usage
}

type usage struct {
	cpu, client                 time.Duration
	written, switches, syscalls int64
}

// StartMeter resets the peak of the process's memory and takes the first reading.
func StartMeter(pid int) (*Meter, error) {
	// 5 resets the peak of the resident size (proc(5)). Where that is forbidden, the peak is that since the start.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	before, err := readUsage(pid)
	if err != nil {
		return nil, err
	}
	return &Meter{pid: pid, begin: time.Now(), before: before}, nil
}

// Stop takes the second reading.
func (m *Meter) Stop() (Cost, error) {
	took := time.Since(m.begin)
	after, err := readUsage(m.pid)
	if err != nil {
		return Cost{}, err
	}
	return Cost{
		Took: took, CPU: after.cpu - m.before.cpu, ClientCPU: after.client - m.before.client,
		Written: after.written - m.before.written, Peak: PeakMemory(m.pid),
		Switches: max(0, after.switches-m.before.switches), Syscalls: after.syscalls - m.before.syscalls,
	}, nil
}

func readUsage(pid int) (usage, error) {
	p, err := ProcessUsage(pid)
	if err != nil {
		return usage{}, err
	}
	u := usage{cpu: p.CPU, written: p.Written}
	var self unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &self); err != nil {
		return usage{}, fmt.Errorf("read the client's CPU time: %w", err)
	}
	u.client = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	if io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid)); err == nil {
		u.syscalls = field(string(io), "syscr:") + field(string(io), "syscw:")
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return usage{}, err
	}
	for _, t := range threads {
		if status, err := os.ReadFile(t); err == nil { // else the thread has just ended
			u.switches += field(string(status), "\nvoluntary_ctxt_switches:") + field(string(status), "nonvoluntary_ctxt_switches:")
		}
	}
	return u, nil
}
