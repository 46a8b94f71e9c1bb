package diff

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// generator draws a program. It is pure: the same seed and versions give the same program.
type generator struct {
	r        *rand.Rand
	versions versionOf
	steps    []step
	actors   int
	joined   map[member]bool // who has asked to join before
	done     bool            // nothing may follow
	own      string          // the shared config that the program has for itself, if it has one
}

// call is what the generator can draw: how often, from which API key, and what adds the steps.
type call struct {
	weight int
	key    kmsg.Key
	add    func(g *generator)
}

func calls() []call {
	return slices.Concat(adminCalls(), dataCalls(), groupCalls(), clusterCalls())
}

// generate draws the program of a seed out of calls in versions that both brokers serve. Each program has a theme, calls
// of which come more often.
func generate(seed uint64, versions versionOf) program {
	g := &generator{r: rand.New(rand.NewPCG(seed, 0xd1ff)), versions: versions, actors: 3, joined: map[member]bool{}}
	g.makeTopics()
	themes := [][]call{adminCalls(), dataCalls(), groupCalls()}
	theme := themes[g.r.IntN(len(themes))]
	for n := 10 + g.r.IntN(12); len(g.steps) < n && !g.done; {
		from := calls()
		if g.chance(70) {
			from = theme
		}
		if c := g.pick(from); c != nil {
			c.add(g)
		}
	}
	return program{seed: seed, own: g.own, steps: g.steps}
}

func (g *generator) pick(from []call) *call {
	total := 0
	for _, c := range from {
		total += c.weight
	}
	at := g.r.IntN(total)
	for i := range from {
		if at -= from[i].weight; at < 0 {
			if _, ok := g.versions[int16(from[i].key)]; !ok {
				return nil
			}
			return &from[i]
		}
	}
	return nil
}

// makeTopics begins a program with one or two topics as they should be.
func (g *generator) makeTopics() {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	for i := range 1 + g.r.IntN(2) {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = fmt.Sprintf("~t%d", i), int32(1+g.r.IntN(2)), 1
		if g.chance(20) {
			t.Configs = append(t.Configs, createConfig("cleanup.policy", "compact"))
		}
		req.Topics = append(req.Topics, t)
	}
	req.SetVersion(7) // the answer has ids
	g.steps = append(g.steps, step{req: req})
}

func createConfig(name, value string) kmsg.CreateTopicsRequestTopicConfig {
	c := kmsg.NewCreateTopicsRequestTopicConfig()
	c.Name, c.Value = name, &value
	return c
}

// do adds a request by an actor, in a version drawn from those that both brokers serve.
func (g *generator) do(actor int, req kmsg.Request) {
	req.SetVersion(g.version(req.Key()))
	g.steps = append(g.steps, step{actor: actor, req: req})
}

// version draws one; what differs between versions is most of all at the newest.
func (g *generator) version(key int16) int16 {
	v := g.versions[key]
	if g.chance(30) {
		return v[1]
	}
	return v[0] + int16(g.r.IntN(int(v[1]-v[0])+1))
}

func (g *generator) actor() int              { return g.r.IntN(g.actors) }
func (g *generator) chance(percent int) bool { return g.r.IntN(100) < percent }

func one[T any](g *generator, of ...T) T { return of[g.r.IntN(len(of))] }

// mostly gives the first, now and then another.
func mostly[T any](g *generator, first T, others ...T) T {
	if g.chance(75) {
		return first
	}
	return one(g, others...)
}

// topic is mostly one that was made at the start.
func (g *generator) topic() string {
	switch n := g.r.IntN(100); {
	case n < 60:
		return "~t0"
	case n < 80:
		return "~t1"
	case n < 93:
		return fmt.Sprintf("~t%d", 2+g.r.IntN(2))
	}
	return one(g, "", ".", "..", "~bad name", "~bad/name", "~"+strings.Repeat("x", 250), "~ü")
}

// idOf is mostly the id of the topic with that name.
func (g *generator) idOf(name string) [16]byte {
	if g.chance(6) {
		return one(g, unknownID, [16]byte{})
	}
	return topicID(name)
}

func (g *generator) partition() int32 { return mostly(g, int32(g.r.IntN(2)), 2, 7, -1) }

// some repeats what adds an element one to three times.
func (g *generator) some(add func()) {
	add()
	for g.chance(25) {
		add()
	}
}

// distinct draws one to three.
func distinct[T comparable](g *generator, draw func() T) (out []T) {
	g.some(func() {
		if v := draw(); !slices.Contains(out, v) {
			out = append(out, v)
		}
	})
	return out
}

// repeated draws one to three, now and then the same one twice, for calls that refuse that.
func repeated[T comparable](g *generator, draw func() T) []T {
	out := distinct(g, draw)
	if g.chance(4) {
		out = append(out, out[0])
	}
	return out
}

func (g *generator) topics() []string    { return distinct(g, g.topic) }
func (g *generator) partitions() []int32 { return distinct(g, g.partition) }

func ptr[T any](v T) *T { return &v }
