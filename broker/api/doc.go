// Package api is what firn answers to each request of the Kafka protocol: one file an API key, named by its number,
// with the versions served and the deliberate gaps at the top. A handler translates, calls the room that does the work
// (partition, fetchsession, metadata), and translates back. The version table that clients see is made from the
// handlers here, so nothing is advertised that is not served.
//
// The ranges are those that Apache Kafka 4.3.1 advertises. Error codes and edge cases follow its documented behaviour
// and that of its clients.
//
// Keys that are not served, although Kafka's brokers serve them: what belongs to transactions, the newer group protocols,
// share groups, quotas, ACLs, SASL, delegation tokens and client telemetry, until these work; DescribeQuorum and the
// changes of Raft voters, because there is no KRaft quorum (etcd's members are etcd's matter); UpdateFeatures, because no
// feature has a level to choose from; UnregisterBroker, because a broker's registration ends with its lease. Clients see
// that from ApiVersions, and their tools say so.
//
// The package keeps no state. What may wait (for records, a flush, the metadata, the archive) answers later from
// another goroutine; Produce appends on the connection's goroutine, because the order of a connection's appends is the
// order that idempotent producers count on.
package api
