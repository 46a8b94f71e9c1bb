package partition

import (
	"context"
	"sync"
)

// producerIDBlock is how many producer ids are fetched at a time, as in Kafka's ProducerIdsBlock.
const producerIDBlock = 1000

// ProducerIDs hands out producer ids from blocks that the metadata gives. What is left of a block at a restart is never
// handed out (I-39).
type ProducerIDs struct {
	source interface {
		NextProducerIDs(ctx context.Context, n int64) (first int64, err error)
	}

	turn chan struct{} // capacity 1: one fetch of a block at a time, with a wait that ctx can end
	mu   sync.Mutex
	next int64 // guarded by mu
	end  int64 // guarded by mu
}

// NewProducerIDs makes the hand-out for a metadata store.
func NewProducerIDs(source interface {
	NextProducerIDs(ctx context.Context, n int64) (first int64, err error)
}) *ProducerIDs {
	return &ProducerIDs{source: source, turn: make(chan struct{}, 1)}
}

// Next gives an id that nobody else gets.
func (p *ProducerIDs) Next(ctx context.Context) (int64, error) {
	if id, ok := p.take(); ok {
		return id, nil
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if id, ok := p.take(); ok { // somebody else fetched a block meanwhile
		return id, nil
	}
	first, err := p.source.NextProducerIDs(ctx, producerIDBlock)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.end = first+1, first+producerIDBlock
	return first, nil
}

func (p *ProducerIDs) take() (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next >= p.end {
		return 0, false
	}
	p.next++
	return p.next - 1, true
}
