package compat

// versions pins every client, in the one place where that is done. The README names the same ones (TestReadmeVersions).
var versions = map[string]string{
	"github.com/twmb/franz-go":        "v1.22.2",
	"github.com/segmentio/kafka-go":   "v0.4.51",
	"github.com/IBM/sarama":           "v1.61.1",
	"github.com/Shopify/toxiproxy/v2": "v2.5.0",
	"kafka-python":                    "3.0.12",
	"confluent-kafka":                 "2.16.1",
	"aiokafka":                        "0.14.0",
	"kafkajs":                         "2.2.4",
	"rdkafka":                         "0.39.0",
	"kafka-clients":                   "4.3.1",
	"Spring Boot":                     "3.5.16",
}
