// Package spring runs a Spring Boot application with listeners, retry topics and dead-letter topics against firn.
package spring

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/javatools"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestListener: good records are handled once; poison ones are tried as often as the application says and then found
// in the dead-letter topic, with the headers that say where they come from.
func TestListener(t *testing.T) {
	jars := javatools.Spring.Fetch(t)
	classes := javatools.Compile(t, javatools.ClassPath(jars), "testdata/Orders.java")
	b := harness.Start(t, harness.Options{})
	program := javatools.Program{Name: "the Spring application", ClassPath: javatools.ClassPath(classes, jars), Class: "Orders", Args: []string{
		"--spring.kafka.bootstrap-servers=" + b.Kafka, "--spring.kafka.consumer.auto-offset-reset=earliest",
		"--spring.main.banner-mode=off", "--logging.level.root=OFF",
	}}
	app := program.Start(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka))
	require.NoError(t, err)
	defer cl.Close()
	app.Until(2*time.Minute, "ready") // by then it has created its topics

	n := harness.Count(60, 2000)
	produced := 0
	send := func() {
		t.Helper()
		var records []*kgo.Record
		for range n {
			value := fmt.Sprint("good ", produced)
			if produced%10 == 3 {
				value = fmt.Sprint("poison ", produced)
			}
			for _, topic := range []string{"orders", "payments"} {
				records = append(records, &kgo.Record{Topic: topic, Key: []byte(value), Value: []byte(value)})
			}
			produced++
		}
		require.NoError(t, cl.ProduceSync(context.Background(), records...).FirstErr())
	}
	finished := func(out string) bool {
		return strings.Count(out, "handled orders ") >= produced-produced/10 && strings.Count(out, "handled payments ") >= produced-produced/10 &&
			strings.Count(out, "dead ") >= produced/10
	}

	send()
	harness.Eventually(t, 2*time.Minute, "not every record has been handled", func() bool { return finished(app.Output()) })
	// A clean stop and a new start: what is committed is not handled again.
	app.Stop()
	first := app.Output()
	app = program.Start(t)
	send()
	harness.Eventually(t, 2*time.Minute, "not every record has been handled after the restart", func() bool { return finished(first + app.Output()) })
	app.Stop()

	lines := map[string]int{}
	for line := range strings.Lines(first + app.Output()) {
		lines[strings.TrimSpace(line)]++
	}
	for i := range produced {
		if i%10 != 3 {
			require.Equal(t, 1, lines[fmt.Sprint("handled orders good ", i)], "order %d", i)
			require.Equal(t, 1, lines[fmt.Sprint("handled payments good ", i)], "payment %d", i)
			continue
		}
		// Four attempts, each in a topic of its own; three in place.
		for _, topic := range []string{"orders", "orders-retry-100", "orders-retry-200", "orders-retry-400"} {
			require.Equal(t, 1, lines[fmt.Sprintf("refused %s poison %d", topic, i)], "order %d in %s", i, topic)
		}
		require.Equal(t, 1, lines[fmt.Sprint("dead orders-dlt poison ", i)], "order %d", i)
		require.Equal(t, 3, lines[fmt.Sprint("refused payments poison ", i)], "payment %d", i)
	}
	for _, r := range deadLetters(t, b.Kafka, produced/10) {
		require.Contains(t, string(r.Value), "poison")
		prefix := map[string]string{"orders-dlt": "kafka_", "payments-dlt": "kafka_dlt-"}[r.Topic] // the two ways name them differently
		require.Equal(t, strings.TrimSuffix(r.Topic, "-dlt"), header(r, prefix+"original-topic"))
		require.Contains(t, header(r, prefix+"exception-message"), "cannot handle "+string(r.Value))
	}
}

// deadLetters reads n records of each dead-letter topic.
func deadLetters(t *testing.T, addr string, n int) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("orders-dlt", "payments-dlt"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var found []*kgo.Record
	for len(found) < 2*n {
		f := cl.PollFetches(ctx)
		require.NoError(t, f.Err(), "%d of %d dead letters", len(found), 2*n)
		found = append(found, f.Records()...)
	}
	require.Len(t, found, 2*n)
	return found
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
