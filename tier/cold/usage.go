package cold

// UsedBytes tells what the cache takes of its disk, about.
func (r *Reader) UsedBytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.policy.used()-r.memUsed, 0)
}
