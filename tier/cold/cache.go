package cold

// acquire gives group n of a, pinned, and begins to fill it if nobody has.
func (r *Reader) acquire(a *archived, n int) (*group, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, ErrClosed
	}
	if g := r.groups[a.key(n)]; g != nil {
		g.pins++
		r.metrics.hits.Inc()
		r.mu.Unlock()
		return g, nil
	}
	r.metrics.misses.Inc()
	g, free, _ := r.admit(a, n, true)
	g.pins = 1
	r.fills.Add(1)
	r.mu.Unlock()
	free()
	go r.fill(&run{groups: []*group{g}})
	return g, nil
}

// admit makes group n of a, which nobody has, and room for it, by evicting others: call free without mu, which is held
// here. Where there is no room it goes over the budget if it must, else it gives no group.
func (r *Reader) admit(a *archived, n int, must bool) (g *group, free func(), room bool) {
	victims, room := r.policy.evict(a.groups[n].raw)
	free = r.evicted(victims)
	if !room && !must {
		return nil, free, false
	}
	g = newGroup(a, n)
	r.groups[g.key] = g
	r.policy.admit(g)
	return g, free, room
}

func newGroup(a *archived, n int) *group {
	s := a.groups[n]
	g := &group{key: a.key(n), a: a, span: s, size: s.raw, changed: make(chan struct{}),
		starts: make([]int64, s.count+1), marks: make([][]mark, s.count)}
	for i := range s.count {
		g.starts[i+1] = g.starts[i] + int64(g.chunk(i).RawLength)
	}
	return g
}

// resident gives a view of the group of chunk c, pinned, if that chunk can be read at once.
func (r *Reader) resident(a *archived, c int) (v view, ok bool) {
	n := a.groupOf(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[a.key(n)]
	if g == nil || g.ready <= c-g.span.first {
		return v, false
	}
	g.pins++
	return g.viewLocked(), true
}

// unpin lets go of a group; the last one out of an evicted or failed group frees it.
func (r *Reader) unpin(g *group) {
	r.mu.Lock()
	g.pins--
	var free func()
	if g.queue == nil {
		free = r.freeable([]*group{g})
	}
	r.mu.Unlock()
	if free != nil {
		free()
	}
}

// evicted takes victims of the policy out of the map and gives what frees them. mu is held; call free without it.
func (r *Reader) evicted(victims []*group) (free func()) {
	for _, g := range victims {
		delete(r.groups, g.key)
		r.metrics.evictions.Inc()
	}
	return r.freeable(victims)
}

// freeable gives a function that frees what those groups have on disk that nobody holds. The groups are out of the
// cache. mu is held; call the function without it.
func (r *Reader) freeable(gs []*group) (free func()) {
	var frees []func()
	for _, g := range gs {
		if g.held() {
			continue // unpin or the fill's end comes back here
		}
		if g.mem != nil {
			r.memUsed -= g.size
			g.mem = nil
		}
		if g.file != nil {
			frees = append(frees, r.leave(g.file, g.at, g.size))
			g.file = nil
		}
	}
	return func() {
		for _, free := range frees {
			free()
		}
	}
}

// shrink evicts about n bytes, to make room on the disk.
func (r *Reader) shrink(n int64) {
	r.mu.Lock()
	victims, _ := r.policy.evict(r.policy.budget - r.policy.used() + n)
	free := r.evicted(victims)
	r.mu.Unlock()
	free()
}
