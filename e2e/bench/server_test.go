package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

// someCost is that of 2,000 requests with 4,000 records of 50 MB in all.
var someCost = measure.Cost{
	Took: 10 * time.Second, CPU: 2 * time.Second, ClientCPU: time.Second, Written: 75_000_000, Device: 100_000_000, Peak: 80_000_000, Switches: 1000, Syscalls: 5000,
}

// TestPerRequest: small requests are told of by the byte, too, as large ones are.
func TestPerRequest(t *testing.T) {
	assert.Equal(t, Figures{
		judge.MBPerSecond: 5, judge.RequestsPerSecond: 200, judge.CPUPercent: 20, judge.PeakMB: 80,
		judge.CPUPerRequest: 1000, judge.ClientCPUPerCall: 500, judge.SwitchesPerCall: 0.5, judge.SyscallsPerCall: 2.5,
		judge.CPUPerGB: 40, judge.ClientCPU: 20, judge.WrittenPerByte: 1.5, judge.DevicePerByte: 2, judge.SwitchesPerMB: 20, judge.SyscallsPerMB: 100,
	}, perRequest(someCost, 2000, 50_000_000))
}

// TestPerRecord: … and records at a fixed rate are, but for rates that follow from theirs.
func TestPerRecord(t *testing.T) {
	f := perRecord(someCost, measure.Produced{Requests: 2000, Records: 4000, Bytes: 30_000_000, Plain: 50_000_000})
	for k, want := range (Figures{
		judge.RecordsPerSecond: 400, judge.CPUPerMillion: 500, judge.ClientCPUPerMillion: 250, judge.RecordsPerBatch: 2,
		judge.CPUPerRequest: 1000, judge.CPUPerGB: 40, judge.WrittenPerByte: 1.5, judge.SwitchesPerMB: 20, judge.SyscallsPerMB: 100,
	}) {
		assert.InDelta(t, want, f[k], 1e-9, k)
	}
	assert.NotContains(t, f, judge.MBPerSecond)
	assert.NotContains(t, f, judge.RequestsPerSecond)
}
