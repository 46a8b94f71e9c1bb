package partition

// ReserveOf is the default of firn.local.disk.reserve for a disk of total bytes: what the hot log and the cache
// leave free.
func ReserveOf(total int64) int64 { return reserveOf(total) }

// HotBytesFrom tells the bytes of the local log at and above an offset; 0 while the log is not open. The archive's
// retention by size counts them once (I-13).
func (p *Partition) HotBytesFrom(offset int64) int64 {
	if !p.IsOpen() {
		return 0
	}
	return source{p}.PendingBytes(offset)
}
