// Package judge holds what a round of the bench measured, and says of several rounds whether a bar is met. It is pure:
// figures in, sentences out.
package judge

// Figure names something that a round measures; the name carries the unit, because it heads a column.
type Figure string

// The figures that most rounds have. A case may have others of its own: they are printed after these.
const (
	MBPerSecond       Figure = "MB/s"       // decimal megabytes of payload, as the clients see it (uncompressed where a codec is used)
	RequestsPerSecond Figure = "requests/s" // answered
	RecordsPerSecond  Figure = "records/s"  // acknowledged

	P50  Figure = "p50 ms" // of the answer's latency, from the moment that the request was due at a fixed rate, else was sent
	P99  Figure = "p99 ms"
	P999 Figure = "p99.9 ms"

	EndToEnd50  Figure = "e2e p50 ms" // from the moment that a record was meant to be sent until a tailing consumer has it
	EndToEnd99  Figure = "e2e p99 ms"
	EndToEnd999 Figure = "e2e p99.9 ms"

	CPUPerGB      Figure = "CPU-s/GB"        // of the server's process, user and system, per 10^9 bytes of payload
	CPUPerRequest Figure = "CPU µs/request"  // of the server's process
	CPUPerMillion Figure = "CPU-s/M records" // of the server's process
	CPUPercent    Figure = "CPU %"           // of the server's process, of one core
	ClientCPU     Figure = "client CPU-s/GB" // of the bench's own process, which is the client

	ClientCPUPerCall    Figure = "client CPU µs/request"  // of the bench's own process, which is the client
	ClientCPUPerMillion Figure = "client CPU-s/M records" // of the bench's own process, which is the client
	RecordsPerBatch     Figure = "records/batch"          // one, unless the server is so slow that records wait for one another

	// WirePerByte is left out where nothing is compressed: it is one then.
	WirePerByte Figure = "wire/byte" // bytes of batches as they are sent, and written, per byte of them uncompressed

	PeakMB          Figure = "peak MB"           // the largest VmRSS of the server during the round (VmHWM, reset before it)
	WrittenPerByte  Figure = "written/byte"      // the server's write_bytes (folios that it dirtied for a device, whole) per byte of payload
	DevicePerByte   Figure = "device/byte"       // what the device took during the round, whoever wrote it, per byte of payload; what only a page cache has by then is not among it
	SwitchesPerMB   Figure = "switches/MB"       // context switches of the server's threads that lived through the round
	SyscallsPerMB   Figure = "I/O calls/MB"      // read and write calls of the server (syscr + syscw, sendfile counts in both), which leave send, fdatasync, epoll and futex out
	SwitchesPerCall Figure = "switches/request"  // as above, where requests are small
	SyscallsPerCall Figure = "I/O calls/request" // as above, where requests are small
	Seconds         Figure = "s"                 // how long what the case is about took
)

// Order is how columns stand, for the figures that are known here.
var Order = []Figure{
	MBPerSecond, RequestsPerSecond, RecordsPerSecond, Seconds, CPUPerGB, CPUPerRequest, CPUPerMillion, CPUPercent,
	P50, P99, P999, EndToEnd50, EndToEnd99, EndToEnd999,
	PeakMB, WirePerByte, WrittenPerByte, DevicePerByte, SwitchesPerMB, SyscallsPerMB, SwitchesPerCall, SyscallsPerCall, RecordsPerBatch, ClientCPU, ClientCPUPerCall, ClientCPUPerMillion,
}

// Throughput says whether the figure is a rate of work. Where client and server share the cores such a figure depends on
// both, so it is reported beside its bar and decides nothing.
func (f Figure) Throughput() bool {
	return f == MBPerSecond || f == RequestsPerSecond || f == RecordsPerSecond
}

// Figures are what one round of one side measured. A figure that does not apply is left out.
type Figures map[Figure]float64

// Add takes over what more holds, and gives f.
func (f Figures) Add(more Figures) Figures {
	for k, v := range more {
		f[k] = v
	}
	return f
}

// Bar is something that must hold: a figure of one side beside the same figure of another side of the same case, or,
// with Beside empty, beside a number. Exactly one of AtLeast and AtMost is set.
type Bar struct {
	Figure  Figure  `json:"figure"`
	Side    string  `json:"side"`
	Beside  string  `json:"beside,omitempty"`  // the side that it is compared with; empty: the bound is absolute, in the figure's unit
	AtLeast float64 `json:"atLeast,omitempty"` // bound from below of Side ÷ Beside
	AtMost  float64 `json:"atMost,omitempty"`  // bound from above of Side ÷ Beside
	// Device: the bar stands only where the device allows it, that is, where it takes the same bytes, as they are on the wire,
	// with one fdatasync a MiB at DeviceMargin times the rate that the bar asks. Only for bars of MBPerSecond.
	Device bool `json:"device,omitempty"`
	// Every: each round must meet the bar, not only the median of them (ten starts of ten).
	Every bool `json:"every,omitempty"`
	// Own: the bound is the bench's own, where what is asked for has no number. Such bars are counted apart.
	Own bool `json:"own,omitempty"`
}

// DeviceMargin is how much faster than a bar asks the device must be for the bar to stand.
const DeviceMargin = 1.25

// What a verdict needs; with less it is a trial.
const (
	Enough        = 9  // alternations
	EnoughSeconds = 10 // a round
)
