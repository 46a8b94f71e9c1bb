package fetchsession

import "math/rand/v2"

func randomID() int32 { return rand.Int32N(1<<31-2) + 1 }

// create makes a session for a full fetch, or returns nil when the cache is full of sessions that have a
// better claim. The client then gets id 0 and goes on with full fetches.
func (c *Cache) create(r *Request, ps []Partition) *session {
	now := c.o.Now()
	s := &session{usesIDs: r.UsesIDs, follower: r.Follower, created: now, used: now, epoch: 1,
		size: len(ps), byKey: make(map[Key]*entry, len(ps))}
	s.root.prev, s.root.next = &s.root, &s.root
	for i := range ps {
		s.put(&ps[i])
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.makeRoom(s) {
		return nil
	}
	for s.id = c.o.Random(); s.id <= 0 || c.sessions[s.id] != nil; {
		s.id = c.o.Random()
	}
	c.sessions[s.id] = s
	c.partitions += s.size
	return s
}

// makeRoom evicts at most one session for s (KIP-227): the least recently used one if it is stale; else the
// weakest of those that have lived EvictAfter, if s outranks it. Caller holds c.mu.
func (c *Cache) makeRoom(s *session) bool {
	fits := func(out *session) bool {
		n, p := len(c.sessions), c.partitions+s.size
		if out != nil {
			n, p = n-1, p-out.size
		}
		return n < c.o.MaxSessions && p <= c.o.MaxPartitions
	}
	if fits(nil) {
		return true
	}
	var oldest, weakest *session
	for _, x := range c.sessions {
		if oldest == nil || x.used.Before(oldest.used) {
			oldest = x
		}
		if s.created.Sub(x.created) >= c.o.EvictAfter && (weakest == nil || outranks(weakest, x)) {
			weakest = x
		}
	}
	if oldest != nil && s.created.Sub(oldest.used) >= c.o.EvictAfter && fits(oldest) {
		c.drop(oldest)
		c.evictions++
		return true
	}
	if weakest != nil && outranks(s, weakest) && fits(weakest) {
		c.drop(weakest)
		c.evictions++
		return true
	}
	return false
}

// outranks says whether a has the better claim to a place: replicas before consumers, then the one that
// saves more, which is the one with more partitions.
func outranks(a, b *session) bool {
	if a.follower != b.follower {
		return a.follower
	}
	return a.size > b.size
}

// remove closes a session; unknown ids are ignored.
func (c *Cache) remove(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[id]; s != nil {
		c.drop(s)
	}
}

// drop takes s out. Caller holds c.mu. The order of locks is Cache.mu, then session.mu.
func (c *Cache) drop(s *session) {
	delete(c.sessions, s.id)
	c.partitions -= s.size
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
}

// resize corrects the count of partitions after a session changed: to what it has now, for another fetch may have changed it
// since, and have been here before. A session that grows past the bound is closed: its client is told with the next fetch
// and begins again.
func (c *Cache) resize(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions[s.id] != s {
		return
	}
	s.mu.Lock()
	size := len(s.byKey)
	s.mu.Unlock()
	c.partitions += size - s.size
	s.size = size
	if c.partitions > c.o.MaxPartitions {
		c.drop(s)
		c.evictions++
	}
}
