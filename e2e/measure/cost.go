package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Cost is what a piece of work took from a server's process, and from the client's.
type Cost struct {
	Took      time.Duration
	CPU       time.Duration // of the server, user and system
	ClientCPU time.Duration // of this process
	Written   int64         // bytes of pages that the server dirtied for a device (write_bytes)
	Device    int64         // bytes that the server's device took, whoever wrote them; below 0: not known
	Peak      int64         // the server's largest resident size meanwhile, in bytes
	Switches  int64         // context switches of the server's threads, but for those of threads that ended meanwhile
	Syscalls  int64         // read and write calls of the server, sendfile twice: send, fdatasync, epoll and futex are not among them
}

// Meter measures a server from StartMeter to Stop.
type Meter struct {
	pid    int
	folder string
	begin  time.Time
	before usage
}

type usage struct {
	cpu, client                 time.Duration
	written, switches, syscalls int64
	device                      int64 // below 0: not known
}

// StartMeter resets the peak of the process's memory and takes the first reading. The server's device is the one that the
// folder is on; "" means none.
func StartMeter(pid int, folder string) (*Meter, error) {
	// 5 resets the peak of the resident size (proc(5)). Where that is forbidden, the peak is that since the start.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	before, err := readUsage(pid, folder)
	if err != nil {
		return nil, err
	}
	return &Meter{pid: pid, folder: folder, begin: time.Now(), before: before}, nil
}

// Stop takes the second reading.
func (m *Meter) Stop() (Cost, error) {
	took := time.Since(m.begin)
	after, err := readUsage(m.pid, m.folder)
	if err != nil {
		return Cost{}, err
	}
	device := after.device - m.before.device
	if m.before.device < 0 || after.device < 0 {
		device = -1
	}
	return Cost{
		Took: took, CPU: after.cpu - m.before.cpu, ClientCPU: after.client - m.before.client,
		Written: after.written - m.before.written, Device: device, Peak: PeakMemory(m.pid),
		Switches: max(0, after.switches-m.before.switches), Syscalls: after.syscalls - m.before.syscalls,
	}, nil
}

func readUsage(pid int, folder string) (usage, error) {
	p, err := ProcessUsage(pid)
	if err != nil {
		return usage{}, err
	}
	u := usage{cpu: p.CPU, written: p.Written, device: deviceWritten(folder)}
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

// deviceWritten is how many bytes the block device that a folder is on has taken since the machine started, below 0 where
// that is not known: there is no folder, or its file system has no one device.
func deviceWritten(folder string) int64 {
	var at unix.Stat_t
	if folder == "" || unix.Stat(folder, &at) != nil {
		return -1
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(at.Dev), unix.Minor(at.Dev)))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) <= sectorsWritten {
		return -1
	}
	n, err := strconv.ParseInt(fields[sectorsWritten], 10, 64)
	if err != nil {
		return -1
	}
	return n * sectorBytes
}

// What the kernel's Documentation/block/stat.rst calls "write sectors", which are of 512 bytes whatever the device's are.
const (
	sectorsWritten = 6
	sectorBytes    = 512
)
