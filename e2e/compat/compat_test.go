package compat

import (
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
)

var suites = []suite{
	{folder: "franz-go", client: "github.com/twmb/franz-go", run: runFranzGo},
	{folder: "kafka-go", client: "github.com/segmentio/kafka-go", long: true, run: runKafkaGo},
	{folder: "sarama", client: "github.com/IBM/sarama", long: true, run: runSarama},
	{folder: "kafka-python", client: "kafka-python", long: true, run: runKafkaPython},
	{folder: "confluent-kafka", client: "confluent-kafka", own: true, run: runConfluentKafka},
	{folder: "aiokafka", client: "aiokafka", own: true, run: runAIOKafka},
	{folder: "kafkajs", client: "kafkajs", own: true, run: runKafkaJS},
	{folder: "rdkafka", client: "rdkafka", long: true, run: runRdkafka},
}

// TestSuites runs the suites one after the other: some know one address only, and all want the machine for themselves.
func TestSuites(t *testing.T) {
	for i := range suites {
		s := &suites[i]
		if s.long && !harness.Full() {
			continue
		}
		t.Run(s.folder, func(t *testing.T) {
			expected := s.expectations(t)
			start := time.Now()
			results := s.run(t, expected)
			s.judge(t, results, expected, time.Since(start))
		})
	}
}
