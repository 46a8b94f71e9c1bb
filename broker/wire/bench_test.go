package wire

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/disk"
)

func produceBody(version int16, topics, partitions, size int) []byte {
	m := kmsg.NewPtrProduceRequest()
	m.Version, m.Acks = version, -1
	for i := range topics {
		t := kmsg.NewProduceRequestTopic()
		t.Topic, t.TopicID[0] = "topic-"+string(rune('a'+i)), byte(i)
		for j := range partitions {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition, p.Records = int32(j), make([]byte, size)
			t.Partitions = append(t.Partitions, p)
		}
		m.Topics = append(m.Topics, t)
	}
	return m.AppendTo(nil)
}

func fetchBody(version int16) []byte {
	m := kmsg.NewPtrFetchRequest()
	m.Version = version
	t := kmsg.NewFetchRequestTopic()
	t.Topic = "topic"
	for range 8 {
		t.Partitions = append(t.Partitions, kmsg.NewFetchRequestTopicPartition())
	}
	m.Topics = append(m.Topics, t)
	return m.AppendTo(nil)
}

// In steady state the hot path allocates nothing in this package: not for a request, let alone for a record.
func TestHotPathAllocations(t *testing.T) {
	produce, fetch := produceBody(9, 2, 4, 1<<10), fetchBody(12)
	produceReq := &Request{Key: KeyProduce, Version: 9}
	fetchReq := &Request{Key: KeyFetch, Version: 12}
	pr := &ProduceResponse{Topics: []ProduceTopicResponse{{Name: "topic", Partitions: make([]ProducePartitionResponse, 8)}}}
	fr := &FetchResponse{Topics: []FetchTopicResponse{{Name: "topic", Partitions: make([]FetchPartitionResponse, 8)}}}
	region := []disk.Region{{Bytes: make([]byte, 100), Length: 100}}
	for i := range fr.Topics[0].Partitions {
		fr.Topics[0].Partitions[i].Records = region
	}
	for name, fn := range map[string]func(){
		"produce": func() {
			produceReq.Body = produce
			if _, err := produceReq.Produce(); err != nil {
				t.Fatal(err)
			}
			resp, err := EncodeProduce(9, 1, pr)
			if err != nil {
				t.Fatal(err)
			}
			resp.Free()
			produceReq.Free()
		},
		"fetch": func() {
			fetchReq.Body = fetch
			if _, err := fetchReq.Fetch(); err != nil {
				t.Fatal(err)
			}
			resp, err := EncodeFetch(12, 1, fr)
			if err != nil {
				t.Fatal(err)
			}
			resp.Free()
			fetchReq.Free()
		},
	} {
		for range 10 {
			fn()
		}
		if n := testing.AllocsPerRun(1000, fn); n > allocsAllowed {
			t.Errorf("%s: %v allocations a request", name, n)
		}
	}
}

func BenchmarkProduceParse(b *testing.B) {
	body := produceBody(9, 1, 16, 1<<10)
	req := &Request{Key: KeyProduce, Version: 9}
	b.ReportAllocs()
	for b.Loop() {
		req.Body = body
		if _, err := req.Produce(); err != nil {
			b.Fatal(err)
		}
		req.Free()
	}
}

func BenchmarkProduceEncode(b *testing.B) {
	p := &ProduceResponse{Topics: []ProduceTopicResponse{{Name: "topic", Partitions: make([]ProducePartitionResponse, 16)}}}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := EncodeProduce(9, 1, p)
		if err != nil {
			b.Fatal(err)
		}
		resp.Free()
	}
}

func BenchmarkFetchParse(b *testing.B) {
	body := fetchBody(12)
	req := &Request{Key: KeyFetch, Version: 12}
	b.ReportAllocs()
	for b.Loop() {
		req.Body = body
		if _, err := req.Fetch(); err != nil {
			b.Fatal(err)
		}
		req.Free()
	}
}

func BenchmarkDecodeMetadata(b *testing.B) {
	m := kmsg.NewPtrMetadataRequest()
	m.Version = 12
	for range 10 {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr("topic")
		m.Topics = append(m.Topics, t)
	}
	body := m.AppendTo(nil)
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := checkRequest(3, 12, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeRequest(3, 12, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSendFetch(b *testing.B) {
	content := pattern(1<<20, 1)
	for name, file := range map[string]disk.File{"sendfile": newOSFile(b, content), "copy": memFile(content)} {
		for size, n := range map[string]int64{"1MiB": 1 << 20, "16KiB": 16 << 10} {
			b.Run(name+"/"+size, func(b *testing.B) {
				server, client := pipe(b)
				go func() {
					buf := make([]byte, 1<<20)
					for {
						if _, err := client.Read(buf); err != nil {
							return
						}
					}
				}()
				s := NewSender(server, time.Minute)
				f := &FetchResponse{Topics: []FetchTopicResponse{{Name: "t", Partitions: []FetchPartitionResponse{NewFetchPartition(0, 0)}}}}
				f.Topics[0].Partitions[0].Records = []disk.Region{{File: file, Length: n}}
				b.SetBytes(n)
				b.ReportAllocs()
				for b.Loop() {
					resp, err := EncodeFetch(12, 1, f)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := s.Send(resp, 0, ForSocket); err != nil {
						b.Fatal(err)
					}
					resp.Free()
				}
			})
		}
	}
}
