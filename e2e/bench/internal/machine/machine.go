// Package machine describes the machine that a bench runs on, as far as figures depend on it, and measures its disk. It
// names no host and no path.
package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Description of a machine and of what runs on it.
type Description struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryGB   float64 `json:"memoryGB"`
	Kernel     string  `json:"kernel"`
	FileSystem string  `json:"fileSystem"`
	Device     string  `json:"device"` // name, model where it has one, scheduler
	Go         string  `json:"go"`
	Java       string  `json:"java"`
	Kafka      string  `json:"kafka"`
	Firn       string  `json:"firn"` // commit
}

// Describe looks at the machine, and at the disk of a folder. What cannot be found out is "unknown".
func Describe(dir, kafka string) Description {
	d := Description{
		CPU: unknown(cpuModel()), Cores: runtime.NumCPU(), Go: strings.TrimPrefix(runtime.Version(), "go"),
		Java: unknown(javaVersion()), Kafka: kafka, Firn: unknown(Commit()),
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		d.MemoryGB = float64(info.Totalram) * float64(info.Unit) / 1e9
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		d.Kernel, _, _ = strings.Cut(unix.ByteSliceToString(name.Release[:]), "-") // what follows names who built it
	}
	d.FileSystem, d.Device = disk(dir)
	return d
}

// Commit of the sources that firn is built from, with "-dirty" where they differ from it; empty if there is no git.
func Commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func unknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	return firstField(string(text), "model name")
}

func firstField(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func javaVersion() string {
	out, err := exec.Command("java", "-version").CombinedOutput()
	if err != nil {
		return ""
	}
	if m := regexp.MustCompile(`version "([^"]+)"`).FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}

// disk tells a folder's file system with the options of its mount, and the device under it.
func disk(dir string) (fileSystem, device string) {
	fileSystem, device = "unknown", "unknown"
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return fileSystem, device
	}
	number := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if ok && len(left) > 5 && len(right) > 0 && left[2] == number {
			fileSystem = right[0] + " (" + left[5] + ")"
		}
	}
	block, err := filepath.EvalSymlinks("/sys/dev/block/" + number)
	if err != nil {
		return fileSystem, device
	}
	device = filepath.Base(block)
	if _, err := os.Stat(filepath.Join(block, "partition")); err == nil {
		block = filepath.Dir(block)
	}
	for _, file := range []string{"device/model", "queue/scheduler", "queue/write_cache"} {
		if text, err := os.ReadFile(filepath.Join(block, file)); err == nil {
			device += ", " + strings.TrimSpace(string(text))
		}
	}
	return fileSystem, device
}

// Available is the memory that can be taken without swapping, in bytes.
func Available() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	kb, _ := strconv.ParseInt(strings.TrimSuffix(firstField(string(text), "MemAvailable"), " kB"), 10, 64)
	return kb << 10
}

// Touch takes so many bytes of memory, writes to each page and gives them back, because on a virtual machine the first
// touch of a page costs ten times a later one.
func Touch(bytes int64) error {
	const piece = 1 << 30 // so that a machine with less memory than it says is not asked for everything at once
	var all [][]byte
	defer func() {
		for _, m := range all {
			_ = unix.Munmap(m) // mapped just now
		}
	}()
	page := os.Getpagesize()
	for ; bytes > 0; bytes -= piece {
		m, err := unix.Mmap(-1, 0, int(min(bytes, piece)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return fmt.Errorf("take memory to touch: %w", err)
		}
		all = append(all, m)
		for i := 0; i < len(m); i += page {
			m[i] = 1
		}
	}
	return nil
}
