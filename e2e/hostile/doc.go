// Package hostile holds a broker process against bad input, from outside: broken frames, versions nobody serves,
// batches that are wrong or lie, sequences out of order, fetches and offsets that make no sense, admin requests that
// must be refused. What is expected is what Apache Kafka 4.3.1 answers.
//
// FIRN_HOSTILE_PEER=host:port runs the tests that compare answers against another broker, which is how the tables
// were held against Kafka: it must be fresh, with one broker and Kafka's defaults. Tests of what only firn has are
// skipped then.
package hostile
