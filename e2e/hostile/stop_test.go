package hostile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestStopDoesNotWaitForTheMostPatient: a fetch that would wait for weeks is answered at a clean stop; connections that
// are idle or hold half a frame are closed. None of them makes the stop unclean.
func TestStopDoesNotWaitForTheMostPatient(t *testing.T) {
	onlyFirnHere(t)
	b := harness.Start(t, harness.Options{})
	s := target{addr: b.Kafka, firn: b}
	c := dial(t, s.addr)
	topic := c.create("patient", 1)
	patient := dial(t, s.addr)
	req := fetchFrom(topic, 0, 0)
	req.MinBytes, req.MaxWaitMillis = 1, 1<<31-1
	patient.send(req, fetchV)
	harness.Eventually(t, patience, "the fetch is not being served", func() bool {
		_, metrics, err := b.Get("/metrics")
		return err == nil && strings.Contains(metrics, "\nfirn_server_request_memory_bytes ") && !strings.Contains(metrics, "\nfirn_server_request_memory_bytes 0\n")
	})
	half := dial(t, s.addr)
	half.write(frame(apiVersions(), 3, 1)[:9])
	answered := make(chan error, 1)
	go func() {
		resp := kmsg.NewPtrFetchResponse()
		resp.SetVersion(fetchV)
		err := patient.tryRecv(resp)
		if err == nil && len(resp.Topics) != 1 {
			err = errors.New("an answer without the partition")
		}
		answered <- err
	}()
	b.Stop() // fails the test unless the exit is clean
	select {
	case err := <-answered:
		if err != nil {
			t.Errorf("the fetch that waits: %v", err)
		}
	case <-time.After(patience):
		t.Error("the fetch that waits is neither answered nor closed")
	}
	half.closed()
}

// TestStopAnswersWhoWaitsForItsGroup: a member whose join waits for the others is answered
// at a clean stop before its connection closes, so that it looks for another coordinator at once.
func TestStopAnswersWhoWaitsForItsGroup(t *testing.T) {
	onlyFirnHere(t)
	b := harness.Start(t, harness.Options{})
	group := topicName("parked")
	join := func(c *conn, member string) *kmsg.JoinGroupResponse {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = group, member, "consumer", 60_000, 600_000
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = "range"
		req.Protocols = append(req.Protocols, p)
		c.send(req, 9)
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.SetVersion(9)
		if member != "" {
			return resp
		}
		if err := c.tryRecv(resp); err != nil {
			t.Fatal(err)
		}
		return resp
	}
	first, second := dial(t, b.Kafka), dial(t, b.Kafka)
	var id string
	harness.Eventually(t, patience, "the group has no coordinator", func() bool {
		find := kmsg.NewPtrFindCoordinatorRequest() // makes the topic of the offsets, the first time
		find.CoordinatorKeys = []string{group}
		do[*kmsg.FindCoordinatorResponse](first, find, 4)
		id = join(first, "").MemberID
		return id != ""
	})
	leader := join(first, id)
	if err := first.tryRecv(leader); err != nil || leader.ErrorCode != 0 {
		t.Fatalf("the first member: %v %s", err, name(leader.ErrorCode))
	}
	parked := join(second, join(second, "").MemberID) // waits until the first joins again, which it does not
	harness.Eventually(t, patience, "the join is not parked", func() bool {
		return b.Metric("firn_server_request_memory_bytes") > 0
	})
	answered := make(chan error, 1)
	go func() { answered <- second.tryRecv(parked) }()
	b.Stop()
	if err := <-answered; err != nil {
		t.Fatalf("the join that waits: %v", err)
	}
	if parked.ErrorCode == 0 {
		t.Error("the join that waits went through")
	}
	t.Logf("answered %s", name(parked.ErrorCode))
	second.closed()
}
