package hostile

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaRanges is what a broker of Apache Kafka 4.3.1 advertises, by API key, for the keys that firn serves or may
// come to serve first.
var kafkaRanges = map[int16][2]int16{
	0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9}, 12: {0, 4}, 13: {0, 5},
	14: {0, 5}, 15: {0, 6}, 16: {0, 5}, 17: {0, 1}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6}, 21: {0, 2}, 22: {0, 5}, 23: {2, 4},
	24: {0, 5}, 25: {0, 4}, 26: {0, 5}, 27: {1, 2}, 28: {0, 5}, 29: {1, 3}, 30: {1, 3}, 31: {1, 3}, 32: {1, 4}, 33: {0, 2},
	34: {1, 2}, 35: {1, 5}, 36: {0, 2}, 37: {0, 3}, 42: {0, 2}, 43: {0, 2}, 44: {0, 1}, 45: {0, 1}, 46: {0, 0}, 47: {0, 0},
	60: {0, 2}, 61: {0, 0}, 65: {0, 0}, 66: {0, 2}, 68: {0, 1}, 69: {0, 1}, 74: {0, 1}, 75: {0, 0},
}

// served are the keys that must be there; more may be.
var served = []int16{0, 1, 2, 3, 10, 18, 19, 20, 21, 22, 23, 32, 37, 44, 60}

func wantTable(t *testing.T, keys []kmsg.ApiVersionsResponseApiKey, firn bool) {
	t.Helper()
	seen := map[int16]bool{}
	for _, k := range keys {
		seen[k.ApiKey] = true
		want, known := kafkaRanges[k.ApiKey]
		if !known && !firn {
			continue
		}
		if got := [2]int16{k.MinVersion, k.MaxVersion}; !known || got != want {
			t.Errorf("%s: versions %d to %d are advertised, Kafka has %v", kmsg.NameForKey(k.ApiKey), got[0], got[1], want)
		}
	}
	for _, k := range served {
		if !seen[k] {
			t.Errorf("%s is not advertised", kmsg.NameForKey(k))
		}
	}
}

func apiVersions() *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "hostile", "1.0"
	return req
}

func TestApiVersions(t *testing.T) {
	s := start(t, harness.Options{})
	for v := range int16(5) {
		t.Run(fmt.Sprintf("version %d", v), func(t *testing.T) {
			resp := do[*kmsg.ApiVersionsResponse](dial(t, s.addr), apiVersions(), v)
			wantCode(t, "ApiVersions", resp.ErrorCode, nil)
			wantTable(t, resp.ApiKeys, s.firn != nil)
		})
	}
	t.Run("a version to come", func(t *testing.T) {
		for _, v := range []int16{5, 99, 32767, -1} {
			c := dial(t, s.addr)
			c.corr++
			b := frame(apiVersions(), 4, c.corr) // KIP-511: whatever follows the header, the answer has version 0
			binary.BigEndian.PutUint16(b[6:], uint16(v))
			c.write(b)
			resp := kmsg.NewPtrApiVersionsResponse()
			if err := c.tryRecv(resp); err != nil {
				t.Fatal(err)
			}
			wantCode(t, fmt.Sprintf("version %d", v), resp.ErrorCode, kerr.UnsupportedVersion)
			if s.firn != nil { // Kafka lists ApiVersions alone here
				wantTable(t, resp.ApiKeys, true)
			}
			again := do[*kmsg.ApiVersionsResponse](c, apiVersions(), 3) // the connection goes on
			wantCode(t, "version 3", again.ErrorCode, nil)
		}
	})
	t.Run("names that are none", func(t *testing.T) {
		for _, n := range []string{"", " ", "-x", "ü"} {
			req := apiVersions()
			req.ClientSoftwareName = n
			resp := do[*kmsg.ApiVersionsResponse](dial(t, s.addr), req, 3)
			wantCode(t, fmt.Sprintf("software name %q", n), resp.ErrorCode, kerr.InvalidRequest)
		}
	})
	t.Run("never asked", func(t *testing.T) {
		c := dial(t, s.addr)
		topic := c.create("unasked", 1)
		if got := c.mustProduce(topic, 0, values("x")); got != 0 {
			t.Errorf("stored at %d", got)
		}
	})
}

// TestProduceVersions: 0 to 2 are advertised for librdkafka's sake, and refused: with UNSUPPORTED_VERSION, where Kafka
// only closes the connection. What else is not served closes the connection with both.
func TestProduceVersions(t *testing.T) {
	s := start(t, harness.Options{})
	topic := dial(t, s.addr).create("versions", 1)
	for v := range int16(14) {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			c := dial(t, s.addr)
			req := produceTo(topic, 0, values("x").bytes())
			req.Topics[0].TopicID = c.topicID(topic)
			if v < 3 && s.firn == nil {
				t.Skip("Kafka closes the connection")
			}
			resp := do[*kmsg.ProduceResponse](c, req, v)
			var want *kerr.Error
			if v < 3 {
				want = kerr.UnsupportedVersion
			}
			wantCode(t, "Produce", resp.Topics[0].Partitions[0].ErrorCode, want)
			if v < 3 {
				wantCode(t, "Produce after it", c.produce(topic, 0, values("y").bytes()).ErrorCode, nil)
			}
		})
	}
	for _, at := range []struct{ key, version int16 }{{0, 14}, {0, -1}, {1, 3}, {1, 19}, {2, 0}, {3, 14}, {19, 1}, {4, 0}, {9999, 0}, {-1, 0}} {
		t.Run(fmt.Sprintf("key %d version %d", at.key, at.version), func(t *testing.T) {
			c := dial(t, s.addr)
			b := frame(kmsg.NewPtrMetadataRequest(), 0, 1)
			binary.BigEndian.PutUint16(b[4:], uint16(at.key))
			binary.BigEndian.PutUint16(b[6:], uint16(at.version))
			c.write(b)
			c.closed()
		})
	}
}
