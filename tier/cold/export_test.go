package cold

// Slow makes all that waits for its turn wait long.
func (r *Reader) Slow() {
	y := r.yielder
	y.mu.Lock()
	defer y.mu.Unlock()
	y.load = func() float64 { return 1 }
	y.fills.rate, y.answers.rate = 1, 1
}
