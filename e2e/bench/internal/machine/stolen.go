package machine

import "github.com/prometheus/procfs"

// CPUTime is what the kernel has counted of all processors since it started, in seconds. The zero value is unknown.
type CPUTime struct {
	Stolen float64 // the host ran something else while a processor here had work
	Total  float64 // stolen time and idle time among it
}

// ReadCPUTime reads it. Where the kernel does not tell, the time is unknown.
func ReadCPUTime() CPUTime { return readCPUTime(procfs.DefaultMountPoint) }

func readCPUTime(proc string) CPUTime {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return CPUTime{}
	}
	stat, err := fs.Stat()
	if err != nil {
		return CPUTime{}
	}
	c := stat.CPUTotal // what guests of this machine took is in user and nice already
	return CPUTime{Stolen: c.Steal, Total: c.User + c.Nice + c.System + c.Idle + c.Iowait + c.IRQ + c.SoftIRQ + c.Steal}
}

// StolenSince is the share of all processors' time, 0 to 1, that was stolen since a time before. It is not known where
// one of the two is not, nor if no time went by between them.
func (t CPUTime) StolenSince(before CPUTime) (share float64, known bool) {
	total, stolen := t.Total-before.Total, t.Stolen-before.Stolen
	if before.Total == 0 || t.Total == 0 || total <= 0 {
		return 0, false
	}
	return min(max(stolen/total, 0), 1), true // the kernel's counters may step back a little
}
