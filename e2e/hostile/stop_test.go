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
