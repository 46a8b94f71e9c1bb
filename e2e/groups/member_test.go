package groups

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A member is a process of its own, this test binary started again, so that it can die: SIGKILL leaves it no time for a
// word to the coordinator. It tells what it was assigned and what it handled line by line on its output, ahead of the
// commit, so that what it said outlives it; on its input it is told to leave.

// memberEnv carries what a member needs to know: address, group, topic and session timeout in ms, separated by spaces.
const memberEnv = "FIRN_TEST_GROUP_MEMBER"

// memberMain is the member's process. It ends the process.
func memberMain(args string) {
	var addr, group, topic string
	var sessionMs int
	if _, err := fmt.Sscan(args, &addr, &group, &topic, &sessionMs); err != nil {
		fmt.Fprintln(os.Stderr, "a member does not know what to do:", err)
		os.Exit(1)
	}
	held := map[int32]bool{}
	say := sayer()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(time.Duration(sessionMs)*time.Millisecond),
		kgo.HeartbeatInterval(300*time.Millisecond), kgo.FetchMaxWait(200*time.Millisecond),
		// The callbacks never run at the same time. After each rebalance the second is called, with what is new; by then
		// the first was, with what went.
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { drop(held, gone[topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { drop(held, gone[topic]) }),
		kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, added map[string][]int32) {
			for _, p := range added[topic] {
				held[p] = true
			}
			id, generation := cl.GroupMetadata()
			words := []string{"assigned", fmt.Sprint(generation), id}
			for p := range held {
				words = append(words, fmt.Sprint(p))
			}
			say(words)
		}))
	if err != nil {
		fmt.Fprintln(os.Stderr, "a member cannot start:", err)
		os.Exit(1)
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil || line != "leave\n" {
			os.Exit(1) // the test is over
		}
		stop()
	}()
	for ctx.Err() == nil {
		handleSome(ctx, cl, say)
	}
	cl.CloseAllowingRebalance()
	os.Exit(0)
}

// handleSome handles what one poll brings, and commits it.
func handleSome(ctx context.Context, cl *kgo.Client, say func([]string)) {
	pollCtx, polled := context.WithTimeout(ctx, time.Second)
	defer polled()
	words := []string{"handled"}
	cl.PollRecords(pollCtx, 500).EachRecord(func(r *kgo.Record) { words = append(words, string(r.Value)) })
	if len(words) > 1 {
		say(words)
	}
	if ctx.Err() == nil {
		// Refused after a rebalance, when somebody else handles the records again, and while the coordinator is away:
		// then the next round tries again, whether records came or not.
		commitCtx, done := context.WithTimeout(ctx, 5*time.Second)
		defer done()
		_ = cl.CommitUncommittedOffsets(commitCtx)
	}
	cl.AllowRebalance()
}

// sayer writes each line whole.
func sayer() func([]string) {
	var mu sync.Mutex
	return func(words []string) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := io.WriteString(os.Stdout, strings.Join(words, " ")+"\n"); err != nil {
			os.Exit(1)
		}
	}
}

func drop(held map[int32]bool, gone []int32) {
	for _, p := range gone {
		delete(held, p)
	}
}

// member is such a process, seen from the test.
type member struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when it has ended and all that it said was heard

	mu sync.Mutex
	id string // its latest member id; guarded by mu
}

// startMember starts a process that joins the group. hear gets its lines, word by word, in order.
func startMember(t *testing.T, args string, hear func(m *member, words []string)) *member {
	t.Helper()
	m := &member{cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	m.cmd.Env = append(os.Environ(), memberEnv+"="+args)
	m.cmd.Stderr = os.Stderr
	stdout, err := m.cmd.StdoutPipe()
	require.NoError(t, err)
	m.stdin, err = m.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, m.cmd.Start())
	go func() {
		defer close(m.done)
		r := bufio.NewReader(stdout)
		for {
			line, err := r.ReadString('\n')
			if err != nil { // a line without an end was cut off by the kill: nothing was committed of it
				break
			}
			hear(m, strings.Fields(line))
		}
		_ = m.cmd.Wait() // how it ended is read from ProcessState
	}()
	t.Cleanup(m.kill)
	return m
}

// leave tells the member to leave the group, and waits until it did.
func (m *member) leave(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(m.stdin, "leave\n")
	require.NoError(t, err)
	select {
	case <-m.done:
	case <-time.After(time.Minute):
		t.Fatal("a member does not leave")
	}
	require.True(t, m.cmd.ProcessState.Success(), "a member ended with %v", m.cmd.ProcessState)
}

// kill ends the member as a crash does.
func (m *member) kill() {
	_ = m.cmd.Process.Kill() // fails only when it has ended already
	<-m.done
}

func (m *member) memberID() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id
}

// ledger holds what the members of a group said for as long as it lived. Its methods may be called concurrently.
type ledger struct {
	mu      sync.Mutex
	handled map[string]bool            // values of records
	owners  map[int32]map[int32]string // by generation and partition
	latest  int32                      // the newest generation that anybody was in
	wrong   []string                   // what must not have been said
}

func newLedger() *ledger {
	return &ledger{handled: map[string]bool{}, owners: map[int32]map[int32]string{}, latest: -1}
}

// hear takes a line of a member.
func (l *ledger) hear(m *member, words []string) {
	switch words[0] {
	case "handled":
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, v := range words[1:] {
			l.handled[v] = true
		}
	case "assigned":
		generation, err := strconv.ParseInt(words[1], 10, 32)
		if err != nil {
			l.complain("no generation in %q", words)
			return
		}
		m.mu.Lock()
		m.id = words[2]
		m.mu.Unlock()
		l.assigned(int32(generation), words[2], words[3:])
	default:
		l.complain("a member said %q", words)
	}
}

// assigned notes all that a member owns in a generation. A second owner of a partition is what must not be: with
// cooperative rebalancing, too, a partition that moves is nobody's in the generation in which its old owner lets it go.
func (l *ledger) assigned(generation int32, member string, partitions []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = max(l.latest, generation)
	if l.owners[generation] == nil {
		l.owners[generation] = map[int32]string{}
	}
	for _, word := range partitions {
		p, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			l.wrong = append(l.wrong, fmt.Sprintf("no partition: %q", word))
			continue
		}
		if was, ok := l.owners[generation][int32(p)]; ok && was != member {
			l.wrong = append(l.wrong, fmt.Sprintf("in generation %d partition %d has two owners, %s and %s", generation, p, was, member))
		}
		l.owners[generation][int32(p)] = member
	}
}

func (l *ledger) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

func (l *ledger) complaints() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.wrong)
}

func (l *ledger) generation() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest
}

func (l *ledger) records() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.handled)
}

// claims counts what was noted: generations, and partitions with an owner in all of them.
func (l *ledger) claims() (generations, owned int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.owners {
		owned += len(g)
	}
	return len(l.owners), owned
}

// TestLedgerSeesTwoOwners: the check that the crew relies on can fail.
func TestLedgerSeesTwoOwners(t *testing.T) {
	l := newLedger()
	a, b := &member{}, &member{}
	l.hear(a, strings.Fields("assigned 1 a 0 1"))
	l.hear(b, strings.Fields("assigned 1 b 2"))
	l.hear(a, strings.Fields("assigned 1 a 0 1")) // told twice
	l.hear(a, strings.Fields("assigned 2 a 0"))   // 1 moves
	l.hear(b, strings.Fields("assigned 2 b 2"))
	l.hear(b, strings.Fields("assigned 3 b 1 2"))
	require.Empty(t, l.complaints())
	require.Equal(t, int32(3), l.generation())
	l.hear(a, strings.Fields("assigned 3 a 0 1"))
	require.Equal(t, []string{"in generation 3 partition 1 has two owners, b and a"}, l.complaints())
}
