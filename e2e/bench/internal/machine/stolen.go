package machine

import (
	"os"
	"strconv"
	"strings"
)

// CPUTime is what the kernel has counted of all processors since it started, in ticks. The zero value is unknown.
type CPUTime struct {
	Stolen int64 // the host ran something else while a processor here had work
	Total  int64 // stolen time and idle time among it
}

// ReadCPUTime reads /proc/stat. Where there is none, or it counts no stolen time, the time is unknown.
func ReadCPUTime() CPUTime {
	text, _ := os.ReadFile("/proc/stat")
	return parseCPUTime(string(text))
}

// parseCPUTime takes the line of all processors apart: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
// What guests of this machine took follows, and is in user and nice already.
func parseCPUTime(text string) CPUTime {
	const columns = 8
	line, _, _ := strings.Cut(text, "\n")
	words := strings.Fields(line)
	if len(words) <= columns || words[0] != "cpu" {
		return CPUTime{}
	}
	var t CPUTime
	for _, w := range words[1 : 1+columns] {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return CPUTime{}
		}
		t.Stolen = n // the last one stays
		t.Total += n
	}
	return t
}

// StolenSince is the share of all processors' time, 0 to 1, that was stolen since a time before. It is not known where
// one of the two is not, nor if no time went by between them.
func (t CPUTime) StolenSince(before CPUTime) (share float64, known bool) {
	total, stolen := t.Total-before.Total, t.Stolen-before.Stolen
	if before.Total == 0 || t.Total == 0 || total <= 0 {
		return 0, false
	}
	return min(max(float64(stolen)/float64(total), 0), 1), true // the kernel's counters may step back a little
}
