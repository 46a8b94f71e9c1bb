package group

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// uniqueProtocols keeps the first protocol of each name, as Kafka's collection of them does. It copies what the member
// says, because a group keeps it for longer than the request's memory lasts.
func uniqueProtocols(ps []kmsg.JoinGroupRequestProtocol) []kmsg.JoinGroupRequestProtocol {
	out := make([]kmsg.JoinGroupRequestProtocol, 0, len(ps))
	seen := make(map[string]bool, len(ps))
	for _, p := range ps {
		if !seen[p.Name] {
			seen[p.Name] = true
			p.Metadata = bytes.Clone(p.Metadata)
			out = append(out, p)
		}
	}
	return out
}

// supporters counts the members that know a protocol.
func (g *group) supporters(protocol string) int {
	n := 0
	for _, m := range g.order {
		if slices.ContainsFunc(m.protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return p.Name == protocol }) {
			n++
		}
	}
	return n
}

// supports says whether somebody with these protocols fits into the group: at least one that all members know.
func (g *group) supports(protocolType string, ps []kmsg.JoinGroupRequestProtocol) bool {
	if g.state == stateEmpty {
		return protocolType != "" && len(ps) > 0
	}
	if protocolType != g.protocolType {
		return false
	}
	return slices.ContainsFunc(ps, func(p kmsg.JoinGroupRequestProtocol) bool {
		return g.supporters(p.Name) == len(g.members)
	})
}

// selectProtocol lets every member vote for the first of its protocols that all know. Of those with the most
// votes the one is taken that Java's HashMap lists first, because that is what Kafka does without meaning to; "" if
// there is none (only a group of no members, or one loaded from a log that nobody's coordinator wrote).
func (g *group) selectProtocol() string {
	votes := map[string]int{}
	var names []string
	candidates := map[string]bool{}
	for _, m := range g.order {
		for _, p := range m.protocols {
			ok, known := candidates[p.Name]
			if !known {
				ok = g.supporters(p.Name) == len(g.members)
				candidates[p.Name] = ok
			}
			if ok {
				if votes[p.Name] == 0 {
					names = append(names, p.Name)
				}
				votes[p.Name]++
				break
			}
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return hashSlot(a) - hashSlot(b) })
	best := ""
	for _, n := range names {
		if best == "" || votes[n] > votes[best] {
			best = n
		}
	}
	return best
}

// hashSlot is where a HashMap of default size keeps a key.
func hashSlot(s string) int {
	h := uint32(javaHash(s))
	return int((h ^ h>>16) & 15)
}

// readTopics works out what the members subscribe to. It is not known for groups that are no consumers, and when
// a subscription cannot be read.
func (g *group) readTopics() {
	g.topics, g.topicsKnown = nil, false
	if !g.isConsumer() {
		return
	}
	topics := map[string]bool{}
	if len(g.members) > 0 && !g.hasProtocol {
		return
	}
	for _, m := range g.order {
		ts, err := subscribed(m.metadata(g.protocol))
		if err != nil {
			return
		}
		for _, t := range ts {
			topics[t] = true
		}
	}
	g.topics, g.topicsKnown = topics, true
}

// subscribes says whether the group's offsets of a topic are in use. A consumer group of which it is not known
// what it reads is taken to read everything.
func (g *group) subscribes(topic string) bool {
	if g.topicsKnown {
		return g.topics[topic]
	}
	return g.isConsumer()
}

var errSubscription = errors.New("malformed subscription")

// subscribed reads the topics out of a consumer's subscription (ConsumerProtocolSubscription). They stand at the
// front in every version, so that later fields need not be known.
func subscribed(b []byte) ([]string, error) {
	if len(b) < 6 {
		return nil, errSubscription
	}
	n := int32(binary.BigEndian.Uint32(b[2:]))
	b = b[6:]
	if n < 0 || int64(n)*2 > int64(len(b)) {
		return nil, errSubscription
	}
	topics := make([]string, 0, n)
	for range n {
		if len(b) < 2 {
			return nil, errSubscription
		}
		l := int(int16(binary.BigEndian.Uint16(b)))
		b = b[2:]
		if l < 0 || l > len(b) {
			return nil, errSubscription
		}
		topics = append(topics, string(b[:l]))
		b = b[l:]
	}
	return topics, nil
}
